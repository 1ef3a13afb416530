"""The result formats, in one table. Other packages add theirs as entry points of the group `pero_worker.formats`."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from functools import cache
from pathlib import Path
from pkgutil import resolve_name
from typing import IO, TYPE_CHECKING, Any, Protocol

from pero_worker.errors import UsageError
from pero_worker.inputs.books import Book
from pero_worker.page import Page

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

GROUP = "pero_worker.formats"
_LANGUAGE = re.compile(r"[A-Za-z]{2,3}(-[A-Za-z0-9]{1,8}){0,8}")


class PageWriter(Protocol):
    def __call__(self, page: Page, *, created: datetime, creator: str) -> bytes:
        """Returns the page in this format. Raises `PageError` if the format cannot express it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PageFormat:
    """A format with one file per page."""

    name: str
    """What `--formats` and the report call it."""
    suffix: str
    """Suffix of its files. No suffix ends with another, so that results cannot collide."""
    write: PageWriter
    """Makes the content of a file."""
    write_joined: PageWriter | None = None
    """Makes it with the lines of each paragraph joined; None: the format always keeps lines."""


class TextLines(StrEnum):
    """What happens to line breaks in text files."""

    KEEP = "keep"
    """Each line of the page is a line of the file."""
    JOIN = "join"
    """Each paragraph is a line, and words that were split at a line end are put together again."""


class TextPolicy(StrEnum):
    """What happens, in the searchable PDF, to text that a PDF already has."""

    SKIP = "skip"
    """A page with text of any kind stays as it is."""
    REDO = "redo"
    """Invisible text of an earlier recognition is replaced; other text stays, and nothing is laid over it."""
    FORCE = "force"
    """A page with text becomes a picture of itself, overlaid with the words that were read."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Document:
    """A file and its pages, all of them finished or failed."""

    name: str
    """Path of its results in the output folder, without a suffix."""
    source: Path
    """The image or PDF that it was read from."""
    pages: Sequence[Page | None]
    """The pages in order; None: the page failed."""
    page_names: Sequence[str]
    """Paths of the pages' results in the output folder, without a suffix."""
    dpi: int
    """Resolution of images that do not state their own, in dots per inch."""
    created: datetime
    """When the result is made."""
    creator: str
    """Program and version that make it."""
    text: TextPolicy = TextPolicy.REDO
    """What happens to text that the source already has."""
    language: str = ""
    """Language of the text as a BCP 47 tag ('de', 'cs-CZ'); '': not known."""
    book: Book | None = None
    """The list of pictures that `source` is; None: `source` holds the pages."""
    picture: Callable[[int], Path] | None = None
    """Returns the file of a book's page by its place among `pages`; raises `PageError` if it cannot be had."""


class DocumentWriter(Protocol):
    def __call__(self, document: Document, stream: IO[bytes]) -> object:
        """Writes the document. Raises `PageError` if the format cannot express it, `OutputError` if writing fails."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DocumentFormat:
    """A format with one file per document, made when the document's last page has finished or failed."""

    name: str
    """What `--formats` and the report call it."""
    suffix: str
    """Suffix of its files. No suffix ends with another, so that results cannot collide."""
    write: DocumentWriter
    """Writes the content of a file."""
    tells_language: bool = False
    """Whether its files state the language of their text."""


Format = PageFormat | DocumentFormat


def _late(name: str) -> Callable[..., Any]:
    """Returns the function of that name in this package, imported at its first call so that commands start sooner."""

    def write(*arguments: Any, **options: Any) -> Any:
        return resolve_name(f"{__name__}.{name}")(*arguments, **options)

    return write


MASTER = PageFormat(name="page", suffix=".page.xml", write=_late("pagexml:write"))
"""Holds everything known about a page; results in other formats are made from it."""
_BUNDLED: tuple[Format, ...] = (
    MASTER,
    PageFormat(name="alto", suffix=".alto.xml", write=_late("alto:write")),
    PageFormat(name="alto2", suffix=".alto2.xml", write=_late("alto2:write")),
    PageFormat(name="text", suffix=".txt", write=_late("text:write"), write_joined=_late("text:write_joined")),
    PageFormat(name="hocr", suffix=".hocr", write=_late("hocr:write")),
    PageFormat(name="json", suffix=".json", write=_late("jsonpage:write")),
    DocumentFormat(name="pdf", suffix=".pdf", write=_late("pdf:write"), tells_language=True),
    DocumentFormat(name="tei", suffix=".tei.xml", write=_late("tei:write"), tells_language=True),
    DocumentFormat(name="markdown", suffix=".md", write=_late("markdown:write")),
)


@cache
def installed_formats() -> Mapping[str, Format]:
    """Returns the bundled formats, then those of other packages. Raises `UsageError` if one of these is unusable."""
    formats = {known.name: known for known in _BUNDLED}
    for entry in _entries():
        if entry.name not in formats:
            formats[entry.name] = _load(entry, formats)
    return formats


def page_formats(names: Sequence[str]) -> tuple[PageFormat, ...]:
    """Returns those of `names` that have one file per page."""
    return tuple(found for name in names if isinstance(found := installed_formats()[name], PageFormat))


def document_formats(names: Sequence[str]) -> tuple[DocumentFormat, ...]:
    """Returns those of `names` that have one file per document."""
    return tuple(found for name in names if isinstance(found := installed_formats()[name], DocumentFormat))


def parse_formats(names: str) -> tuple[str, ...]:
    """Parses `page,alto,pdf` or `all`. Raises `UsageError`, which names the valid ones, for anything else."""
    known = tuple(installed_formats())
    if names.strip() == "all":
        return known
    wanted = tuple(dict.fromkeys(name.strip().lower() for name in names.split(",") if name.strip()))
    unknown = [name for name in wanted if name not in known]
    if unknown or not wanted:
        raise UsageError(
            f"--formats {names}: {', '.join(unknown) or 'nothing'} is no format; choose from {', '.join(known)}"
        )
    return wanted


def parse_language(code: str) -> str:
    """Checks that `code` is a BCP 47 language tag or ''. Raises `UsageError` if it is neither."""
    if code and not _LANGUAGE.fullmatch(code):
        raise UsageError(f"--language {code}: write it as de, cs-CZ or grc, not as a word")
    return code


def formats_help(*, page_only: bool = False) -> str:
    """Returns the names to choose from, for `--help`, even if the format of some package cannot be loaded."""
    bundled = [known.name for known in _BUNDLED if not page_only or isinstance(known, PageFormat)]
    known = {bundled.name for bundled in _BUNDLED}
    names = [*bundled, *(entry.name for entry in _entries() if entry.name not in known)]
    return ", ".join(names) + ("" if page_only else "; or all")


def _entries() -> Sequence[EntryPoint]:
    """Returns the entry points of other packages. Most often there are none, so the files are searched first: reading
    them properly takes a fifth of the time that `--help` takes."""
    folders = [Path(folder) for folder in sys.path]
    # A zip file may hold packages, too.
    if all(folder.is_dir() or not folder.exists() for folder in folders):
        files = (file for folder in folders for file in folder.glob("*-info/entry_points.txt"))
        if not any(GROUP.encode() in file.read_bytes() for file in files):
            return []
    from importlib.metadata import entry_points  # noqa: PLC0415

    return sorted(entry_points(group=GROUP))


def _load(entry: EntryPoint, others: Mapping[str, Format]) -> Format:
    try:
        found = entry.load()
    except Exception as error:  # a foreign package may raise anything
        raise UsageError(
            f"the format {entry.name!r} cannot be loaded: {type(error).__name__}: {error}; remove its package"
        ) from error
    if not isinstance(found, Format) or found.name != entry.name:
        raise UsageError(f"{entry.value} is no PageFormat or DocumentFormat named {entry.name!r}; remove its package")
    for other in others.values():
        if found.suffix.endswith(other.suffix) or other.suffix.endswith(found.suffix):
            raise UsageError(
                f"files of the formats {found.name!r} and {other.name!r} have the same names (*{found.suffix}); "
                f"remove the package of {found.name!r}"
            )
    return found
