"""A run over documents: feeds pages to a workforce and collects results until every page is settled."""

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
from pero_worker.jobs.outputs import OutputFolder
from pero_worker.jobs.plan import OpenedDocument, PageTask, open_documents
from pero_worker.jobs.report import PageRecord, PageStatus, Report
from pero_worker.jobs.workforce import PageOutcome, Workforce
from pero_worker.ports import Clock

_POLL_SECONDS = 0.1
_LOOK_AHEAD = 256
"""Pages; as many processes are started as there are pages for."""
_DOCUMENTS_AHEAD = 100
"""That wait to be made into files of their own; pages are held up by more."""
_FAILURES_KEPT = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class RunOptions:
    """What is made of the documents."""

    formats: tuple[str, ...]
    """Names of the results' formats."""
    dpi: int = 300
    """Resolution at which PDF pages are read that are not scans, and of images that do not tell theirs."""


class RunListener(Protocol):
    """Is told what happens; prints it, or not."""

    def notice(self, text: str) -> None:
        """Something that the user should know; the run goes on."""

    def started(self, workers: int) -> None:
        """0: not known."""

    def expects(self, pages: int, finished_before: int) -> None:
        """As far as documents are opened; one that is not counts as a page to do."""

    def page_settled(self, record: PageRecord) -> None: ...

    def worker_died(self, exit_code: int, pages: int) -> None: ...

    def making_documents(self, documents: int) -> None:
        """All pages are settled; `documents` files of whole documents are still to be made."""


class NullListener:
    """Listens and says nothing; a base for those who want to know of some things only."""

    def notice(self, text: str) -> None: ...

    def started(self, workers: int) -> None: ...

    def expects(self, pages: int, finished_before: int) -> None: ...

    def page_settled(self, record: PageRecord) -> None: ...

    def worker_died(self, exit_code: int, pages: int) -> None: ...

    def making_documents(self, documents: int) -> None: ...


@dataclass(slots=True, kw_only=True)
class Summary:
    """What a run came to."""

    done: int = 0
    """Pages that were done."""
    finished_before: int = 0
    """Pages that an earlier run had done."""
    failed: int = 0
    """Pages that failed."""
    failures: list[PageRecord] = field(default_factory=list)
    """The first 20 of these."""
    documents_failed: list[tuple[str, str, str]] = field(default_factory=list)
    """Files of whole documents that could not be made: document, format, reason."""
    skipped: int = 0
    """Files in the folders named that are no images."""
    seconds: float = 0.0
    """How long it took."""
    interrupted: bool = False
    """It was ended before all pages were settled."""


class _Cancelled(Exception):
    """Somebody asked the run to end."""


def run(
    documents: Documents,
    workforce: Workforce,
    folder: OutputFolder,
    options: RunOptions,
    listener: RunListener,
    clock: Clock,
    *,
    new_id: Callable[[], str] = lambda: uuid.uuid4().hex,
    should_stop: Callable[[], bool] = lambda: False,
) -> Summary:
    """Has `workforce` do every page that an earlier run has not done.

    Ctrl-C ends the run within two seconds, and so does `should_stop`: the summary then says interrupted, and what was
    finished stays. StageError: the pipeline cannot be loaded.
    """
    creator = f"pero-worker {pero_worker.__version__}"
    collector = Collector(folder=folder, formats=options.formats, clock=clock, creator=creator)
    report = Report(folder)
    current = _Run(workforce, options, listener, new_id, should_stop, collector, report)
    begun = clock.monotonic()
    try:
        current.recognise(documents)
        current.finish()
    except KeyboardInterrupt:
        current.abandon()
    except _Cancelled:
        current.abandon(wait=True)
    finally:
        report.close(compact=not current.summary.interrupted)
        current.summary.seconds = clock.monotonic() - begun
    return current.summary


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
        listener: RunListener,
        new_id: Callable[[], str],
        should_stop: Callable[[], bool],
        collector: Collector,
        report: Report,
    ) -> None:
        self._workforce = workforce
        self._options = options
        self._listener = listener
        self._new_id = new_id
        self._should_stop = should_stop
        self._collector = collector
        self._report = report
        self._expected = 0
        self._open: dict[str, _Open] = {}
        self._documents = ThreadPoolExecutor(1, "documents")
        self._in_making: deque[tuple[str, str, Future[None]]] = deque()
        self.summary = Summary()

    def recognise(self, documents: Documents) -> None:
        """Opens documents as workers want more: a run may have millions of pages."""
        self._expected = len(documents)
        tasks = self._missing(documents)
        first = tuple(islice(tasks, _LOOK_AHEAD))
        self._listener.started(self._workforce.start(len(first), self._listener.worker_died))
        waiting = chain(first, tasks)
        handed_in: dict[str, PageTask] = {}
        try:
            self._feed(waiting, handed_in)
            while handed_in:
                self._check_cancelled()
                for outcome in self._workforce.outcomes(_POLL_SECONDS):
                    self._take(outcome, handed_in)
                self._feed(waiting, handed_in)
            finished = True
        except BaseException:
            finished = False
            raise
        finally:
            self._workforce.stop(finished)

    def finish(self) -> None:
        """Waits for the files of whole documents."""
        self._listener.making_documents(len(self._in_making))
        while self._in_making:
            self._check_cancelled()
            self._await_document()
        self._documents.shutdown()

    def abandon(self, *, wait: bool = False) -> None:
        """Files of whole documents that are not yet begun are left to the next run; `wait`: for the one in hand."""
        self.summary.interrupted = True
        self._documents.shutdown(wait=wait, cancel_futures=True)

    def _check_cancelled(self) -> None:
        if self._should_stop():
            raise _Cancelled

    def _missing(self, documents: Documents) -> Iterator[PageTask]:
        for planned in open_documents(documents, self._workforce.pipeline, self._workforce.version, self._options.dpi):
            if planned.error:
                self._settle(self._collector.failure(planned.pages[0].origin, PageError.failure_class, planned.error))
                continue
            page_formats = tuple(kind.name for kind in self._collector.page_formats)
            missing = [p for p in planned.pages if not self._report.finished(p.name, p.fingerprint, page_formats)]
            self._expected += len(missing) - 1
            self.summary.finished_before += len(planned.pages) - len(missing)
            self._listener.expects(self._expected, self.summary.finished_before)
            document = _Open(planned, len(missing))
            if missing:
                self._open[planned.document.name] = document
                yield from missing
            else:
                self._make_documents(document)

    def _feed(self, waiting: Iterator[PageTask], handed_in: dict[str, PageTask]) -> None:
        while self._workforce.wants_more():
            task = next(waiting, None)
            if task is None:
                return
            page_id = self._new_id()
            try:
                self._workforce.hand_in(page_id, task)
            except PageError as error:
                self._settle(self._collector.failure(task.origin, error.failure_class, str(error)), task)
            else:
                handed_in[page_id] = task

    def _take(self, outcome: PageOutcome, handed_in: dict[str, PageTask]) -> None:
        task = handed_in.pop(outcome.page_id, None)
        if task is not None and outcome.request is not None:
            self._settle(self._collector.collect(task.origin, outcome.request), task)
        elif task is not None:
            self._settle(self._collector.failure(task.origin, outcome.error_class, outcome.error), task)
        outcome.settle()

    def _settle(self, record: PageRecord, task: PageTask | None = None) -> None:
        self._report.add(record)
        if record.status is PageStatus.DONE:
            self.summary.done += 1
        else:
            self.summary.failed += 1
            if self.summary.failed <= _FAILURES_KEPT:
                self.summary.failures.append(record)
        self._listener.page_settled(record)
        if task is not None:
            document = self._open[task.document.name]
            document.unsettled -= 1
            if record.status is PageStatus.FAILED:
                document.failed.add(record.page)
            if not document.unsettled:
                del self._open[task.document.name]
                self._make_documents(document)

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
