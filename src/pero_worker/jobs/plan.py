"""Which pages there are, and which of them an earlier run has already done."""

from __future__ import annotations

import hashlib
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from pero_worker.errors import NoInputError, PageError
from pero_worker.inputs.books import Book, BookPage, Picture
from pero_worker.inputs.bounds import DEFAULT_MAX_PAGES
from pero_worker.inputs.documents import count_pages, opens_safely
from pero_worker.inputs.naming import SourceDocument, page_name
from pero_worker.inputs.web.addresses import without_login
from pero_worker.jobs.apart import ProcessApart
from pero_worker.jobs.records import Fingerprint

_TURNS = 4
"""Number of documents whose pages alternate."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PageOrigin:
    """Where a page comes from, as its results say."""

    name: str
    """Path of the page's results in the output folder, without a suffix."""
    document: str
    """The same path for the document that the page belongs to."""
    image_name: str
    """File name that results use for the image."""
    source: str
    """The file that holds the page."""
    index: int
    """Its place in the file, from 0."""
    fingerprint: Fingerprint
    """What the results depend on."""
    source_id: str = ""
    """ID of the IIIF canvas or the METS division that the page is."""
    label: str = ""
    """What the IIIF manifest or the METS calls the page."""
    note: str = ""
    """What was decided about the page."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PageTask:
    """A page to do."""

    name: str
    """Path of the page's results in the output folder, without a suffix."""
    document: SourceDocument
    """The file that holds it, or the list that names it."""
    index: int
    """Its place in the document, from 0."""
    fingerprint: Fingerprint
    """What the results depend on."""
    listed: BookPage | None = None
    """The page as a book lists it; None if no book does."""
    file: Path | None = None
    """The page's own file, if a book lists the page; None if it has yet to be fetched."""
    layout: Path | None = None
    """A fetched file with its lines; None if there is none or it was not asked for."""

    @property
    def path(self) -> Path:
        """The file on this machine that holds the page."""
        return self.file or self.document.path

    @property
    def frame(self) -> int:
        """Its place in that file, from 0."""
        return self.index if self.listed is None else 0

    @property
    def picture(self) -> Picture | None:
        """Where its picture is, if a book lists the page."""
        return self.listed.picture if self.listed else None

    @property
    def is_remote(self) -> bool:
        """Whether the picture has to be fetched."""
        return self.picture is not None and self.file is None

    @property
    def is_layout_remote(self) -> bool:
        """Whether its lines have to be fetched, if they are wanted."""
        return self.layout is None and self.listed is not None and bool(self.listed.layout_url)

    @property
    def problem(self) -> str:
        """Why it cannot be done, according to its book; '' if the book names no problem."""
        return self.listed.problem if self.listed else ""

    @property
    def origin(self) -> PageOrigin:
        return PageOrigin(
            name=self.name,
            document=self.document.name,
            image_name=self.image_name,
            source=self._source,
            index=self.index,
            fingerprint=self.fingerprint,
            source_id=self.listed.id if self.listed else "",
            label=self.listed.label if self.listed else "",
            note=self.listed.note if self.listed else "",
        )

    @property
    def _source(self) -> str:
        if self.listed is None:
            return without_login(self.document.address) or str(self.document.path)
        picture = self.listed.picture
        if picture is None:
            return self.document.book.source if self.document.book else ""
        service = picture.service.id if picture.service else ""
        return str(picture.file) if picture.file else without_login(service or picture.url)

    @property
    def is_whole_file(self) -> bool:
        """Whether the page is a whole file."""
        return self.listed is not None or self.name == self.document.name

    @property
    def image_name(self) -> str:
        """The file name that results use for the image; pages of one file are told apart by number."""
        if self.listed is not None and (self.picture is None or self.picture.file is None):
            return f"{self.listed.name}.jpg"
        safe = self.path.name.encode("utf-8", "replace").decode()
        if self.is_whole_file:
            return safe
        path = Path(safe)
        return f"{path.stem}_{self.index + 1:04d}{path.suffix}"


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenedDocument:
    """A document and its pages."""

    document: SourceDocument
    """The document."""
    pages: tuple[PageTask, ...]
    """Its pages in order; a single one to report on if the document cannot be opened."""
    error: str = ""
    """Why the document cannot be opened; '' if it can."""


def open_documents(
    documents: Iterable[SourceDocument],
    pipeline: str,
    version: str,
    dpi: int,
    *,
    apart: ProcessApart,
    max_pages: int = DEFAULT_MAX_PAGES,
) -> Iterator[OpenedDocument]:
    """Opens one document after another, far enough to count its pages; in `apart` if a bad file may cause a crash."""
    for document in documents:
        if document.book is not None:
            yield _open_book(document, pipeline, version, dpi)
            continue
        error, count, size, modified = "", 1, 0, 0
        try:
            status = document.path.stat()
            size, modified = status.st_size, status.st_mtime_ns
            if opens_safely(document.path):
                count = count_pages(document.path, max_pages=max_pages)
            else:
                count = apart.call(count_pages, document.path, max_pages=max_pages)
        except PageError as problem:
            error = str(problem)
        except OSError as problem:
            error = f"cannot read {document.path}: {problem.strerror}"
        fingerprint = Fingerprint(size=size, modified_ns=modified, pipeline=pipeline, version=version, dpi=dpi)
        pages = tuple(
            PageTask(name=page_name(document.name, i, count), document=document, index=i, fingerprint=fingerprint)
            for i in range(count)
        )
        yield OpenedDocument(document=document, pages=pages, error=error)


def in_turns(queues: Iterable[Iterable[PageTask]]) -> Iterator[PageTask]:
    """Yields one page of each in turn, from a few at a time: a long document does not hold up those behind it."""
    waiting = iter(queues)
    begun: deque[deque[PageTask]] = deque()
    while True:
        another = next(waiting, None) if len(begun) < _TURNS else None
        if another is not None:
            queue = deque(another)
        elif begun:
            queue = begun.popleft()
        else:
            return
        if queue:
            yield queue.popleft()
        if queue:
            begun.append(queue)


def _open_book(document: SourceDocument, pipeline: str, version: str, dpi: int) -> OpenedDocument:
    nothing = Fingerprint(size=0, modified_ns=0, pipeline=pipeline, version=version, dpi=dpi)
    assert document.book is not None  # noqa: S101 - for the type checker
    try:
        book = document.book if isinstance(document.book, Book) else document.book.load()
    except (NoInputError, PageError) as problem:
        page = PageTask(name=document.name, document=document, index=0, fingerprint=nothing)
        return OpenedDocument(document=document, pages=(page,), error=str(problem))
    document = replace(document, book=book)
    folder = f"{document.pages}/" if document.pages else ""
    pages = tuple(
        PageTask(
            name=folder + page.name,
            document=document,
            index=page.number - 1,
            fingerprint=_fingerprint(page.picture, nothing),
            listed=page,
            file=page.picture.file if page.picture else None,
        )
        for page in book.pages
    )
    return OpenedDocument(document=document, pages=pages)


def _fingerprint(picture: Picture | None, nothing: Fingerprint) -> Fingerprint:
    """Returns the fingerprint of a picture: of a file as for any other, of an address from the address alone, because
    asking for each would take an hour."""
    if picture is None:
        return nothing
    if picture.file is None:
        mark = int.from_bytes(hashlib.sha256(picture.key.encode("utf-8", "replace")).digest()[:6], "big")
        return replace(nothing, modified_ns=mark)
    try:
        status = picture.file.stat()
    except OSError:
        return nothing
    return replace(nothing, size=status.st_size, modified_ns=status.st_mtime_ns)
