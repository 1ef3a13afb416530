"""A folder of results while they are being written, by a run or by a conversion of existing results."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from pero_worker.jobs.apart import ProcessApart
from pero_worker.jobs.claims import Claims
from pero_worker.jobs.collect import Collector
from pero_worker.jobs.options import RunOptions, collector_for
from pero_worker.jobs.outputs import OutputFolder
from pero_worker.jobs.report import Report
from pero_worker.jobs.supply import Bring
from pero_worker.ports import Clock


@dataclass(slots=True, kw_only=True)
class Results:
    """What belongs together while results are being written."""

    folder: OutputFolder
    """The folder that they are in."""
    collector: Collector
    """Makes files from what was found."""
    report: Report
    """Says what became of each page, in earlier runs too."""
    claims: Claims
    """Which files are ours."""
    finished: bool = False
    """Whether every page is settled and in the report."""
    in_haste: bool = False
    """Whether someone is waiting for the end: what only takes time is left to the next run."""


@contextmanager
def opened_results(
    folder: OutputFolder, options: RunOptions, clock: Clock, *, bring: Bring = lambda task: task
) -> Iterator[Results]:
    """Opens the results in a folder; afterwards the report and the note of what is ours are closed.

    Raises `OutputError` if they cannot be written.
    """
    making = ProcessApart(time_limit=None)
    collector = collector_for(folder, options, clock, apart=making, bring=bring)
    report = Report(folder)
    claims = Claims(folder, report)
    results = Results(folder=folder, collector=collector, report=report, claims=claims)
    try:
        yield results
    finally:
        making.close()
        claims.close(finished=results.finished)
        report.close(compact=not results.in_haste)
