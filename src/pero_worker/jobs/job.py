"""A job turns files and folders into results in an output folder. Commands, Python and servers start it here."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path
from typing import Protocol

from pero_worker.clock import SystemClock
from pero_worker.inputs.discover import discover
from pero_worker.jobs.books import MAX_WARNINGS, BookSettings, check_pages, opened_books
from pero_worker.jobs.claims import results_of
from pero_worker.jobs.combine import combine_results
from pero_worker.jobs.listener import NullListener, RunListener, Summary
from pero_worker.jobs.options import RunOptions
from pero_worker.jobs.outputs import OutputFolder
from pero_worker.jobs.records import PageRecord, PageStatus, read_report
from pero_worker.jobs.run import run
from pero_worker.jobs.workforce import Workforce
from pero_worker.ports import Clock


class OpenWorkforce(Protocol):
    """Opens the workforce for the pages of a job: this machine (`local/workforce.py`) or a cluster
    (`cluster/pages/workforce.py`)."""

    def __call__(self, folder: OutputFolder, listener: RunListener) -> AbstractContextManager[Workforce]:
        """Opens the workforce for the job whose results are written to `folder`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class JobRequest:
    """What a job is to do."""

    paths: Sequence[str]
    """Files, folders (searched through) and patterns."""
    output: Path
    """Folder for the results; an earlier run of the same job is resumed."""
    options: RunOptions
    """What is made of the documents."""
    workforce: OpenWorkforce
    """Opens the workforce that does it."""
    books: BookSettings | None = None
    """How lists of pictures, in files and at addresses, are read; None if they are not, and nothing is fetched."""


class JobState(StrEnum):
    """Whether a job is running, and how it ended."""

    RUNNING = "running"
    DONE = "done"
    """Every page is settled; some may have failed."""
    CANCELLED = "cancelled"
    FAILED = "failed"
    """It could not continue: `Job.wait` raises the reason."""


@dataclass(frozen=True, slots=True, kw_only=True)
class JobStatus:
    """How far a job has got."""

    state: JobState = JobState.RUNNING
    """Whether it is running, and how it ended."""
    expected: int = 0
    """Pages to do in the documents opened so far; an unopened one counts as one page."""
    finished_before: int = 0
    """Pages that an earlier run of the job had done."""
    done: int = 0
    """Pages that were done."""
    failed: int = 0
    """Pages that failed."""
    cancelled: int = 0
    """Pages that were not read because their job was cancelled in the cluster."""
    nothing_to_read: int = 0
    """Pages of books that have no picture."""
    workers: int = 0
    """Number of workers on the job; 0 if not known."""
    notices: tuple[str, ...] = ()
    """What its owner should know."""


def run_job(
    request: JobRequest,
    listener: RunListener,
    clock: Clock,
    *,
    should_stop: Callable[[], bool] = lambda: False,
) -> Summary:
    """Runs a job from its paths to its results. Raises `NoInputError` if there is nothing to read, `UsageError` if
    another run is writing to the folder, and the errors of `run`."""
    with opened_books(request.books, clock) as books:
        found = discover(request.paths, exclude=request.output, open_book=books.open, results_of=results_of)
        for warning in found.documents.warnings(MAX_WARNINGS):
            listener.notice(warning)
        if request.books is not None:
            check_pages(found.documents, request.books.reading.pages)
        folder = OutputFolder(request.output)
        try:
            with request.workforce(folder, listener) as workforce:
                summary = run(
                    found.documents,
                    workforce,
                    folder,
                    request.options,
                    listener,
                    clock,
                    should_stop=should_stop,
                    bring=books.bring,
                    bring_layout=books.bring_layout,
                )
            if request.options.combine and not summary.interrupted:
                summary.documents_failed += combine_results(folder, request.options)
        finally:
            folder.close()
    summary.discovery = found
    return summary


class Job:
    """A job that runs in its own thread."""

    def __init__(self, request: JobRequest, on_page: Callable[[PageRecord], object] | None = None) -> None:
        """Starts at once. `on_page` is called for every page that is settled, from the job's thread."""
        self.output = request.output
        self._follower = _Follower(on_page)
        self._cancelled = threading.Event()
        self._summary = Summary()
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, args=(request,), name="job", daemon=True)
        self._thread.start()

    def status(self) -> JobStatus:
        """Returns how far the job has got."""
        return self._follower.status

    def results(self) -> Iterator[PageRecord]:
        """Yields the records of the pages settled so far, including those of earlier runs of the job.

        Raises `OutputError` if there is no report yet.
        """
        return read_report(self.output)

    def cancel(self) -> None:
        """Asks the job to end; the same job can be resumed later. `wait` returns once it has ended."""
        self._cancelled.set()

    def wait(self, timeout: float | None = None) -> Summary:
        """Waits for the job and returns its summary. Raises `TimeoutError` if it is still running after `timeout`
        seconds, and any error of `run_job`."""
        self._thread.join(timeout)
        if self._thread.is_alive():
            raise TimeoutError(f"the job goes on after {timeout} s")
        if self._error is not None:
            raise self._error
        return self._summary

    def _run(self, request: JobRequest) -> None:
        try:
            self._summary = run_job(request, self._follower, SystemClock(), should_stop=self._cancelled.is_set)
        except BaseException as error:
            self._error = error  # `wait` raises it
            self._follower.ended(JobState.FAILED)
        else:
            self._follower.ended(JobState.CANCELLED if self._summary.interrupted else JobState.DONE)


class _Follower(NullListener):
    """Keeps the status of a job up to date from what the run reports."""

    def __init__(self, on_page: Callable[[PageRecord], object] | None) -> None:
        self._on_page = on_page
        self.status = JobStatus()

    def notice(self, text: str) -> None:
        self.status = replace(self.status, notices=(*self.status.notices, text))

    def started(self, workers: int) -> None:
        self.status = replace(self.status, workers=workers)

    def expects(self, pages: int, finished_before: int) -> None:
        self.status = replace(self.status, expected=pages, finished_before=finished_before)

    def page_settled(self, record: PageRecord) -> None:
        match record.status:
            case PageStatus.DONE:
                self.status = replace(self.status, done=self.status.done + 1)
            case PageStatus.FAILED:
                self.status = replace(self.status, failed=self.status.failed + 1)
            case PageStatus.CANCELLED:
                self.status = replace(self.status, cancelled=self.status.cancelled + 1)
            case PageStatus.SKIPPED:
                self.status = replace(self.status, nothing_to_read=self.status.nothing_to_read + 1)
        if self._on_page is not None:
            self._on_page(record)

    def ended(self, state: JobState) -> None:
        self.status = replace(self.status, state=state)
