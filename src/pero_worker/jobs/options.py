"""What is wanted of a run, and the collector that makes its results."""

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
    """Names of the result formats."""
    dpi: int = 300
    """Resolution at which PDF pages that are not scans are read, and of images that do not state their own."""
    text: TextPolicy = TextPolicy.REDO
    """What becomes of text that PDFs already have, in the searchable PDFs made from them."""
    language: str = ""
    """Language of the text, as a BCP 47 tag ('de', 'cs-CZ'), for PDF and TEI; '' if not known."""
    blank_text: str = ""
    """What text files of pages without text hold: some programs refuse to import empty files."""
    text_lines: TextLines = TextLines.KEEP
    """What becomes of line ends in text files."""
    combine: bool = False
    """Whether text and PDF files of several pages and documents are made as well: see `combine.py`."""
    max_pages: int = DEFAULT_MAX_PAGES
    """Most pages that a document may have; longer ones are refused."""


def collector_for(
    folder: OutputFolder,
    options: RunOptions,
    clock: Clock,
    *,
    apart: ProcessApart,
    bring: Bring = lambda task: task,
) -> Collector:
    """Returns a collector for `options` that knows the options of an earlier run in `folder`; it makes whole documents
    in `apart`."""
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
    """Notes for the next run the options that all files in the folder are now made with."""
    note(collector.folder, TEXT_POLICY, collector.text, TextPolicy.REDO)
    note(collector.folder, TEXT_LINES, collector.text_lines, TextLines.KEEP)
    note(collector.folder, LANGUAGE, collector.language, "")
