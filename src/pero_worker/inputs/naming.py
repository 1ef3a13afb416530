"""Which files are documents, and how their results are called: no two alike, on any file system."""

from __future__ import annotations

import hashlib
import os
import re
from collections import Counter
from collections.abc import Iterator, Set
from dataclasses import dataclass
from pathlib import Path

from pero_worker.inputs.books import Book, BookReference
from pero_worker.names import bounded_name, same_place

EXTENSIONS = frozenset(
    {".jpg", ".jpeg", ".jpe", ".jfif", ".jif", ".jfi", ".mpo", ".png", ".tif", ".tiff", ".btf", ".tf8"}
    | {".jp2", ".j2k", ".jpf", ".jpx", ".jpm", ".j2c", ".jpc", ".webp", ".avif", ".heic", ".heif", ".hif"}
    | {".bmp", ".dib", ".gif", ".pdf", ".ppm", ".pgm", ".pbm", ".pnm"}
)
# A file name has 255 bytes; results append '_0001' and '.page.xml', or more.
_MAX_NAME_BYTES = 230
_PAGE_NAME = re.compile(r"(.+)_[0-9]{4,}", re.DOTALL)


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceDocument:
    """A document that is to be read."""

    path: Path
    """Where it lies."""
    name: str
    """The path of its results in the output folder, with slashes, without extension; unique among the documents."""
    book: Book | BookReference | None = None
    """It is a list of pictures."""
    address: str = ""
    """Where it was fetched from; '': it was here."""
    pages: str = ""
    """The folder of a book's results in the output folder; '' is that folder itself."""


def may_be_document(name: str) -> bool:
    """Whether a file of that name is read when it lies in a folder."""
    return Path(name).suffix.lower() in EXTENSIONS


def page_name(document_name: str, index: int, count: int) -> str:
    """The name of page `index` (from 0): the document's own when it has one page, else with the page's number."""
    return document_name if count == 1 else f"{document_name}_{index + 1:04d}"


def named(
    folder: Path, folder_name: str, files: list[str], folders: Set[str], *, in_place: bool
) -> Iterator[SourceDocument]:
    """The `files` of a folder with their names; `folders` are those of results beside them, `in_place`: their results
    lie beside the files themselves."""
    whole = [portable(name) for name in files]
    short = [_without_extension(name) for name in whole]
    uses = Counter(same_place(name) for name in short)
    # A name with a suffix may be that of a folder: 'a' of a.png beside 'a.txt/'.
    blocked = {other[: dot.start()] for other in folders for dot in re.finditer(r"\.", other)}
    blocked |= {numbered[1] for other in blocked if (numbered := _PAGE_NAME.fullmatch(other))}
    taken = set(folders)

    def ambiguous(full: str, bare: str) -> bool:
        """Whether another document, the page of another, a folder, or the file itself, may get this name."""
        numbered = _PAGE_NAME.fullmatch(same_place(bare))
        return (
            uses[same_place(bare)] > 1
            or (numbered is not None and uses[numbered[1]] > 0)
            or same_place(bare) in blocked
            or (in_place and full.lower().endswith(".pdf"))
        )

    for file, full, bare in zip(files, whole, short, strict=True):
        wanted = _bounded(full if ambiguous(full, bare) else bare)
        while same_place(wanted) in blocked:
            wanted = _bounded(f"{wanted}_")
        name = unique(wanted, folder / file, taken)
        yield SourceDocument(path=folder / file, name=f"{folder_name}/{name}" if folder_name else name)


def unique(name: str, path: Path, taken: set[str]) -> str:
    """`name`, or a longer one made with `path`, that differs from those `taken` in more than case; takes it."""
    while same_place(name) in taken:
        name = _bounded(f"{name}_{hashlib.sha256(os.fsencode(path)).hexdigest()[:8]}")
    taken.add(same_place(name))
    return name


def portable(name: str) -> str:
    """A path that leads nowhere else, in UTF-8."""
    return "/".join(part for part in os.fsencode(name).decode("utf-8", "replace").split("/") if part not in {".", ".."})


def _without_extension(name: str) -> str:
    stem, dot, extension = name.rpartition(".")
    # What is left of '...png' would be a way up.
    return stem if dot and stem.strip(".") and f".{extension.lower()}" in EXTENSIONS else name


def _bounded(name: str) -> str:
    """Shortens the last component when a suffix would make it too long for a file system."""
    folder, slash, file = name.rpartition("/")
    return folder + slash + bounded_name(file, _MAX_NAME_BYTES)
