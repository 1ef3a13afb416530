"""Which files are documents, and what their results are called: no two alike, on any file system."""

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
# A file name may have 255 bytes; results append '_0001' and '.page.xml', or more.
_MAX_NAME_BYTES = 230
_PAGE_NAME = re.compile(r"(.+)_[0-9]{4,}", re.DOTALL)


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceDocument:
    """A document to read."""

    path: Path
    """Where the document is."""
    name: str
    """The path of its results in the output folder, with slashes, without extension; unique among the documents."""
    book: Book | BookReference | None = None
    """The list of pictures, if the document is one."""
    address: str = ""
    """The address that a fetched file came from; '' for others."""
    pages: str = ""
    """The folder for a book's results inside the output folder; '' is the output folder itself."""


def may_be_document(name: str) -> bool:
    """Whether a file with this name is read when it is met in a folder."""
    return Path(name).suffix.lower() in EXTENSIONS


def page_name(document_name: str, index: int, count: int) -> str:
    """Returns the name of page `index` (from 0): the document's own if it has one page, else with the page's number."""
    return document_name if count == 1 else f"{document_name}_{index + 1:04d}"


def named(
    folder: Path, folder_name: str, files: list[str], folders: Set[str], *, in_place: bool
) -> Iterator[SourceDocument]:
    """Yields the `files` of a folder with their names.

    `folders` are the result folders next to them; with `in_place`, the results go next to the files themselves.
    """
    whole = [portable(name) for name in files]
    short = [_without_extension(name) for name in whole]
    uses = Counter(same_place(name) for name in short)
    # With a suffix, a name may become that of a folder: 'a' of a.png next to 'a.txt/'.
    blocked = {other[: dot.start()] for other in folders for dot in re.finditer(r"\.", other)}
    blocked |= {numbered[1] for other in blocked if (numbered := _PAGE_NAME.fullmatch(other))}
    taken = set(folders)

    def ambiguous(full: str, bare: str) -> bool:
        """Whether this name may also be that of another document, a page of one, a folder, or the file itself."""
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
    """Returns `name`, or a longer one made with `path`, and adds it to `taken`.

    The name differs from all those taken in more than case.
    """
    while same_place(name) in taken:
        name = _bounded(f"{name}_{hashlib.sha256(os.fsencode(path)).hexdigest()[:8]}")
    taken.add(same_place(name))
    return name


def portable(name: str) -> str:
    """Returns the path in UTF-8, without parts that lead elsewhere."""
    return "/".join(part for part in os.fsencode(name).decode("utf-8", "replace").split("/") if part not in {".", ".."})


def _without_extension(name: str) -> str:
    stem, dot, extension = name.rpartition(".")
    # '...png' without its extension would lead up a folder.
    return stem if dot and stem.strip(".") and f".{extension.lower()}" in EXTENSIONS else name


def _bounded(name: str) -> str:
    """Shortens the last component if a suffix would make it too long for a file system."""
    folder, slash, file = name.rpartition("/")
    return folder + slash + bounded_name(file, _MAX_NAME_BYTES)
