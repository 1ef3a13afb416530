"""Documents that are lists of pictures, as IIIF manifests and METS are: what their readers give."""

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
"""In one document; the largest seen have 20,000."""
_NAME_BYTES = 120
_UNSAFE = re.compile(r'[\\/:*?"<>|]+')


class BookKind(StrEnum):
    IIIF = "iiif"
    METS = "mets"
    FILES = "files"
    """An archive of pictures."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageService:
    """A server of the IIIF Image API, for one picture."""

    id: str
    """Its address as the document writes it: never unquoted and quoted again."""
    version: int = 2
    """Of the Image API, as far as the document tells."""
    login: str = ""
    """What its login is called, where the document speaks of one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Picture:
    """Where the picture of a page is: a file of this machine, an address, or a service with an address beside."""

    file: Path | None = None
    """On this machine, found and allowed."""
    url: str = ""
    """Of the picture itself."""
    service: ImageService | None = None
    """Preferred to `url`, which may be a small version."""
    region: str = ""
    """'x,y,w,h' in pixels of the picture, when the page is a part of it."""
    rotation: int = 0
    """Degrees, clockwise: 0, 90, 180, 270."""
    url_is_part: bool = False
    """What lies at `url` is cut and turned already."""
    width: int = 0
    """Pixels of the picture, as far as the document tells; 0: it does not."""
    written: str = ""
    """Path or address as the METS writes it."""

    @property
    def key(self) -> str:
        """Differs when another picture is meant."""
        service = self.service.id if self.service else ""
        return "\n".join((self.url, service, self.region, str(self.rotation)))


@dataclass(frozen=True, slots=True, kw_only=True)
class BookPage:
    """One page of the list, in its place."""

    name: str
    """What its results are called, unique in the book, also where case is ignored."""
    id: str
    """Of the canvas, or of the METS division; '' when it has none."""
    label: str
    """What people call it, as 'f. 3r'; may be '' or the same as another's."""
    number: int
    """Its place, from 1."""
    picture: Picture | None = None
    """None: there is none that can be read."""
    problem: str = ""
    """Why there is no picture, or why it may not be read."""
    skipped: bool = False
    """Nothing went wrong: there is nothing to read, as on a canvas with a film."""
    note: str = ""
    """What was decided about the page that its owner may not expect."""
    size: tuple[int, int] = (0, 0)
    """Width and height of the canvas; pictures may have others. (0, 0): not told."""
    files: tuple[str, ...] = ()
    """METS: the ids of the page's files."""
    layout: Path | None = None
    """A file of this machine with its lines, PAGE or ALTO; None: none is listed, or none that may be read."""
    layout_url: str = ""
    """Where its lines are to be fetched, when they are not on this machine."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Book:
    """A manifest or METS that was read."""

    kind: BookKind
    """What it was."""
    source: str
    """Path or address of the document."""
    name: str
    """What its results are called."""
    label: str
    """Its title, where it is told."""
    pages: tuple[BookPage, ...]
    """In their order."""
    warnings: tuple[str, ...] = ()
    """What is wrong with the document and could be helped."""
    id: str = ""
    """Of the manifest."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BookReference:
    """A book that is opened when its turn comes."""

    name: str
    """What its results are called."""
    source: str
    """Path or address."""
    load: Callable[[], Book]
    """NoInputError, PageError: it cannot be read."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FetchedFile:
    """A document that is no list, as a PDF, and was fetched whole."""

    path: Path
    """On this machine, called as its results are to be."""
    name: str
    """What its results are called."""
    source: str
    """Its address."""


def safe_name(text: str) -> str:
    """`text` as part of a file name on any system; '' when nothing in it is a letter or a digit."""
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
        """The last number behind each name: thousands of pages may be called alike."""

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
    """`book` with those of its pages that `--pages` names: numbers from 1, ids, and ranges of either, as '1-5,8,20-' or
    'PHYS_0001..PHYS_0003'. NoInputError: there is none of them."""
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
    """First and last place, from 0."""
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
