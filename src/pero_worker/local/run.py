"""`pero-worker ocr`: feeds pages to the farm and collects results until every page is settled."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Protocol

import pero_worker
from pero_worker.errors import PageError
from pero_worker.formats.discover import SourceDocument
from pero_worker.local.collect import Collector
from pero_worker.local.journal import Journal, PageRecord, PageStatus
from pero_worker.local.outputs import OutputFolder
from pero_worker.local.plan import PageTask, PlannedDocument, plan
from pero_worker.local.workforce import Outcome, Workforce
from pero_worker.ports import Clock

_POLL = 0.1


@dataclass(frozen=True, slots=True)
class RunOptions:
    """`pipeline` and `version` are what results depend on besides the image; `dpi` is of PDF pages without a scan."""

    pipeline: str
    version: str
    formats: tuple[str, ...]
    dpi: int


class Observer(Protocol):
    """Is told what happens; prints it, or not."""

    def opened(self, documents: int, total: int) -> None: ...

    def planned(self, pages: int, finished_before: int, workers: int) -> None: ...

    def page_settled(self, record: PageRecord) -> None: ...

    def worker_died(self, exit_code: int, pages: int) -> None: ...

    def binding(self, documents: int) -> None: ...


@dataclass(slots=True)
class Summary:
    """What a run came to; `failed` holds the pages' records, `unbound` (document, reason) of PDFs not made."""

    done: int = 0
    finished_before: int = 0
    failed: list[PageRecord] = field(default_factory=list)
    unbound: list[tuple[str, str]] = field(default_factory=list)
    seconds: float = 0.0
    interrupted: bool = False


def run(
    documents: Sequence[SourceDocument],
    workforce: Workforce,
    folder: OutputFolder,
    options: RunOptions,
    observer: Observer,
    clock: Clock,
    new_id: Callable[[], str] = lambda: uuid.uuid4().hex,
) -> Summary:
    """Has `workforce` do every page that an earlier run has not done.

    Ctrl-C ends the run within two seconds: the summary then says interrupted, and what was finished stays.
    StageError: the pipeline cannot be loaded.
    """
    creator = f"pero-worker {pero_worker.__version__}"
    collector = Collector(folder, options.formats, clock, creator)
    journal = Journal(folder)
    job = _Run(workforce, options, observer, new_id, collector, journal)
    begun = clock.monotonic()
    try:
        job.plan(documents)
        job.recognise()
        job.finish()
    except KeyboardInterrupt:
        job.abandon()
    finally:
        journal.close()
        job.summary.seconds = clock.monotonic() - begun
    return job.summary


class _Run:
    def __init__(
        self,
        workforce: Workforce,
        options: RunOptions,
        observer: Observer,
        new_id: Callable[[], str],
        collector: Collector,
        journal: Journal,
    ) -> None:
        self._workforce = workforce
        self._options = options
        self._observer = observer
        self._new_id = new_id
        self._collector = collector
        self._journal = journal
        self._to_do: list[PageTask] = []
        self._open: dict[str, PlannedDocument] = {}
        self._unsettled: dict[str, int] = {}
        self._failed: set[str] = set()
        self._binder = ThreadPoolExecutor(1, "binder")
        self._bindings: list[tuple[str, Future[None]]] = []
        self.summary = Summary()

    def plan(self, documents: Sequence[SourceDocument]) -> None:
        for number, planned in enumerate(self._opened(documents), 1):
            self._observer.opened(number, len(documents))
            if planned.error:
                self._settle(self._collector.failure(planned.pages[0], PageError.failure_class, planned.error))
                continue
            page_formats = self._collector.page_formats
            missing = [p for p in planned.pages if not self._journal.finished(p.name, p.fingerprint, page_formats)]
            self.summary.finished_before += len(planned.pages) - len(missing)
            self._to_do.extend(missing)
            self._open[planned.document.name] = planned
            self._unsettled[planned.document.name] = len(missing)
            if not missing:
                self._bind(planned)

    def recognise(self) -> None:
        workers = self._workforce.start(len(self._to_do), self._observer.worker_died)
        self._observer.planned(len(self._to_do), self.summary.finished_before, workers)
        waiting = iter(self._to_do)
        handed_in: dict[str, PageTask] = {}
        try:
            self._feed(waiting, handed_in)
            while handed_in:
                for outcome in self._workforce.outcomes(_POLL):
                    self._take(outcome, handed_in)
                self._feed(waiting, handed_in)
            finished = True
        except BaseException:
            finished = False
            raise
        finally:
            self._workforce.stop(finished)

    def finish(self) -> None:
        """Waits for the PDFs."""
        self._observer.binding(sum(not future.done() for _, future in self._bindings))
        for name, future in self._bindings:
            try:
                future.result()
            except PageError as error:
                self.summary.unbound.append((name, str(error)))
        self._binder.shutdown()

    def abandon(self) -> None:
        """Ctrl-C: PDFs not yet begun are left to the next run."""
        self.summary.interrupted = True
        self._binder.shutdown(wait=False, cancel_futures=True)

    def _opened(self, documents: Sequence[SourceDocument]) -> Iterator[PlannedDocument]:
        options = self._options
        return plan(tuple(documents), options.pipeline, options.version, options.dpi)

    def _feed(self, waiting: Iterator[PageTask], handed_in: dict[str, PageTask]) -> None:
        while self._workforce.wants_more():
            task = next(waiting, None)
            if task is None:
                return
            page_id = self._new_id()
            try:
                self._workforce.hand_in(page_id, task)
            except PageError as error:
                self._settle(self._collector.failure(task, error.failure_class, str(error)), task)
            else:
                handed_in[page_id] = task

    def _take(self, outcome: Outcome, handed_in: dict[str, PageTask]) -> None:
        task = handed_in.pop(outcome.page_id, None)
        if task is not None and outcome.request is not None:
            self._settle(self._collector.collect(task, outcome.request), task)
        elif task is not None:
            self._settle(self._collector.failure(task, outcome.error_class, outcome.error), task)
        outcome.settle()

    def _settle(self, record: PageRecord, task: PageTask | None = None) -> None:
        self._journal.add(record)
        if record.status is PageStatus.DONE:
            self.summary.done += 1
        else:
            self.summary.failed.append(record)
            self._failed.add(record.page)
        self._observer.page_settled(record)
        if task is not None:
            name = task.document.name
            self._unsettled[name] -= 1
            if not self._unsettled[name]:
                self._bind(self._open[name])

    def _bind(self, planned: PlannedDocument) -> None:
        del self._open[planned.document.name]
        if self._collector.wants_pdf and self._collector.pdf_is_stale(planned):
            failed = frozenset(task.name for task in planned.pages if task.name in self._failed)
            future = self._binder.submit(self._collector.bind, planned, failed, self._options.dpi)
            self._bindings.append((planned.document.name, future))
