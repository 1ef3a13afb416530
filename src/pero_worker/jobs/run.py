"""A run over documents: feeds pages to a workforce and collects results until every page is settled."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from itertools import chain, islice
from pathlib import Path

from pero_worker.errors import PageError
from pero_worker.inputs.discover import Documents
from pero_worker.jobs.apart import ProcessApart
from pero_worker.jobs.listener import RunListener, Summary
from pero_worker.jobs.making import DocumentMaking
from pero_worker.jobs.options import RunOptions, note_options
from pero_worker.jobs.outputs import OutputFolder
from pero_worker.jobs.plan import OpenedDocument, PageTask, in_turns, open_documents
from pero_worker.jobs.records import PageRecord, PageStatus
from pero_worker.jobs.report import GROUP
from pero_worker.jobs.results import Results, opened_results
from pero_worker.jobs.supply import Bring, Supply
from pero_worker.jobs.workforce import PageOutcome, Workforce
from pero_worker.ports import Clock

_POLL_SECONDS = 0.1
_LOOK_AHEAD = 256
"""Pages looked for in advance: no more processes are started than there are pages for."""


class _Cancelled(Exception):
    """The run was asked to end."""


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
    bring: Bring = lambda task: task,
    bring_layout: Bring = lambda task: task,
) -> Summary:
    """Has `workforce` do every page that an earlier run has not done.

    Pages are recorded in groups: when nothing more arrives for a moment, at the latest after `GROUP` pages.

    Ctrl-C ends the run within two seconds, and so does `should_stop`: the summary is then marked as interrupted, and
    what was finished stays. Raises `StageError` if the pipeline cannot be loaded.
    """
    begun = clock.monotonic()
    with opened_results(folder, options, clock, bring=bring) as results, closing(ProcessApart()) as opening:
        layouts = bring_layout if workforce.wants_layout else None
        current = _Run(workforce, options, listener, new_id, should_stop, results, opening, layouts)
        try:
            current.recognise(documents)
            current.finish()
            note_options(results.collector)
        except KeyboardInterrupt:
            current.abandon()
        except _Cancelled:
            current.abandon(wait=True)
    current.summary.seconds = clock.monotonic() - begun
    return current.summary


@dataclass(slots=True, kw_only=True)
class _Open:
    """A document with pages on their way; `failed` holds the names of those that failed."""

    planned: OpenedDocument
    unsettled: int
    failed: set[str] = field(default_factory=set)
    may_be_made: bool = True


class _Run:
    def __init__(
        self,
        workforce: Workforce,
        options: RunOptions,
        listener: RunListener,
        new_id: Callable[[], str],
        should_stop: Callable[[], bool],
        results: Results,
        opening: ProcessApart,
        bring_layout: Bring | None,
    ) -> None:
        self._workforce = workforce
        self._options = options
        self._listener = listener
        self._new_id = new_id
        self._should_stop = should_stop
        self._results = results
        self._collector, self._report, self._claims = results.collector, results.report, results.claims
        self._opening = opening
        self._bring_layout = bring_layout
        self._expected = 0
        self._open: dict[str, _Open] = {}
        self._making = DocumentMaking(results.collector, options.dpi)
        self._settled: list[PageRecord] = []
        self._settlements: list[Callable[[], None]] = []
        self._complete: list[_Open] = []
        self.summary = Summary()

    def recognise(self, documents: Documents) -> None:
        """Opens documents as workers want more pages: a run may have millions."""
        self._expected = len(documents)
        tasks = self._missing(documents)
        first = tuple(islice(tasks, _LOOK_AHEAD))
        self._listener.started(self._workforce.start(len(first), self._listener.worker_died))
        waiting = Supply(chain(first, tasks), self._collector.bring, self._bring_layout)
        handed_in: dict[str, PageTask] = {}
        try:
            self._feed(waiting, handed_in)
            while handed_in or waiting.pending:
                self._check_cancelled()
                outcomes = self._workforce.outcomes(_POLL_SECONDS)
                for outcome in outcomes:
                    self._take(outcome, handed_in)
                if not outcomes or len(self._settled) >= GROUP:
                    self._commit()
                self._feed(waiting, handed_in)
            self._commit()
            finished = True
        except BaseException:
            finished = False
            raise
        finally:
            waiting.close()
            self._workforce.stop(finished)

    def finish(self) -> None:
        """Waits for the files of whole documents."""
        self._listener.making_documents(len(self._making))
        while self._making:
            self._check_cancelled()
            self._note_failure(self._making.take())
        self._making.close()
        self._results.finished = True

    def abandon(self, *, wait: bool = False) -> None:
        """Leaves files of whole documents not yet started to the next run; `wait`: waits for the one in hand."""
        self.summary.interrupted = True
        self._results.in_haste = True
        self._commit()
        self._making.abandon(wait=wait)

    def _check_cancelled(self) -> None:
        if self._should_stop():
            raise _Cancelled

    def _missing(self, documents: Documents) -> Iterator[PageTask]:
        opened = open_documents(
            documents,
            self._workforce.pipeline,
            self._workforce.version,
            self._options.dpi,
            apart=self._opening,
            max_pages=self._options.max_pages,
        )
        return in_turns(self._missing_of(planned) for planned in opened)

    def _missing_of(self, planned: OpenedDocument) -> Sequence[PageTask]:
        """Returns the pages of a document that are still to be done."""
        if planned.error:
            self._settle(self._collector.failure(planned.pages[0].origin, PageError.failure_class, planned.error))
            return ()
        possible = [page for page in planned.pages if not page.problem]
        stale = bool(self._collector.stale_formats(planned))
        missing = [page for page in possible if not self._is_finished(page, stale=stale)]
        self._expected += len(planned.pages) - len(possible) + len(missing) - 1
        self.summary.finished_before += len(possible) - len(missing)
        self._listener.expects(self._expected, self.summary.finished_before)
        document = _Open(planned=planned, unsettled=len(missing))
        for page in planned.pages:
            if page.problem:
                self._settle(self._refused(page))
                document.failed.add(page.name)
        taken = self._claims.taken_document(planned, self._collector.document_formats)
        if taken:
            document.may_be_made = False
            if not missing:
                self.summary.documents_failed.append((planned.document.name, taken.suffix[1:], _is_there(taken)))
        if not missing:
            self._make_documents(document)
            return ()
        self._open[planned.document.name] = document
        return self._free(missing, taken)

    def _free(self, pages: Sequence[PageTask], of_all: Path | None) -> Sequence[PageTask]:
        """Returns those of `pages` with no foreign files in the places of their results; the others have failed."""
        kinds = self._collector.page_formats
        free = []
        for page in pages:
            taken = of_all or self._claims.taken(page, kinds)
            if taken:
                self._settle(self._collector.failure(page.origin, PageError.failure_class, _is_there(taken)), page)
            else:
                self._claims.begin(page.name, kinds)
                if (record := self._converted(page)) is not None:
                    self._settle(record, page)
                else:
                    free.append(page)
        return free

    def _converted(self, page: PageTask) -> PageRecord | None:
        """Returns the record of a page that was read before and lacks only a format: it need not be read again."""
        known = self._report.record(page.name)
        if known is None or known.status is not PageStatus.DONE or known.fingerprint != page.fingerprint:
            return None
        return self._collector.converted(page.origin, known)

    def _refused(self, page: PageTask) -> PageRecord:
        """Returns the record of a page for which its book has no picture, or none that may be read."""
        if page.listed is not None and page.listed.skipped:
            return self._collector.skipped(page.origin, page.problem)
        return self._collector.failure(page.origin, PageError.failure_class, page.problem)

    def _is_finished(self, page: PageTask, *, stale: bool) -> bool:
        """`stale`: a file of the whole document is to be made from the pages' masters."""
        formats = tuple(kind.name for kind in self._collector.page_formats)
        whole = not stale or self._collector.has_master(page.name)
        return (
            whole and not self._collector.must_rewrite and self._report.finished(page.name, page.fingerprint, formats)
        )

    def _feed(self, waiting: Supply, handed_in: dict[str, PageTask]) -> None:
        while self._workforce.wants_more():
            found = waiting.take()
            if found is None:
                return
            task, problem = found
            page_id = self._new_id()
            try:
                if problem is not None:
                    raise problem
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
        self._settlements.append(outcome.settle)

    def _commit(self) -> None:
        """Writes what was taken to disk: nobody else needs to know of it. Makes the documents that are complete."""
        self._claims.sync()
        self._report.commit()
        settled, self._settled = self._settled, []
        for record in settled:
            self.summary.count(record)
            self._listener.page_settled(record)
        settlements, self._settlements = self._settlements, []
        for settle in settlements:
            settle()
        complete, self._complete = self._complete, []
        for document in complete if not self.summary.interrupted else ():
            self._make_documents(document)

    def _settle(self, record: PageRecord, task: PageTask | None = None) -> None:
        self._claims.settled(record)
        self._report.add(record)
        self._settled.append(record)
        if task is not None:
            document = self._open[task.document.name]
            document.unsettled -= 1
            if record.status in {PageStatus.FAILED, PageStatus.CANCELLED}:
                document.failed.add(record.page)
            if not document.unsettled:
                del self._open[task.document.name]
                self._complete.append(document)

    def _make_documents(self, document: _Open) -> None:
        for wanted in self._collector.stale_formats(document.planned) if document.may_be_made else ():
            self._claims.begin_document(document.planned, wanted)
            self._claims.sync()
            self._making.begin(document.planned, wanted, document.failed)
        while self._making.has_one_made or self._making.is_full:
            self._note_failure(self._making.take())

    def _note_failure(self, failure: tuple[str, str, str] | None) -> None:
        if failure is not None:
            self.summary.documents_failed.append(failure)


def _is_there(path: Path) -> str:
    return f"{path} is there already and is no result of this folder: move it away, or choose another output folder"
