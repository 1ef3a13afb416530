"""A folder of results while they are written: by a run, or by a conversion of what is there."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import pero_worker
from pero_worker.formats import TextLines, TextPolicy
from pero_worker.jobs.apart import ProcessApart
from pero_worker.jobs.claims import Claims
from pero_worker.jobs.collect import Collector
from pero_worker.jobs.notes import LANGUAGE, TEXT_LINES, TEXT_POLICY, language_of, note, noted
from pero_worker.jobs.options import RunOptions
from pero_worker.jobs.outputs import OutputFolder
from pero_worker.jobs.report import Report
from pero_worker.jobs.supply import Bring
from pero_worker.ports import Clock


@dataclass(slots=True, kw_only=True)
class Results:
    """What belongs together while results are written."""

    folder: OutputFolder
    """Where they lie."""
    options: RunOptions
    """What they are to be like."""
    collector: Collector
    """Makes files of what was found."""
    report: Report
    """Tells what became of each page, also in earlier runs."""
    claims: Claims
    """Which files are ours."""
    finished: bool = False
    """Whether every page is settled and in the report."""
    in_haste: bool = False
    """Whether somebody waits for the end: what only takes time is left to the next run."""

    def note_options(self) -> None:
        """What is there is as the options say."""
        note(self.folder, TEXT_POLICY, self.options.text, TextPolicy.REDO)
        self.note_lines()
        self.note_language()

    def note_lines(self) -> None:
        """As `note_options`, of the ends of lines in text files."""
        note(self.folder, TEXT_LINES, self.options.text_lines, TextLines.KEEP)

    def note_language(self) -> None:
        """As `note_options`, of the language."""
        note(self.folder, LANGUAGE, self.collector.language, "")


@contextmanager
def opened_results(
    folder: OutputFolder, options: RunOptions, clock: Clock, *, bring: Bring = lambda task: task
) -> Iterator[Results]:
    """Afterwards the report and the note of what is ours are closed. OutputError: they cannot be written."""
    making = ProcessApart(time_limit=None)
    collector = Collector(
        folder=folder,
        formats=options.formats,
        clock=clock,
        creator=f"pero-worker {pero_worker.__version__}",
        apart=making,
        text=options.text,
        blank_text=options.blank_text,
        text_changed=noted(folder, TEXT_POLICY, TextPolicy.REDO) != options.text,
        language=language_of(folder, options.language),
        language_changed=options.language not in {"", noted(folder, LANGUAGE, "")},
        text_lines=options.text_lines,
        lines_changed=noted(folder, TEXT_LINES, TextLines.KEEP) != options.text_lines,
        bring=bring,
    )
    report = Report(folder)
    claims = Claims(folder, report)
    results = Results(folder=folder, options=options, collector=collector, report=report, claims=claims)
    try:
        yield results
    finally:
        making.close()
        claims.close(finished=results.finished)
        report.close(compact=not results.in_haste)
