"""What is wanted of a run, and what makes results of it."""

from __future__ import annotations

from dataclasses import dataclass

import pero_worker
from pero_worker.formats import TextLines, TextPolicy
from pero_worker.inputs.bounds import DEFAULT_MAX_PAGES
from pero_worker.jobs.apart import ProcessApart
from pero_worker.jobs.collect import Collector
from pero_worker.jobs.notes import LANGUAGE, TEXT_LINES, TEXT_POLICY, language_of, note, noted
from pero_worker.jobs.outputs import OutputFolder
from pero_worker.jobs.supply import Bring
from pero_worker.ports import Clock


@dataclass(frozen=True, slots=True, kw_only=True)
class RunOptions:
    """What is made of the documents."""

    formats: tuple[str, ...]
    """Names of the results' formats."""
    dpi: int = 300
    """Resolution at which PDF pages are read that are not scans, and of images that do not tell theirs."""
    text: TextPolicy = TextPolicy.REDO
    """What becomes of text that PDFs have, in their searchable PDFs."""
    language: str = ""
    """Of the text, as BCP 47 writes it ('de', 'cs-CZ'), for PDF and TEI; '': not known."""
    blank_text: str = ""
    """What text files of pages without text hold: some programs refuse to import empty files."""
    text_lines: TextLines = TextLines.KEEP
    """What becomes of line ends in text files."""
    combine: bool = False
    """Whether text and PDF of several pages and documents are made, too: see `combine.py`."""
    max_pages: int = DEFAULT_MAX_PAGES
    """Longer documents are refused."""


def collector_for(
    folder: OutputFolder,
    options: RunOptions,
    clock: Clock,
    *,
    apart: ProcessApart,
    bring: Bring = lambda task: task,
) -> Collector:
    """Makes what `options` want, knowing what an earlier run in `folder` was told; documents are made in `apart`."""
    return Collector(
        folder=folder,
        formats=options.formats,
        clock=clock,
        creator=f"pero-worker {pero_worker.__version__}",
        apart=apart,
        text=options.text,
        blank_text=options.blank_text,
        text_changed=noted(folder, TEXT_POLICY, TextPolicy.REDO) != options.text,
        language=language_of(folder, options.language),
        language_changed=options.language not in {"", noted(folder, LANGUAGE, "")},
        text_lines=options.text_lines,
        lines_changed=noted(folder, TEXT_LINES, TextLines.KEEP) != options.text_lines,
        bring=bring,
    )


def note_options(collector: Collector) -> None:
    """For the next run: what all files in the folder are made with now."""
    note(collector.folder, TEXT_POLICY, collector.text, TextPolicy.REDO)
    note(collector.folder, TEXT_LINES, collector.text_lines, TextLines.KEEP)
    note(collector.folder, LANGUAGE, collector.language, "")
