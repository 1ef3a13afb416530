"""What a run makes of the documents."""

from __future__ import annotations

from dataclasses import dataclass

from pero_worker.formats import TextLines, TextPolicy
from pero_worker.inputs.bounds import DEFAULT_MAX_PAGES


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
