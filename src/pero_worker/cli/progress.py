"""Progress on stderr for people who watch, and a summary for everybody."""

from __future__ import annotations

import sys
from pathlib import Path
from types import TracebackType

from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    MofNCompleteColumn,
    ProgressColumn,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)
from rich.progress import Progress as RichProgress

from pero_worker.cli.say import say, warn
from pero_worker.inputs.discover import Discovery
from pero_worker.jobs.listener import Summary
from pero_worker.jobs.records import PageRecord, PageStatus
from pero_worker.names import counted
from pero_worker.text import one_line


class Progress:
    """A `RunListener` on the terminal; shows no progress unless `visible`."""

    def __init__(self, *, visible: bool) -> None:
        self._bar = RichProgress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[note]}"),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            console=Console(stderr=True),
            disable=not visible,
        )
        self._visible = visible
        self._task: TaskID = self._bar.add_task("pages", total=None, note="")
        self._workers = self._finished_before = self._failed = 0

    def __enter__(self) -> Progress:
        self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar.stop()

    def notice(self, text: str) -> None:
        warn(one_line(text))

    def started(self, workers: int) -> None:
        self._workers = workers
        self._show()

    def expects(self, pages: int, finished_before: int) -> None:
        self._finished_before = finished_before
        self._show(total=pages)

    def page_settled(self, record: PageRecord) -> None:
        if record.status is PageStatus.FAILED:
            self._failed += 1
            self._say(one_line(f"failed: {record.page}: {record.error}"))
        self._show(advance=1)

    def worker_died(self, exit_code: int, pages: int) -> None:
        self._say(f"a worker process died ({_why(exit_code)}); {counted(pages, 'page')} taken back, restarting it")

    def making_documents(self, documents: int) -> None:
        if documents:
            self._bar.update(self._task, description=f"pages; making {counted(documents, 'document')}")

    def _show(self, *, total: float | None = None, advance: float = 0) -> None:
        (task,) = self._bar.tasks
        numbers = {
            f"{task.speed or 0:.2f} pages/s": task.speed,
            counted(self._workers, "worker"): self._workers,
            f"{self._finished_before} done before": self._finished_before,
            f"{self._failed} failed": self._failed,
        }
        note = ", ".join(text for text, number in numbers.items() if number)
        self._bar.update(self._task, total=total, advance=advance, note=note)

    def _say(self, text: str) -> None:
        if self._visible:
            self._bar.console.print(one_line(text), markup=False, highlight=False)


def count_bar(*, visible: bool) -> RichProgress:
    """Returns a progress bar that counts items."""
    return _bar(visible, MofNCompleteColumn())


def bytes_bar(*, visible: bool) -> RichProgress:
    """Returns a progress bar for a file transfer."""
    return _bar(visible, DownloadColumn(), TransferSpeedColumn())


def _bar(visible: bool, *columns: ProgressColumn) -> RichProgress:
    return RichProgress(
        TextColumn("{task.description}"),
        BarColumn(),
        *columns,
        TimeRemainingColumn(),
        console=Console(stderr=True),
        disable=not (visible and sys.stderr.isatty()),
    )


def print_summary(summary: Summary, folder: Path) -> None:
    """Prints a run's result on stdout."""
    speed = f", {summary.done / summary.seconds:.2f} pages/s" if summary.done and summary.seconds else ""
    before = f", {summary.finished_before} done before" if summary.finished_before else ""
    say(f"{counted(summary.done, 'page')} done in {summary.seconds:.1f} s{speed}{before}, {summary.failed} failed")
    for record in summary.failures:
        say(one_line(f"  failed: {record.page}: {record.error}"))
    if summary.failed > len(summary.failures):
        say(f"  and {summary.failed - len(summary.failures)} more")
    for name, wanted, reason in summary.documents_failed:
        say(f"  no {wanted}: {name}: {reason}")
    if summary.cancelled:
        say(f"  {counted(summary.cancelled, 'page')} cancelled: run the same command again to have them read")
    if summary.nothing_to_read:
        say(f"  {counted(summary.nothing_to_read, 'page')} without anything to read; the report says why")
    if summary.discovery is not None:
        print_passed_over(summary.discovery)
    if summary.interrupted:
        say("interrupted; run the same command again to go on")
    say(f"results in {folder}, one line a page in {folder / 'report.jsonl'}")


def print_passed_over(found: Discovery) -> None:
    """Prints what was found in the paths but is not read."""
    for what, passed in (
        ("files in the folders are not images", found.no_images),
        ("links in the folders are not followed", found.links),
        ("files are results of earlier runs", found.results),
        ("folders cannot be read", found.unreadable),
    ):
        if passed.count:
            more = ", ..." if passed.count > len(passed.names) else ""
            say(f"  passed over: {passed.count} {what}: {', '.join(map(one_line, passed.names))}{more}")


def _why(exit_code: int) -> str:
    return f"signal {-exit_code}" if exit_code < 0 else f"exit code {exit_code}"
