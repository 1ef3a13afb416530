"""Searchable PDFs of a page, of the document that its upload was, or of a job: made on request, in a separate
process."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

from sqlalchemy import RowMapping

from pero_worker.errors import PageError
from pero_worker.formats import TextPolicy, pagexml
from pero_worker.gateway.core import Gateway
from pero_worker.gateway.outcomes import page_content
from pero_worker.gateway.states import PageState
from pero_worker.gateway.store.jobs import pages_of_document
from pero_worker.jobs.apart import ProcessApart
from pero_worker.jobs.combine import write_combined
from pero_worker.page import Page

_DPI = 300
_JOB_SECONDS = 3600.0


class JobPdf:
    """One PDF of all pages of a job, in order; pages that failed have no text in it."""

    def __init__(self, gateway: Gateway, job: RowMapping, pages: Sequence[RowMapping]) -> None:
        self._gateway = gateway
        self._job = job
        self._pages = pages

    def write(self, target: Path) -> bool:
        """Writes the PDF to `target`; returns False if as many are being made as may be at a time.

        Raises `PageError` if it cannot be made because there is no scan.
        """
        if not self._gateway.whole_pdfs.acquire(blocking=False):
            return False
        try:
            with (
                TemporaryDirectory(prefix="pero-worker-") as scratch,
                closing(ProcessApart(time_limit=_JOB_SECONDS)) as apart,
            ):
                name = self._job["name"] or self._job["id"]
                apart.call(write_combined, list(self._parts(Path(scratch))), target, name, _DPI, TextPolicy.REDO, "")
        finally:
            self._gateway.whole_pdfs.release()
        return True

    def _parts(self, scratch: Path) -> list[tuple[Path, Sequence[Path | None]]]:
        documents: dict[str, list[RowMapping]] = {}
        for page in self._pages:
            documents.setdefault(page["document"] or page["id"], []).append(page)
        image = partial(self._gateway.files.image, self._job["id"])
        return [(image(first), [self._file(page, scratch) for page in pages]) for first, pages in documents.items()]

    def _file(self, page: RowMapping, scratch: Path) -> Path | None:
        master = _master(self._gateway, self._job, page)
        if not isinstance(master, bytes):
            return master
        path = scratch / str(page["id"])
        path.write_bytes(master)
        return path


def write_pdf(gateway: Gateway, job: RowMapping, page: RowMapping, target: Path) -> None:
    """Writes the PDF of a page to `target`.

    For the first page of a PDF or TIFF of several pages it covers the whole document, and pages that failed have no
    text in it. Raises `PageError` if it cannot be made.
    """
    if page["document"]:
        raise PageError("this is a page of a document: ask for its first page to get the document", permanent=True)
    with gateway.database.read() as connection:
        rows = pages_of_document(connection, page["id"])
    masters = [_master(gateway, job, row) for row in rows]
    gateway.apart.call(_write, gateway.files.image(job["id"], page["id"]), masters, target)


def _master(gateway: Gateway, job: RowMapping, page: RowMapping) -> Path | bytes | None:
    """Returns a page's PAGE XML: its path, as a document may have thousands of pages, or its content from a worker's
    zip."""
    if page["state"] != PageState.DONE:
        return None
    path = gateway.files.page_result(job["id"], page["id"], "page")
    return path if path.is_file() else page_content(gateway, job, page, "page")


def _read(master: Path | bytes) -> Page:
    return pagexml.read(master.read_bytes() if isinstance(master, Path) else master)


def _write(source: Path, masters: Sequence[Path | bytes | None], target: Path) -> None:
    """Runs in a separate process: the uploaded file may have been crafted to crash whatever opens it."""
    from pero_worker.formats.pdf import write_searchable_pdf  # noqa: PLC0415 - the gateway itself needs none of it

    pages = [None if master is None else _read(master) for master in masters]
    with target.open("wb") as stream:
        write_searchable_pdf(source, pages, stream, dpi=_DPI, text=TextPolicy.REDO)
