"""Which pages there are, and which of them an earlier run has done already."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from pero_worker.errors import PageError
from pero_worker.inputs.discover import SourceDocument, page_name
from pero_worker.inputs.documents import count_pages
from pero_worker.jobs.report import Fingerprint


@dataclass(frozen=True, slots=True, kw_only=True)
class PageOrigin:
    """Where a page is from, as its results tell."""

    name: str
    """Path of the page's results in the output folder, without a suffix."""
    document: str
    """The same of the document it belongs to."""
    image_name: str
    """File name that results call the image by."""
    source: str
    """The file that holds the page."""
    index: int
    """Its place in the file, from 0."""
    fingerprint: Fingerprint
    """What the results depend on."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PageTask:
    """A page to do."""

    name: str
    """Path of the page's results in the output folder, without a suffix."""
    document: SourceDocument
    """The file that holds it."""
    index: int
    """Its place in the file, from 0."""
    fingerprint: Fingerprint
    """What the results depend on."""

    @property
    def origin(self) -> PageOrigin:
        return PageOrigin(
            name=self.name,
            document=self.document.name,
            image_name=self.image_name,
            source=str(self.document.path),
            index=self.index,
            fingerprint=self.fingerprint,
        )

    @property
    def is_whole_file(self) -> bool:
        """Whether the document is this one page."""
        return self.name == self.document.name

    @property
    def image_name(self) -> str:
        """The file name that results call the image by; pages of one file are told apart by number."""
        safe = self.document.path.name.encode("utf-8", "replace").decode()
        if self.is_whole_file:
            return safe
        path = Path(safe)
        return f"{path.stem}_{self.index + 1:04d}{path.suffix}"


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenedDocument:
    """A document and its pages."""

    document: SourceDocument
    """The file."""
    pages: tuple[PageTask, ...]
    """In their order; one to report on when the document cannot be opened."""
    error: str = ""
    """Why it cannot be opened."""


def open_documents(
    documents: Iterable[SourceDocument], pipeline: str, version: str, dpi: int
) -> Iterator[OpenedDocument]:
    """Opens one document after the other, far enough to count its pages."""
    for document in documents:
        error, count, size, modified = "", 1, 0, 0
        try:
            status = document.path.stat()
            size, modified = status.st_size, status.st_mtime_ns
            count = count_pages(document.path)
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
