"""Makes more formats from existing results, without reading a page again."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

from pero_worker.errors import NoInputError, PageError
from pero_worker.formats import DocumentFormat, TextLines
from pero_worker.jobs.claims import in_the_way
from pero_worker.jobs.combine import combine_results
from pero_worker.jobs.finished import documents_in, task_of
from pero_worker.jobs.listener import RunListener, Summary
from pero_worker.jobs.notes import LANGUAGE, TEXT_LINES, note
from pero_worker.jobs.options import RunOptions
from pero_worker.jobs.outputs import REPORT_NAME, OutputFolder
from pero_worker.jobs.plan import PageTask
from pero_worker.jobs.records import PageRecord, PageStatus, read_report
from pero_worker.jobs.report import GROUP
from pero_worker.jobs.results import Results, opened_results
from pero_worker.ports import Clock


def convert(
    results: Path,
    options: RunOptions,
    listener: RunListener,
    clock: Clock,
    *,
    should_stop: Callable[[], bool] = lambda: False,
) -> Summary:
    """Writes the formats in `options` for every page that a run in `results` has done, and for their documents.

    Existing results stay as they are; files that are not ours are left alone and reported as failures.
    Raises `NoInputError` if there are no results, `UsageError` if a run is writing to the folder, and `OutputError` if
    it cannot be written.
    """
    if not (results / REPORT_NAME).is_file():
        raise NoInputError(f"{results} holds no results: there is no {REPORT_NAME} of a run in it")
    begun = clock.monotonic()
    with closing(OutputFolder(results)) as folder:
        with opened_results(folder, options, clock) as written:
            # How much of its text a PDF keeps is an option of the run that reads it.
            written.collector = replace(written.collector, text_changed=False)
            current = _Conversion(written, listener, should_stop)
            current.look_for_others()
            current.convert_pages()
            if not current.summary.interrupted:
                current.make_documents(options.dpi)
                written.finished = True
                note(folder, LANGUAGE, written.collector.language, "")
                if written.collector.must_rewrite:
                    note(folder, TEXT_LINES, options.text_lines, TextLines.KEEP)
        if options.combine and written.finished:
            current.summary.documents_failed += combine_results(folder, options)
    current.summary.seconds = clock.monotonic() - begun
    return current.summary


class _Conversion:
    def __init__(self, written: Results, listener: RunListener, should_stop: Callable[[], bool]) -> None:
        self._collector, self._report, self._claims = written.collector, written.report, written.claims
        self._listener = listener
        self._should_stop = should_stop
        self._folder = written.folder
        self._others: set[tuple[str, str]] = set()
        self.summary = Summary()

    def look_for_others(self) -> None:
        """Notes foreign files in the places of whole documents' files, before the report lists any of these."""
        kinds = self._collector.document_formats
        for document in documents_in(read_report(self._folder.root)) if kinds else ():
            for kind in kinds:
                taken = self._claims.taken_document(document.opened(), [kind])
                if taken is not None:
                    self._others.add((document.name, kind.name))
                    self._not_made(document.name, kind, in_the_way(taken))

    def convert_pages(self) -> None:
        """Converts every page that lacks a file, in groups, as a run writes them."""
        expected, waiting = 0, 0
        for record in self._done():
            if self._should_stop():
                self.summary.interrupted = True
                break
            if self._has_all(record):
                self.summary.finished_before += 1
                continue
            expected += 1
            self._listener.expects(expected, self.summary.finished_before)
            self._convert(record)
            waiting += 1
            if waiting == GROUP:
                self._commit()
                waiting = 0
        self._commit()

    def make_documents(self, dpi: int) -> None:
        """Makes the files of whole documents that are missing or older than a page."""
        kinds = self._collector.document_formats
        if not kinds:
            return
        for document in documents_in(read_report(self._folder.root)):
            if not document.done:
                continue
            opened = document.opened()
            failed = {task.name for task in opened.pages} - document.done.keys()
            for kind in self._collector.stale_formats(opened):
                if (document.name, kind.name) in self._others:
                    continue
                if not document.is_one_file and kind.name == "pdf":
                    self._not_made(document.name, kind, "its pages are files of their own: use pero-worker ocr for it")
                    continue
                self._claims.begin_document(opened, kind)
                self._claims.sync()
                try:
                    self._collector.make_document(opened, kind, failed, dpi)
                except PageError as error:
                    self._not_made(document.name, kind, str(error))

    def _done(self) -> Iterator[PageRecord]:
        return (record for record in read_report(self._folder.root) if record.status is PageStatus.DONE)

    def _has_all(self, record: PageRecord) -> bool:
        collector = self._collector
        formats = tuple(kind.name for kind in collector.page_formats)
        whole = not collector.document_formats or collector.has_master(record.page)
        return whole and not collector.must_rewrite and self._report.finished(record.page, record.fingerprint, formats)

    def _convert(self, known: PageRecord) -> None:
        task, kinds = task_of(known), self._collector.page_formats
        taken = self._claims.taken(task, kinds)
        if taken is not None:
            made = self._failed(task, in_the_way(taken))
        else:
            self._claims.begin(task.name, kinds)
            made = self._collector.converted(task.origin, known) or self._failed(
                task, "its PAGE XML is not there any more, or cannot be read: read the page again with pero-worker ocr"
            )
        self._listener.page_settled(made)
        if made.status is not PageStatus.DONE:
            # The page itself is still done, and the report keeps saying so.
            self.summary.count(made)
            return
        outputs = {kind: path for kind, path in made.outputs.items() if (task.document.name, kind) not in self._others}
        made = replace(made, outputs=outputs)
        self.summary.done += 1
        self._claims.settled(made)
        self._report.add(made)

    def _failed(self, task: PageTask, reason: str) -> PageRecord:
        return self._collector.failure(task.origin, PageError.failure_class, reason)

    def _commit(self) -> None:
        self._claims.sync()
        self._report.commit()

    def _not_made(self, document: str, kind: DocumentFormat, reason: str) -> None:
        self.summary.documents_failed.append((document, kind.name, reason))
