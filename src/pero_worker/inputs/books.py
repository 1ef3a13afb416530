"""Documents that are lists of pictures, such as IIIF manifests and METS, in the form that their readers return."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from pero_worker.errors import NoInputError
from pero_worker.names import counted, same_place

MAX_PAGES = 200_000
"""Pages in one document; the largest seen have 20,000."""
_NAME_BYTES = 120
_UNSAFE = re.compile(r'[\\/:*?"<>|]+')


class BookKind(StrEnum):
    IIIF = "iiif"
    METS = "mets"
    FILES = "files"
    """An archive of pictures."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageService:
    """An IIIF Image API service for one picture."""

    id: str
    """Its address exactly as the document writes it, never unquoted and quoted again."""
    version: int = 2
    """Version of the Image API, as far as the document states it."""
    login: str = ""
    """Name of its login, if the document mentions one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Picture:
    """Where the picture of a page is: a local file, an address, or a service with an address as well."""

    file: Path | None = None
    """The local file, which was found and may be read."""
    url: str = ""
    """Address of the picture itself."""
    service: ImageService | None = None
    """Service that the picture is requested from; preferred to `url`, which may be a small version."""
    region: str = ""
    """'x,y,w,h' in pixels of the picture, if the page is only part of it."""
    rotation: int = 0
    """Rotation to apply, in degrees clockwise: 0, 90, 180 or 270."""
    url_is_part: bool = False
    """Whether `url` serves the picture already cropped and rotated."""
    width: int = 0
    """Width of the picture in pixels; 0 if the document does not state it."""
    written: str = ""
    """The path or address as the METS writes it."""

    @property
    def key(self) -> str:
        """Tells pictures apart by address, service, region and rotation."""
        service = self.service.id if self.service else ""
        return "\n".join((self.url, service, self.region, str(self.rotation)))


@dataclass(frozen=True, slots=True, kw_only=True)
class BookPage:
    """One page of a book."""

    name: str
    """Name of its results, unique within the book even where case is ignored."""
    id: str
    """Id of the canvas or METS division; '' if it has none."""
    label: str
    """What people call it, such as 'f. 3r'; may be '' or the same as another page's."""
    number: int
    """Its place in the book, from 1."""
    picture: Picture | None = None
    """Its picture; None if there is none that can be read."""
    problem: str = ""
    """Why there is no picture, or why it may not be read."""
    skipped: bool = False
    """Whether the page is left out without an error because it has nothing to read, such as a canvas with a film."""
    note: str = ""
    """A decision made about the page that its owner may not expect."""
    size: tuple[int, int] = (0, 0)
    """Width and height of the canvas, which may differ from the picture's; (0, 0) if not stated."""
    files: tuple[str, ...] = ()
    """Ids of the page's files in a METS."""
    layout: Path | None = None
    """Local PAGE or ALTO file with its lines; None if none is listed, or none that may be read."""
    layout_url: str = ""
    """Address to fetch its lines from if they are not on this machine."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Book:
    """A manifest or METS that was read."""

    kind: BookKind
    """The kind of document it was read from."""
    source: str
    """Path or address of the document."""
    name: str
    """Name of its results."""
    label: str
    """Its title; '' if not stated."""
    pages: tuple[BookPage, ...]
    """Its pages, in order."""
    warnings: tuple[str, ...] = ()
    """What is wrong with the document but did not stop it from being read."""
    id: str = ""
    """Id of the manifest."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BookReference:
    """A book that is not opened until its turn comes."""

    name: str
    """Name of its results."""
    source: str
    """Path or address of the document."""
    load: Callable[[], Book]
    """Reads the book. Raises `NoInputError` or `PageError` if it cannot be read."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FetchedFile:
    """A document that is not a list, such as a PDF, and was fetched whole."""

    path: Path
    """The local copy, named as its results will be."""
    name: str
    """Name of its results."""
    source: str
    """Address it was fetched from."""


def safe_name(text: str) -> str:
    """Makes `text` usable as part of a file name on any system; '' if it contains no letter or digit."""
    shown = "".join(c if unicodedata.category(c)[0] != "C" else " " for c in unicodedata.normalize("NFC", text))
    name = " ".join(_UNSAFE.sub("_", shown).split()).strip(" .")
    if not any(character.isalnum() for character in name):
        return ""
    return name.encode()[:_NAME_BYTES].decode("utf-8", "ignore").rstrip(" .")


class Names:
    """Hands out names that differ in more than case."""

    def __init__(self) -> None:
        self._taken: set[str] = set()
        self._numbers: dict[str, int] = {}
        """The last number appended to each name: thousands of pages may share one."""

    def take(self, wanted: str) -> str:
        folded = same_place(wanted)
        name, number = wanted, self._numbers.get(folded, 1)
        while same_place(name) in self._taken:
            number += 1
            name = f"{wanted}_{number}"
        self._taken.add(same_place(name))
        self._numbers[folded] = number
        return name


def chosen(book: Book, pages: str) -> Book:
    """Returns `book` with only the pages that `--pages` names.

    They are given as numbers from 1, ids, and ranges of either, such as '1-5,8,20-' or 'PHYS_0001..PHYS_0003'. Raises
    `NoInputError` if the book has none of them.
    """
    if not pages:
        return book
    places = {page.id: place for place, page in enumerate(book.pages) if page.id}
    wanted: set[int] = set()
    for part in filter(None, (part.strip() for part in pages.split(","))):
        first, last = _range(part, places, len(book.pages))
        wanted.update(range(max(0, first), min(len(book.pages), last + 1)))
    kept = tuple(page for place, page in enumerate(book.pages) if place in wanted)
    if not kept:
        raise NoInputError(f"--pages {pages}: {book.source} has {counted(len(book.pages), 'page')} and none of these")
    return Book(
        kind=book.kind,
        source=book.source,
        name=book.name,
        label=book.label,
        pages=kept,
        warnings=book.warnings,
        id=book.id,
    )


def _range(part: str, places: dict[str, int], count: int) -> tuple[int, int]:
    """Returns the first and last place that `part` names, from 0."""
    if part in places:
        return places[part], places[part]
    if found := re.fullmatch(r"([0-9]{1,9})", part):
        return int(found[1]) - 1, int(found[1]) - 1
    if found := re.fullmatch(r"([0-9]{0,9})(?:-|\.\.)([0-9]{0,9})", part):
        return int(found[1] or 1) - 1, int(found[2] or count) - 1
    first, dots, last = part.partition("..")
    if dots and first in places and last in places:
        return places[first], places[last]
    raise NoInputError(f"--pages: {part!r} is neither a number, a range as 3-7, nor the id of a page")
