"""`pero-worker ocr`: feeds pages to the cluster and collects results until every page is settled."""

from __future__ import annotations

import uuid
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import chain, islice
from typing import Protocol

import pero_worker
from pero_worker.errors import PageError
from pero_worker.inputs.discover import Documents
from pero_worker.jobs.collect import Collector
from pero_worker.jobs.journal import Journal, PageRecord, PageStatus
from pero_worker.jobs.outputs import OutputFolder
from pero_worker.jobs.plan import OpenedDocument, PageTask, plan
from pero_worker.jobs.workforce import PageOutcome, Workforce
from pero_worker.ports import Clock

_POLL_SECONDS = 0.1
_LOOK_AHEAD = 256
"""Pages; as many processes are started as there are pages for."""
_DOCUMENTS_AHEAD = 100
"""That wait to be made into files of their own; pages are held up by more."""
_FAILURES_KEPT = 20
_GROUP = 16
"""Pages that are synced to the disk together."""


@dataclass(frozen=True, slots=True)
class RunOptions:
    """`pipeline` and `version` are what results depend on besides the image; `dpi` is of PDF pages without a scan."""

    pipeline: str
    version: str
    formats: tuple[str, ...]
    dpi: int


class Observer(Protocol):
    """Is told what happens; prints it, or not."""

    def started(self, workers: int) -> None:
        """0: not known."""

    def expects(self, pages: int, finished_before: int) -> None:
        """As far as documents are opened; one that is not counts as a page to do."""

    def page_settled(self, record: PageRecord) -> None: ...

    def worker_died(self, exit_code: int, pages: int) -> None: ...

    def making_documents(self, documents: int) -> None:
        """All pages are settled; `documents` files of whole documents are still to be made."""


@dataclass(slots=True)
class Summary:
    """What a run came to; `failures` are the first of the `failed`, `documents_failed` (document, format, reason)."""

    done: int = 0
    finished_before: int = 0
    failed: int = 0
    failures: list[PageRecord] = field(default_factory=list)
    documents_failed: list[tuple[str, str, str]] = field(default_factory=list)
    seconds: float = 0.0
    interrupted: bool = False


def run(
    documents: Documents,
    workforce: Workforce,
    folder: OutputFolder,
    options: RunOptions,
    observer: Observer,
    clock: Clock,
    new_id: Callable[[], str] = lambda: uuid.uuid4().hex,
) -> Summary:
    """Has `workforce` do every page that an earlier run has not done.

    Pages are written down in groups: when nothing more comes for a moment, at the latest after `_GROUP` pages.

    Ctrl-C ends the run within two seconds: the summary then says interrupted, and what was finished stays.
    StageError: the pipeline cannot be loaded.
    """
    creator = f"pero-worker {pero_worker.__version__}"
    collector = Collector(folder, options.formats, clock, creator)
    journal = Journal(folder)
    job = _Run(workforce, options, observer, new_id, collector, journal)
    begun = clock.monotonic()
    try:
        job.recognise(documents)
        job.finish()
    except KeyboardInterrupt:
        job.abandon()
    finally:
        journal.close(compact=not job.summary.interrupted)
        job.summary.seconds = clock.monotonic() - begun
    return job.summary


@dataclass(slots=True)
class _Open:
    """A document of which pages are on their way; `failed` are the names of those that failed."""

    planned: OpenedDocument
    unsettled: int
    failed: set[str] = field(default_factory=set)


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
        self._expected = 0
        self._open: dict[str, _Open] = {}
        self._documents = ThreadPoolExecutor(1, "documents")
        self._in_making: deque[tuple[str, str, Future[None]]] = deque()
        self._settlements: list[Callable[[], None]] = []
        self._complete: list[_Open] = []
        self.summary = Summary()

    def recognise(self, documents: Documents) -> None:
        """Opens documents as workers want more: a run may have millions of pages."""
        self._expected = len(documents)
        tasks = self._missing(documents)
        first = tuple(islice(tasks, _LOOK_AHEAD))
        self._observer.started(self._workforce.start(len(first), self._observer.worker_died))
        waiting = chain(first, tasks)
        handed_in: dict[str, PageTask] = {}
        try:
            self._feed(waiting, handed_in)
            while handed_in:
                outcomes = self._workforce.outcomes(_POLL_SECONDS)
                for outcome in outcomes:
                    self._take(outcome, handed_in)
                if not outcomes or self._journal.uncommitted >= _GROUP:
                    self._commit()
                self._feed(waiting, handed_in)
            self._commit()
            finished = True
        except BaseException:
            finished = False
            raise
        finally:
            self._workforce.stop(finished)

    def finish(self) -> None:
        """Waits for the files of whole documents."""
        self._observer.making_documents(len(self._in_making))
        while self._in_making:
            self._await_document()
        self._documents.shutdown()

    def abandon(self) -> None:
        """Ctrl-C: files of whole documents that are not yet begun are left to the next run."""
        self.summary.interrupted = True
        self._documents.shutdown(wait=False, cancel_futures=True)

    def _missing(self, documents: Documents) -> Iterator[PageTask]:
        options = self._options
        for planned in plan(documents, options.pipeline, options.version, options.dpi):
            if planned.error:
                self._settle(self._collector.failure(planned.pages[0], PageError.failure_class, planned.error))
                continue
            stale = bool(self._collector.stale_formats(planned))
            missing = [page for page in planned.pages if not self._is_finished(page, stale=stale)]
            self._expected += len(missing) - 1
            self.summary.finished_before += len(planned.pages) - len(missing)
            self._observer.expects(self._expected, self.summary.finished_before)
            document = _Open(planned, len(missing))
            if missing:
                self._open[planned.document.name] = document
                yield from missing
            else:
                self._make_documents(document)

    def _is_finished(self, page: PageTask, *, stale: bool) -> bool:
        """`stale`: a file of the whole document is to be made, out of the pages' masters."""
        formats = tuple(kind.name for kind in self._collector.page_formats)
        whole = not stale or self._collector.has_master(page)
        return whole and self._journal.finished(page.name, page.fingerprint, formats)

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

    def _take(self, outcome: PageOutcome, handed_in: dict[str, PageTask]) -> None:
        task = handed_in.pop(outcome.page_id, None)
        if task is not None and outcome.request is not None:
            self._settle(self._collector.collect(task, outcome.request), task)
        elif task is not None:
            self._settle(self._collector.failure(task, outcome.error_class, outcome.error), task)
        self._settlements.append(outcome.settle)

    def _commit(self) -> None:
        """What was taken is on the disk: nobody else needs to know of it, and documents that are complete are made."""
        self._journal.commit()
        settlements, self._settlements = self._settlements, []
        for settle in settlements:
            settle()
        complete, self._complete = self._complete, []
        for document in complete:
            self._make_documents(document)

    def _settle(self, record: PageRecord, task: PageTask | None = None) -> None:
        self._journal.add(record)
        if record.status is PageStatus.DONE:
            self.summary.done += 1
        else:
            self.summary.failed += 1
            if self.summary.failed <= _FAILURES_KEPT:
                self.summary.failures.append(record)
        self._observer.page_settled(record)
        if task is not None:
            document = self._open[task.document.name]
            document.unsettled -= 1
            if record.status is PageStatus.FAILED:
                document.failed.add(record.page)
            if not document.unsettled:
                del self._open[task.document.name]
                self._complete.append(document)

    def _make_documents(self, document: _Open) -> None:
        planned, dpi = document.planned, self._options.dpi
        for wanted in self._collector.stale_formats(planned):
            future = self._documents.submit(self._collector.make_document, planned, wanted, document.failed, dpi)
            self._in_making.append((planned.document.name, wanted.name, future))
        while self._in_making and (self._in_making[0][2].done() or len(self._in_making) > _DOCUMENTS_AHEAD):
            self._await_document()

    def _await_document(self) -> None:
        name, wanted, future = self._in_making.popleft()
        try:
            future.result()
        except PageError as error:
            self.summary.documents_failed.append((name, wanted, str(error)))
