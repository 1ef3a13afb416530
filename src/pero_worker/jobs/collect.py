"""Turns a page's finished request into files and a line in the report."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence, Set
from dataclasses import dataclass, replace
from pathlib import Path
from shutil import copyfileobj
from tempfile import TemporaryDirectory
from typing import IO, Any, overload

from pero_worker.errors import JobCancelledError, OutputError, PageError
from pero_worker.formats import (
    MASTER,
    Document,
    DocumentFormat,
    PageFormat,
    TextLines,
    TextPolicy,
    document_formats,
    page_formats,
    pagexml,
)
from pero_worker.inputs.books import Book
from pero_worker.jobs.apart import ProcessApart
from pero_worker.jobs.finished import master_path
from pero_worker.jobs.outputs import OutputFolder
from pero_worker.jobs.plan import OpenedDocument, PageOrigin, PageTask
from pero_worker.jobs.records import PageRecord, PageStatus
from pero_worker.page import Page
from pero_worker.ports import Clock
from pero_worker.request import Request
from pero_worker.worker.payloads import page_of

NOT_PROCESSED = "no stage has processed this page: is an output queue among its stages?"


@dataclass(frozen=True, slots=True, kw_only=True)
class Collector:
    """Writes results and records what became of a page."""

    folder: OutputFolder
    """The folder that results are written to."""
    formats: tuple[str, ...]
    """Names of the formats that are wanted."""
    clock: Clock
    """Gives the time at which results were made."""
    creator: str
    """Program and version that results name."""
    keep: Callable[[PageOrigin, Request], Mapping[str, str]] = lambda _origin, _request: {}
    """Writes the results of a page that has no PAGE XML; returns names to paths, as in `PageRecord.outputs`."""
    apart: ProcessApart | None = None
    """Separate process that makes the files of whole documents; None if this process makes them."""
    text: TextPolicy = TextPolicy.REDO
    """What becomes of text that PDFs already have."""
    blank_text: str = ""
    """Content of files of pages without text that would otherwise be empty."""
    language: str = ""
    """Language of the text, for whole documents; '' if not known."""
    language_changed: bool = False
    """Whether an earlier run was given another language."""
    text_lines: TextLines = TextLines.KEEP
    """What becomes of line ends in text files."""
    lines_changed: bool = False
    """Whether an earlier run may have treated line ends differently."""
    text_changed: bool = False
    """Whether an earlier run may have treated the text of PDFs differently."""
    bring: Callable[[PageTask], PageTask] = lambda task: task
    """Returns the task with its picture on this machine. Raises `PageError` if it cannot be fetched."""

    @property
    def page_formats(self) -> tuple[PageFormat, ...]:
        """The formats with one file per page."""
        return page_formats(self.formats)

    @property
    def document_formats(self) -> tuple[DocumentFormat, ...]:
        """The formats with one file per document."""
        return document_formats(self.formats)

    @property
    def must_rewrite(self) -> bool:
        """Whether the files of pages that are done have to be rewritten."""
        return self.lines_changed and any(kind.write_joined for kind in self.page_formats)

    def collect(self, origin: PageOrigin, request: Request, page_id: str = "") -> PageRecord:
        """Writes the page's files and returns its record; a result that cannot be read makes its page fail."""
        try:
            return self._collect(origin, request, page_id)
        except PageError as error:
            failure = self.failure(origin, error.failure_class, str(error), page_id=page_id)
            return replace(failure, outputs=self._kept(origin, request))

    def _kept(self, origin: PageOrigin, request: Request) -> Mapping[str, str]:
        try:
            return self.keep(origin, request)
        except PageError:
            return {}

    def _collect(self, origin: PageOrigin, request: Request, page_id: str) -> PageRecord:
        last = request.logs[-1] if request.logs else None
        attempts = max([1, *(log.attempt for log in request.logs)])
        if last is not None and request.failed:
            text = (last.log.strip() or "failed without a word").splitlines()[0]
            failure = self.failure(origin, last.failure_class or "page", text, page_id=page_id)
            kept = self._kept(origin, request)
            return replace(
                failure, attempts=attempts, engine=last.engine, worker=last.host_id, outputs=kept, **_spent(request)
            )
        content = page_of(request.results)
        page = pagexml.read(content.content) if content else None
        if page is not None:
            # A page from a PDF went through the cluster as a PNG.
            page = replace(page, name=origin.image_name)
        outputs = self._write(origin, page) if page else self.keep(origin, request)
        if last is None:
            raise PageError(NOT_PROCESSED)
        if not outputs:
            raise PageError("no stage left a result: there is no PAGE XML of this page")
        confidences = [line.confidence for line in page.lines() if line.confidence is not None] if page else []
        confidence = page.confidence() if page else None
        seconds: dict[str, float] = {}
        for log in request.logs:
            for phase, duration in log.seconds.items():
                seconds[phase] = round(seconds.get(phase, 0.0) + duration, 4)
        return replace(
            self._record(origin, PageStatus.DONE, page_id),
            attempts=attempts,
            engine=last.engine if last else "",
            worker=last.host_id if last else "",
            seconds=seconds,
            **_spent(request),
            lines=sum(1 for _ in page.lines()) if page else 0,
            confidence_mean=None if confidence is None else round(confidence, 4),
            confidence_worst=round(min(confidences), 4) if confidences else None,
            orientation=page.orientation if page else 0.0,
            outputs=outputs,
        )

    def converted(self, origin: PageOrigin, known: PageRecord) -> PageRecord | None:
        """Writes what is wanted now from what an earlier run found on the page; returns None if that is gone."""
        page = self._found_before(known)
        if page is None:
            return None
        try:
            outputs = self._write(origin, page)
        except PageError as error:
            return self.failure(origin, error.failure_class, str(error), page_id=known.page_id)
        finished = self.clock.now().isoformat(timespec="seconds")
        return replace(known, finished=finished, outputs={**known.outputs, **outputs})

    def _found_before(self, known: PageRecord) -> Page | None:
        master = master_path(self.folder, known)
        if master is None:
            return None
        try:
            return pagexml.read(master.read_bytes())
        except (OSError, PageError):
            return None

    def failure(self, origin: PageOrigin, error_class: str, error: str, *, page_id: str = "") -> PageRecord:
        status = PageStatus.CANCELLED if error_class == JobCancelledError.failure_class else PageStatus.FAILED
        return replace(self._record(origin, status, page_id), error_class=error_class, error=error)

    def skipped(self, origin: PageOrigin, reason: str) -> PageRecord:
        """Returns the record of a page that has nothing to read on it."""
        return replace(self._record(origin, PageStatus.SKIPPED, ""), error=_printable(reason))

    def _record(self, origin: PageOrigin, status: PageStatus, page_id: str) -> PageRecord:
        return PageRecord(
            page=origin.name,
            source=_printable(origin.source),
            page_index=origin.index,
            status=status,
            fingerprint=origin.fingerprint,
            finished=self.clock.now().isoformat(timespec="seconds"),
            page_id=page_id,
            source_id=_printable(origin.source_id),
            label=_printable(origin.label),
            note=_printable(origin.note),
            document=origin.document,
        )

    def has_master(self, page: str) -> bool:
        """Whether files of whole documents can be made with the page of this name."""
        return self.folder.is_whole(self.folder.relative(self._master(page)))

    def stale_formats(self, planned: OpenedDocument) -> tuple[DocumentFormat, ...]:
        """Returns the formats in which the document's file is missing or older than one of its pages."""
        return tuple(wanted for wanted in self.document_formats if self._is_stale(planned, wanted))

    def _is_stale(self, planned: OpenedDocument, wanted: DocumentFormat) -> bool:
        target = self.folder.path(planned.document.name, wanted.suffix)
        if not target.is_file():
            return True
        if self.language_changed and wanted.tells_language:
            return True
        if self.text_changed and planned.document.path.suffix.lower() == wanted.suffix:
            return True
        made = target.stat().st_mtime_ns
        masters = [self._master(task.name) for task in planned.pages]
        return any(master.is_file() and master.stat().st_mtime_ns > made for master in masters)

    def make_document(self, planned: OpenedDocument, wanted: DocumentFormat, failed: Set[str], dpi: int) -> None:
        """Makes the document's file from the pages' PAGE XML, without the content of the pages named in `failed`.

        Raises `PageError` if this format cannot hold the document, and `OutputError` if it cannot be written.
        """
        pages = _Masters([None if task.name in failed else task.name for task in planned.pages], self._read_master)
        if not any(page is not None for page in pages):
            return
        document = Document(
            name=planned.document.name,
            source=planned.document.path,
            pages=pages,
            page_names=[task.name for task in planned.pages],
            book=planned.document.book if isinstance(planned.document.book, Book) else None,
            picture=lambda place: self.bring(planned.pages[place]).path,
            dpi=dpi,
            created=self.clock.now(),
            creator=self.creator,
            text=self.text,
            language=self.language,
        )
        target = self.folder.path(planned.document.name, wanted.suffix)
        self.folder.write_with(target, lambda stream: self._fill(document, wanted, stream))

    def _fill(self, document: Document, wanted: DocumentFormat, stream: IO[bytes]) -> None:
        if self.apart is None or document.book is not None:
            wanted.write(document, stream)
            return
        whole = replace(document, pages=tuple(document.pages), picture=None)
        with TemporaryDirectory(prefix="pero-worker-") as scratch:
            made = Path(scratch) / "made"
            self.apart.call(_write_document, whole, wanted.name, made)
            with made.open("rb") as source:
                copyfileobj(source, stream)

    def _write(self, origin: PageOrigin, page: Page) -> dict[str, str]:
        created = self.clock.now()
        outputs = {}
        for wanted in self.document_formats:
            outputs[wanted.name] = self.folder.relative(self.folder.path(origin.document, wanted.suffix))
        if MASTER.name not in self.formats:  # Formats that are added later are made from it.
            self.folder.write(self._master(origin.name), MASTER.write(page, created=created, creator=self.creator))
        for kind in self.page_formats:
            target = self.folder.path(origin.name, kind.suffix)
            write = kind.write_joined if self.text_lines is TextLines.JOIN and kind.write_joined else kind.write
            content = write(page, created=created, creator=self.creator)
            self.folder.write(target, content or (f"{self.blank_text}\n".encode() if self.blank_text else b""))
            outputs[kind.name] = self.folder.relative(target)
        return outputs

    def _master(self, name: str) -> Path:
        return self.folder.path(name, MASTER.suffix, hidden=MASTER.name not in self.formats)

    def _read_master(self, name: str) -> Page | None:
        try:
            return pagexml.read(self._master(name).read_bytes())
        except (FileNotFoundError, PageError):
            return None
        except OSError as error:
            raise OutputError(f"cannot read back {self._master(name)}: {error.strerror}") from error


def _write_document(document: Document, name: str, target: Path) -> None:
    with target.open("wb") as stream:
        (kind,) = document_formats([name])
        kind.write(document, stream)


class _Masters(Sequence[Page | None]):
    """The pages of a document, read on demand: a book may have 20,000."""

    def __init__(self, names: Sequence[str | None], read: Callable[[str], Page | None]) -> None:
        self._names = names
        self._read = read

    def __len__(self) -> int:
        return len(self._names)

    @overload
    def __getitem__(self, place: int) -> Page | None: ...

    @overload
    def __getitem__(self, place: slice) -> Sequence[Page | None]: ...

    def __getitem__(self, place: int | slice) -> Page | Sequence[Page | None] | None:
        if isinstance(place, slice):
            return _Masters(self._names[place], self._read)
        name = self._names[place]
        return None if name is None else self._read(name)


def _spent(request: Request) -> dict[str, Any]:
    joules = request.energy_joules
    return {
        "worker_seconds": round(request.worker_seconds, 4),
        "energy_joules": None if joules is None else round(joules, 3),
    }


def _printable(text: str) -> str:
    """Returns the text with marks in place of what is not UTF-8 in a file name."""
    return text.encode("utf-8", "replace").decode()
