"""From a page's finished request to files and a line in the report."""

from __future__ import annotations

from collections.abc import Set
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import fmean

from pero_worker.errors import OutputError, PageError
from pero_worker.formats import FORMATS, PDF_FORMAT, PDF_SUFFIX, pagexml
from pero_worker.formats.pdf import write_searchable_pdf
from pero_worker.jobs.journal import PageRecord, PageStatus
from pero_worker.jobs.outputs import OutputFolder
from pero_worker.jobs.plan import OpenedDocument, PageTask
from pero_worker.page import Page
from pero_worker.ports import Clock
from pero_worker.request import Request
from pero_worker.worker.payloads import parts_of

_MASTER = FORMATS["page"]


@dataclass(frozen=True, slots=True)
class Collector:
    """Writes results into `folder` in the wanted `formats`."""

    folder: OutputFolder
    formats: tuple[str, ...]
    clock: Clock
    creator: str

    @property
    def page_formats(self) -> tuple[str, ...]:
        """The formats that are one file a page."""
        return tuple(name for name in self.formats if name != PDF_FORMAT)

    @property
    def wants_pdf(self) -> bool:
        return PDF_FORMAT in self.formats

    def collect(self, task: PageTask, request: Request, page_id: str = "") -> PageRecord:
        """Writes the page's files and returns its record; a result that cannot be read is a failure of its page."""
        try:
            return self._collect(task, request, page_id)
        except PageError as error:
            return self.failure(task, error.failure_class, str(error), page_id=page_id)

    def _collect(self, task: PageTask, request: Request, page_id: str) -> PageRecord:
        last = request.logs[-1] if request.logs else None
        attempts = max([1, *(log.attempt for log in request.logs)])
        if last is not None and request.failed:
            text = (last.log.strip() or "failed without a word").splitlines()[0]
            failure = self.failure(task, last.failure_class or "page", text, page_id=page_id)
            return replace(failure, attempts=attempts, engine=last.engine, worker=last.host_id)
        content = parts_of(request.results).page
        page = pagexml.read(content.content) if content else None
        if page is not None:
            # A page out of a PDF went through a cluster as a PNG.
            page = replace(page, name=task.image_name)
        outputs = self._write(task, page) if page else {}
        confidences = [line.confidence for line in page.lines() if line.confidence is not None] if page else []
        seconds: dict[str, float] = {}
        for log in request.logs:
            for phase, duration in log.seconds.items():
                seconds[phase] = round(seconds.get(phase, 0.0) + duration, 4)
        return replace(
            self._record(task, PageStatus.DONE, page_id),
            attempts=attempts,
            engine=last.engine if last else "",
            worker=last.host_id if last else "",
            seconds=seconds,
            lines=sum(1 for _ in page.lines()) if page else 0,
            confidence_mean=round(fmean(confidences), 4) if confidences else None,
            confidence_worst=round(min(confidences), 4) if confidences else None,
            outputs=outputs,
        )

    def failure(self, task: PageTask, error_class: str, error: str, *, page_id: str = "") -> PageRecord:
        return replace(self._record(task, PageStatus.FAILED, page_id), error_class=error_class, error=error)

    def _record(self, task: PageTask, status: PageStatus, page_id: str) -> PageRecord:
        return PageRecord(
            page=task.name,
            source=_printable(str(task.document.path)),
            page_index=task.index,
            status=status,
            fingerprint=task.fingerprint,
            finished=self.clock.now().isoformat(timespec="seconds"),
            page_id=page_id,
        )

    def pdf_is_stale(self, planned: OpenedDocument) -> bool:
        """Whether the document's PDF is missing or older than a page of it."""
        target = self.folder.path(planned.document.name, PDF_SUFFIX)
        if not target.is_file():
            return True
        made = target.stat().st_mtime_ns
        masters = [self._master(task) for task in planned.pages]
        return any(master.is_file() and master.stat().st_mtime_ns > made for master in masters)

    def bind(self, planned: OpenedDocument, failed: Set[str], dpi: int) -> None:
        """Makes the document's searchable PDF out of the pages' PAGE XML, `failed` pages (their names) without text.

        PageError: the document cannot be made into a PDF. OutputError: it cannot be written.
        """
        pages = [None if task.name in failed else self._read_master(task) for task in planned.pages]
        if not any(pages):
            return
        target = self.folder.path(planned.document.name, PDF_SUFFIX)
        self.folder.write_with(
            target, lambda stream: write_searchable_pdf(planned.document.path, pages, stream, dpi=dpi)
        )

    def _write(self, task: PageTask, page: Page) -> dict[str, str]:
        created = self.clock.now()
        outputs = {}
        if self.wants_pdf:
            outputs[PDF_FORMAT] = self.folder.relative(self.folder.path(task.document.name, PDF_SUFFIX))
            if _MASTER.name not in self.formats:
                master = _MASTER.write(page, created=created, creator=self.creator)
                self.folder.write(self._master(task), master)
        for name in self.page_formats:
            target = self.folder.path(task.name, FORMATS[name].suffix)
            self.folder.write(target, FORMATS[name].write(page, created=created, creator=self.creator))
            outputs[name] = self.folder.relative(target)
        return outputs

    def _master(self, task: PageTask) -> Path:
        return self.folder.path(task.name, _MASTER.suffix, hidden=_MASTER.name not in self.formats)

    def _read_master(self, task: PageTask) -> Page | None:
        try:
            return pagexml.read(self._master(task).read_bytes())
        except (FileNotFoundError, PageError):
            return None
        except OSError as error:
            raise OutputError(f"cannot read back {self._master(task)}: {error.strerror}") from error


def _printable(text: str) -> str:
    """File names that are not UTF-8 are shown with replacement marks."""
    return text.encode("utf-8", "replace").decode()
