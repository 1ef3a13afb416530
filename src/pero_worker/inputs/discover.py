"""Finds the documents that the command line names, and names their results."""

from __future__ import annotations

import glob
import hashlib
import os
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from pero_worker.errors import NoInputError
from pero_worker.inputs.books import Book, BookReference, Names

_EXTENSIONS = frozenset(
    [
        ".jpg",
        ".jpeg",
        ".jpe",
        ".png",
        ".tif",
        ".tiff",
        ".jp2",
        ".j2k",
        ".jpx",
        ".j2c",
        ".webp",
        ".bmp",
        ".gif",
        ".pdf",
        ".ppm",
        ".pgm",
        ".pbm",
    ]
)
# A file name has 255 bytes; results append '_0001' and '.page.xml', or more.
_LONGEST = 230
_PAGE_NAME = re.compile(r"(.+)_[0-9]{4,}", re.DOTALL)


@dataclass(frozen=True, slots=True)
class SourceDocument:
    """`name` is the relative posix path of its results, without extension, unique among the documents. `book`: it is a
    list of pictures, whose results lie in the folder `pages` ('' = the output folder itself)."""

    path: Path
    name: str
    book: Book | BookReference | None = None
    pages: str = ""


OpenBook = Callable[[str, bool], Sequence[Book | BookReference] | None]
"""What an argument that is no picture leads to, and whether it was the only one; None: it is a file like others."""


class Documents:
    """What was found, in order. A run may have millions: they are kept as file names, folder by folder, and made into
    documents each time they are asked for."""

    def __init__(self) -> None:
        self._files: dict[Path, list[str]] = {}
        self._root = Path()
        self._books: list[Book | BookReference] = []
        self._books_apart = True

    def __iter__(self) -> Iterator[SourceDocument]:
        names = Names()
        for book in self._books:
            name = names.take(book.name)
            yield SourceDocument(Path(book.source), name, book, name if self._books_apart else "")
        for folder, name in self._folder_names.items():
            yield from _named(folder, name, self._in(folder))

    def __len__(self) -> int:
        return self._count + len(self._books)

    def add_books(self, books: Iterable[Book | BookReference], *, apart: bool) -> None:
        """Takes in books; `apart`: the results of their pages lie in a folder a book."""
        self._books += books
        self._books_apart = apart

    def warnings(self, most: int) -> Iterator[str]:
        """What is wrong with the books, `most` each."""
        for book in self._books:
            if isinstance(book, Book):
                yield from (f"{book.source}: {warning}" for warning in book.warnings[:most])
                if len(book.warnings) > most:
                    yield f"{book.source}: and {len(book.warnings) - most} more"

    def add(self, folder: Path, names: Iterable[str]) -> None:
        """Takes in files of `folder`, which is absolute. A file has one place, however often it is added."""
        # Joined, a name costs its letters; as a string of its own it would cost 60 bytes more.
        if joined := "/".join(names):
            self._files.setdefault(folder, []).append(joined)

    def name_from(self, root: Path | None) -> None:
        """Names begin below `root`, None: below what all files have in common."""
        self._root = root or Path(os.path.commonpath(self._files))

    def _in(self, folder: Path) -> list[str]:
        return list(dict.fromkeys("/".join(self._files[folder]).split("/")))

    @cached_property
    def _count(self) -> int:
        return sum(len(self._in(folder)) for folder in self._files)

    @cached_property
    def _folder_names(self) -> dict[Path, str]:
        """Each folder's own, also for file systems that ignore case."""
        taken: set[str] = set()
        names = {}
        for folder in self._files:
            name = _portable(os.path.relpath(folder, self._root))
            names[folder] = _unique(name, folder, taken)
        return names


@dataclass(frozen=True, slots=True)
class Discovery:
    """`skipped` counts the files in folders that are not images by their extension."""

    documents: Documents
    skipped: int


def discover(paths: Sequence[str], *, exclude: Path | None = None, open_book: OpenBook | None = None) -> Discovery:
    """Files (of any extension), folders (searched through, `exclude` and hidden files left out) and patterns; with
    `open_book` also addresses, and files that are lists of pictures.

    Names are relative to the folder when one folder is named, else to what all paths have in common, so that the
    input's tree is kept. NoInputError: a path is not there, or nothing is found.
    """
    found = Documents()
    skipped = 0
    results = exclude.resolve() if exclude else None
    books: list[Book | BookReference] = []
    alone = len(paths) == 1
    for argument in paths:
        if open_book and is_address(argument):
            books += open_book(argument, alone) or ()
            continue
        for path in _expand(argument, results):
            if not path.is_dir():
                if open_book and path.suffix.lower() not in _EXTENSIONS:
                    opened = open_book(str(path), alone)
                    if opened is not None:
                        books += opened
                        continue
                # One file has one place, whichever way leads there ('..', links to folders).
                found.add(path.parent.resolve(), [path.name])
                continue
            if path.resolve() == results and len(paths) > 1:
                continue  # As a shell expands 'scans/*'; alone it is meant.
            for folder, names in _walk(path.resolve(), results):
                images = [name for name in names if Path(name).suffix.lower() in _EXTENSIONS]
                found.add(folder, images)
                skipped += len(names) - len(images)
    found.add_books(books, apart=not alone or len(books) != 1 or isinstance(books[0], BookReference))
    if not len(found):
        raise NoInputError(f"no images or PDFs in {', '.join(paths)}")
    if len(found) > len(books):
        found.name_from(Path(paths[0]).resolve() if alone and Path(paths[0]).is_dir() else None)
    return Discovery(found, skipped)


def is_address(argument: str) -> bool:
    return argument.lower().startswith(("http://", "https://"))


def page_name(document_name: str, index: int, count: int) -> str:
    """The name of page `index` (from 0): the document's own when it has one page, else with the page's number."""
    return document_name if count == 1 else f"{document_name}_{index + 1:04d}"


def _expand(argument: str, exclude: Path | None) -> list[Path]:
    if not argument:
        raise NoInputError("an empty path was given: is a variable not set?")
    path = Path(argument)
    if os.path.lexists(path):
        if not path.exists():
            raise NoInputError(f"{argument} is a link to something that is not there")
        return [path]
    if glob.has_magic(argument):
        matches = [Path(match) for match in sorted(glob.glob(argument, recursive=True), key=_natural)]
        if exclude:
            matches = [match for match in matches if not match.resolve().is_relative_to(exclude)]
        if matches:
            # A pattern's folders stand for themselves only when no file matches: '**' matches both.
            return [match for match in matches if match.is_file()] or matches
        raise NoInputError(f"nothing matches the pattern {argument}")
    raise NoInputError(f"{argument} does not exist")


def _walk(folder: Path, exclude: Path | None) -> Iterator[tuple[Path, list[str]]]:
    """Each folder with the files in it, sorted; hidden ones and `exclude` are left out."""
    for base, folders, files in os.walk(folder):
        here = Path(base)
        shown = (name for name in folders if not name.startswith(".") and here / name != exclude)
        folders[:] = sorted(shown, key=_natural)
        yield here, sorted((name for name in files if not name.startswith(".")), key=_natural)


def _natural(name: str) -> list[tuple[int, int, str]]:
    """Sorts page2 before page10."""
    pieces = re.split(r"([0-9]+)", name)
    return [(0, int(piece), "") if piece.isdecimal() else (1, 0, piece.lower()) for piece in pieces if piece]


def _named(folder: Path, folder_name: str, files: list[str]) -> Iterator[SourceDocument]:
    whole = [_portable(name) for name in files]
    short = [_without_extension(name) for name in whole]
    uses = Counter(name.casefold() for name in short)
    taken: set[str] = set()

    def ambiguous(bare: str) -> bool:
        """Whether another document, or the page of another document, may get this name."""
        numbered = _PAGE_NAME.fullmatch(bare.casefold())
        return uses[bare.casefold()] > 1 or (numbered is not None and uses[numbered[1]] > 0)

    for file, full, bare in zip(files, whole, short, strict=True):
        name = _unique(_bounded(full if ambiguous(bare) else bare), folder / file, taken)
        yield SourceDocument(folder / file, f"{folder_name}/{name}" if folder_name else name)


def _unique(name: str, path: Path, taken: set[str]) -> str:
    """`name`, or a longer one made with `path`, that differs from those `taken` in more than case; takes it."""
    while name.casefold() in taken:
        name = _bounded(f"{name}_{hashlib.sha256(os.fsencode(path)).hexdigest()[:8]}")
    taken.add(name.casefold())
    return name


def _portable(name: str) -> str:
    return "/".join(part for part in os.fsencode(name).decode("utf-8", "replace").split("/") if part not in {".", ".."})


def _without_extension(name: str) -> str:
    stem, dot, extension = name.rpartition(".")
    return stem if dot and stem and f".{extension.lower()}" in _EXTENSIONS else name


def _bounded(name: str) -> str:
    """Shortens the last component when a suffix would make it too long for a file system."""
    folder, slash, file = name.rpartition("/")
    encoded = file.encode()
    if len(encoded) > _LONGEST:
        mark = hashlib.sha256(encoded).hexdigest()[:12]
        file = encoded[: _LONGEST - 13].decode("utf-8", "ignore") + "-" + mark
    return folder + slash + file
