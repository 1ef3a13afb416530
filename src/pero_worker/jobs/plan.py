"""Which pages there are, and which of them an earlier run has done already."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from pero_worker.errors import PageError
from pero_worker.inputs.discover import SourceDocument, page_name
from pero_worker.inputs.documents import count_pages
from pero_worker.jobs.journal import Fingerprint


@dataclass(frozen=True, slots=True)
class PageTask:
    """A page to do; `name` is its output name, `index` counts from 0."""

    name: str
    document: SourceDocument
    index: int
    fingerprint: Fingerprint

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


@dataclass(frozen=True, slots=True)
class OpenedDocument:
    """A document and its pages; `error` says why it cannot be opened, then `pages` holds one page to report on."""

    document: SourceDocument
    pages: tuple[PageTask, ...]
    error: str = ""


def plan(documents: Iterable[SourceDocument], pipeline: str, version: str, dpi: int) -> Iterator[OpenedDocument]:
    """Opens one document after the other, far enough to count its pages."""
    for document in documents:
        error, count = "", 1
        fingerprint = Fingerprint(0, 0, pipeline, version, dpi)
        try:
            status = document.path.stat()
            fingerprint = Fingerprint(status.st_size, status.st_mtime_ns, pipeline, version, dpi)
            count = count_pages(document.path)
        except PageError as problem:
            error = str(problem)
        except OSError as problem:
            error = f"cannot read {document.path}: {problem.strerror}"
        pages = tuple(PageTask(page_name(document.name, i, count), document, i, fingerprint) for i in range(count))
        yield OpenedDocument(document, pages, error)
