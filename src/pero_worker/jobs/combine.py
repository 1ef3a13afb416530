"""Combines all pages of a document, and of a folder, into one text and one PDF."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from shutil import copyfileobj
from tempfile import TemporaryDirectory
from typing import IO

from pero_worker.errors import PageError, UsageError
from pero_worker.formats import DocumentFormat, TextLines, TextPolicy, installed_formats, pagexml
from pero_worker.formats.text import text_of_pages
from pero_worker.jobs.apart import ProcessApart
from pero_worker.jobs.claims import Claims, in_the_way
from pero_worker.jobs.finished import FinishedDocument, documents_in, folder_of, master_path
from pero_worker.jobs.notes import language_of
from pero_worker.jobs.options import RunOptions
from pero_worker.jobs.outputs import OutputFolder
from pero_worker.jobs.records import read_report
from pero_worker.jobs.report import Report
from pero_worker.page import Page

TEXT, PDF = "text", "pdf"
ALL = "all"
"""Name of the files that combine a folder."""
Failures = list[tuple[str, str, str]]
"""Name, format and reason for each file that could not be made."""
_Part = tuple[Path, Sequence[Path | None]]
"""A file, and the path of the PAGE XML of each of its pages."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Combiner:
    """Makes files of several pages from the pages' PAGE XML."""

    folder: OutputFolder
    """The folder that holds the results."""
    formats: Sequence[str]
    """Names of the wanted formats; of these, text and PDF are made."""
    lines: TextLines
    """What becomes of line ends in text files."""
    text: TextPolicy
    """What becomes of text that PDFs already have."""
    language: str
    """Language of the text; '' if not known."""
    dpi: int
    """Resolution of images that do not state their own, in dpi."""
    apart: ProcessApart
    """Separate process that makes PDFs."""

    def combine(self, documents: Iterable[FinishedDocument], claims: Claims) -> Failures:
        """Rebuilds the text of each document of several pages, and `all` of each folder of several documents; returns
        what could not be made. A file that is not ours is left alone. Raises `OutputError` if nothing can be written.
        """
        failures: Failures = []
        for place, own in groupby(documents, key=lambda document: folder_of(document.name)):
            together = tuple(own)
            for document in together:
                if len(document.records) > 1:
                    self._make(document.name, [document], (TEXT,), claims, failures)
            if len(together) > 1:
                self._make(f"{place}/{ALL}" if place else ALL, together, (TEXT, PDF), claims, failures)
        return failures

    def _make(
        self,
        name: str,
        documents: Sequence[FinishedDocument],
        kinds: Sequence[str],
        claims: Claims,
        failures: Failures,
    ) -> None:
        for kind in (installed_formats()[known] for known in kinds if known in self.formats):
            if (taken := claims.foreign(name, [kind])) is not None:
                failures.append((name, kind.name, in_the_way(taken)))
                continue
            claims.begin_lasting(name, kind)
            claims.sync()
            target = self.folder.path(name, kind.suffix)
            try:
                if isinstance(kind, DocumentFormat):
                    self._make_pdf(name, documents, target)
                else:
                    self._make_text(documents, target)
            except PageError as error:
                failures.append((name, kind.name, str(error)))

    def _make_text(self, documents: Sequence[FinishedDocument], target: Path) -> None:
        pages = (_read(master) for document in documents for _, own in self._parts(document) for master in own)
        self.folder.write_with(target, lambda stream: stream.writelines(text_of_pages(pages, self.lines)))

    def _make_pdf(self, name: str, documents: Sequence[FinishedDocument], target: Path) -> None:
        parts = [part for document in documents for part in self._parts(document)]

        def fill(stream: IO[bytes]) -> None:
            with TemporaryDirectory(prefix="pero-worker-") as scratch:
                made = Path(scratch) / "made"
                self.apart.call(write_combined, parts, made, name, self.dpi, self.text, self.language)
                with made.open("rb") as source:
                    copyfileobj(source, stream)

        self.folder.write_with(target, fill)

    def _parts(self, document: FinishedDocument) -> Iterator[_Part]:
        done = {name: master_path(self.folder, record) for name, record in document.done.items()}
        if document.is_one_file:
            opened = document.opened()
            yield opened.document.path, [done.get(task.name) for task in opened.pages]
            return
        for record in document.records:
            if record.page in done:
                yield Path(record.source), [done[record.page]]


def combine_results(folder: OutputFolder, options: RunOptions) -> Failures:
    """Combines everything that the report of a folder lists. Raises the errors of `Combiner.combine`."""
    apart = ProcessApart(time_limit=None)
    report = Report(folder)
    claims = Claims(folder, report)
    combiner = Combiner(
        folder=folder,
        formats=options.formats,
        lines=options.text_lines,
        text=options.text,
        language=language_of(folder, options.language),
        dpi=options.dpi,
        apart=apart,
    )
    finished = False
    try:
        failures = combiner.combine(documents_in(read_report(folder.root)), claims)
        finished = True
        return failures
    finally:
        apart.close()
        claims.close(finished=finished)
        report.close()


def check(formats: Sequence[str]) -> None:
    """Raises `UsageError` if none of `formats` can be combined."""
    if not {TEXT, PDF} & set(formats):
        raise UsageError("combining makes one text and one PDF: name text, pdf or both among the formats")


def write_combined(parts: Sequence[_Part], target: Path, name: str, dpi: int, text: TextPolicy, language: str) -> None:
    """Writes one searchable PDF from files and the PAGE XML of their pages; to be called in a separate process.

    Raises the errors of `write_parts`.
    """
    from pero_worker.formats.bookpdf import write_parts  # noqa: PLC0415 - a run that makes no PDF does not wait for it

    with target.open("wb") as stream:
        pages = ((source, [_read(master) for master in masters]) for source, masters in parts)
        write_parts(pages, stream, name=name, dpi=dpi, text=text, language=language)


def _read(master: Path | None) -> Page | None:
    try:
        return pagexml.read(master.read_bytes()) if master else None
    except (OSError, PageError):
        return None
