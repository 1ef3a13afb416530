"""Finds the documents that the command line names, and names their results."""

from __future__ import annotations

import os
from collections.abc import Callable, Container, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from pero_worker.errors import NoInputError
from pero_worker.inputs.arguments import expanded, is_address, natural
from pero_worker.inputs.books import Book, BookReference, FetchedFile, Names
from pero_worker.inputs.naming import SourceDocument, may_be_document, named, portable, unique
from pero_worker.names import same_place

STATE = ".pero-worker"
"""The subfolder that marks an output folder."""
_KEPT = 20
"""How many names of passed-over files are kept."""

OpenBook = Callable[[str, bool], Sequence[Book | BookReference | FetchedFile] | None]
"""Opens an argument that is not a picture, given whether it was the only one; None if it is an ordinary file."""


class Documents:
    """The documents that were found, in order.

    A run may have millions, so they are kept as file names, folder by folder, and turned into documents on iteration.
    """

    def __init__(self, results: Path | None = None) -> None:
        """`results` is the folder that will hold the results."""
        self._files: dict[Path, list[str]] = {}
        self._root = Path()
        self._results = results
        self._books: list[Book | BookReference | FetchedFile] = []
        self._books_apart = True

    def __iter__(self) -> Iterator[SourceDocument]:
        names = Names()
        for book in self._books:
            name = names.take(book.name)
            if isinstance(book, FetchedFile):
                yield SourceDocument(path=book.path, name=name, address=book.source)
                continue
            yield SourceDocument(path=Path(book.source), name=name, book=book, pages=name if self._books_apart else "")
        for folder, name in self._folder_names.items():
            in_place = self._results is not None and self._results / name == folder
            yield from named(folder, name, self._in(folder), self._folders_in.get(name, set()), in_place=in_place)

    def __len__(self) -> int:
        return self._count + len(self._books)

    def add_books(self, books: Iterable[Book | BookReference | FetchedFile], *, apart: bool) -> None:
        """Adds books; with `apart`, the results of each book get a folder of their own."""
        self._books += books
        self._books_apart = apart

    @property
    def whole(self) -> SourceDocument | None:
        """The first document that is not a list of pictures and so is read whole."""
        return next((document for document in self if document.book is None), None)

    def warnings(self, most: int) -> Iterator[str]:
        """Yields what is wrong with the books, at most `most` warnings each."""
        for book in self._books:
            if isinstance(book, Book):
                yield from (f"{book.source}: {warning}" for warning in book.warnings[:most])
                if len(book.warnings) > most:
                    yield f"{book.source}: and {len(book.warnings) - most} more"

    def add(self, folder: Path, names: Iterable[str]) -> None:
        """Adds files in `folder`, an absolute path. A file has one place, however often it is added."""
        # In a joined string, a name costs only its letters; as a string of its own, it would cost 60 bytes more.
        if joined := "/".join(names):
            self._files.setdefault(folder, []).append(joined)

    def name_from(self, root: Path | None) -> None:
        """Makes names relative to `root`; if it is None, to the folder that all files have in common."""
        self._root = root or Path(os.path.commonpath(self._files))

    @cached_property
    def _folders_in(self) -> dict[str, set[str]]:
        """The result folders inside each result folder, by their names on a file system that ignores case."""
        found: dict[str, set[str]] = {}
        for name in self._folder_names.values():
            parts = name.split("/") if name else []
            for depth, part in enumerate(parts):
                found.setdefault("/".join(parts[:depth]), set()).add(same_place(part))
        return found

    def _in(self, folder: Path) -> list[str]:
        return list(dict.fromkeys("/".join(self._files[folder]).split("/")))

    @cached_property
    def _count(self) -> int:
        return sum(len(self._in(folder)) for folder in self._files)

    @cached_property
    def _folder_names(self) -> dict[Path, str]:
        """Each folder's name in the results, unique even on file systems that ignore case."""
        taken: set[str] = set()
        names = {}
        for folder in self._files:
            name = portable(os.path.relpath(folder, self._root))
            names[folder] = unique(name, folder, taken)
        return names


@dataclass(slots=True, kw_only=True)
class PassedOver:
    """Files and folders from which nothing is read."""

    count: int = 0
    """How many there are."""
    names: list[str] = field(default_factory=list)
    """The first few of them."""

    def add(self, path: Path | str) -> None:
        self.count += 1
        if len(self.names) < _KEPT:
            self.names.append(str(path))


@dataclass(frozen=True, slots=True, kw_only=True)
class Discovery:
    """What the given paths lead to."""

    documents: Documents
    """The documents to read."""
    no_images: PassedOver
    """Files met in folders that, by their extension, are not images."""
    links: PassedOver
    """Links met in folders that lead to a folder or to nothing."""
    results: PassedOver
    """Results of earlier runs."""
    unreadable: PassedOver
    """Folders that could not be read, each with the reason."""


ResultsOf = Callable[[Path], Container[object]]
"""Returns the results in an output folder, by their resolved paths."""


def _no_results(_: Path) -> Container[object]:
    return ()


def discover(
    paths: Sequence[str],
    *,
    exclude: Path | None = None,
    open_book: OpenBook | None = None,
    results_of: ResultsOf = _no_results,
) -> Discovery:
    """Finds the documents that `paths` name.

    They may be files (of any extension), folders (searched recursively, leaving out `exclude` and hidden files) and
    patterns; with `open_book` also addresses, and files that are lists of pictures.

    Names are relative to the folder if only one folder is named, else to what all paths have in common, so that the
    input's tree is kept. Results of earlier runs are left out: those in `exclude` always, those in other output folders
    unless they are named one by one. Raises `NoInputError` if a path does not exist or nothing is found.
    """
    search = _Search(exclude.resolve() if exclude else None, results_of)
    books: list[Book | BookReference | FetchedFile] = []
    alone = len(paths) == 1
    for argument in paths:
        if open_book and is_address(argument):
            books += open_book(argument, alone) or ()
            continue
        for path in expanded(argument, search.exclude):
            if path.is_dir():
                search.take_folder(path.resolve(), alone=alone)
            elif search.is_input(path, named=str(path) == argument):
                opened = open_book(str(path), alone) if open_book and not may_be_document(path.name) else None
                if opened is not None:
                    books += opened
                else:
                    # A file has one place, whichever way leads to it ('..', links to folders).
                    search.found.documents.add(path.parent.resolve(), [path.name])
    found = search.found
    found.documents.add_books(books, apart=not alone or len(books) != 1 or isinstance(books[0], BookReference))
    if not len(found.documents):
        raise NoInputError(_nothing(paths, found))
    if len(found.documents) > len(books):
        found.documents.name_from(Path(paths[0]).resolve() if alone and Path(paths[0]).is_dir() else None)
    return found


class _Search:
    def __init__(self, exclude: Path | None, results_of: ResultsOf) -> None:
        self.exclude = exclude
        self._results_of = results_of
        self._known: dict[Path, Container[object]] = {}
        self.found = Discovery(
            documents=Documents(exclude),
            no_images=PassedOver(),
            links=PassedOver(),
            results=PassedOver(),
            unreadable=PassedOver(),
        )
        if exclude is not None:
            self._look_at(exclude)

    def is_input(self, path: Path, *, named: bool) -> bool:
        """Whether a file, either `named` itself or matched by a pattern, is not a result."""
        path = path.parent.resolve() / path.name
        if not named:
            for above in path.parents:
                self._look_at(above)
        if self._is_result(path, only=self.exclude if named else None):
            self.found.results.add(path)
            return False
        return True

    def take_folder(self, folder: Path, *, alone: bool) -> None:
        if folder == self.exclude and not alone:
            return  # As when a shell expands 'scans/*'; named alone, it is meant.
        for above in folder.parents:
            self._look_at(above)
        for here, names in self._walk(folder):
            images = []
            for name in names:
                if self._is_result(here / name):
                    self.found.results.add(here / name)
                elif not may_be_document(name):
                    self.found.no_images.add(here / name)
                elif not (here / name).exists():
                    self.found.links.add(here / name)
                else:
                    images.append(name)
            self.found.documents.add(here, images)

    def _walk(self, folder: Path) -> Iterator[tuple[Path, list[str]]]:
        """Yields each folder with the files in it, sorted, leaving out hidden ones and `exclude`."""
        for base, folders, files in os.walk(folder, onerror=self._cannot_read):
            here = Path(base)
            self._look_at(here)
            shown = (name for name in folders if not name.startswith(".") and here / name != self.exclude)
            folders[:] = sorted(shown, key=natural)
            for name in folders:
                if (here / name).is_symlink():
                    self.found.links.add(here / name)
            yield here, sorted((name for name in files if not name.startswith(".")), key=natural)

    def _cannot_read(self, error: OSError) -> None:
        self.found.unreadable.add(f"{error.filename}: {error.strerror}")

    def _look_at(self, folder: Path) -> None:
        if folder not in self._known and (folder / STATE).is_dir():
            self._known[folder] = self._results_of(folder)

    def _is_result(self, path: Path, only: Path | None = None) -> bool:
        return any(path in results for folder, results in self._known.items() if only in {None, folder})


def _nothing(paths: Sequence[str], found: Discovery) -> str:
    if found.unreadable.names:
        return f"nothing can be read: {found.unreadable.names[0]}"
    if found.results.count:
        return f"all there is in {', '.join(paths)} are results of earlier runs"
    if found.no_images.count:
        return f"no images or PDFs in {', '.join(paths)}: {', '.join(found.no_images.names)} are of other kinds"
    return f"no images or PDFs in {', '.join(paths)}"
