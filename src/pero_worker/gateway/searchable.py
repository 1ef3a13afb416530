"""A page, or the document that its upload was, as a searchable PDF: made when it is asked for, in a process apart."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from sqlalchemy import RowMapping

from pero_worker.errors import PageError
from pero_worker.formats import TextPolicy, pagexml
from pero_worker.gateway.core import Gateway
from pero_worker.gateway.outcomes import page_content
from pero_worker.gateway.states import PageState
from pero_worker.gateway.store.jobs import pages_of_document
from pero_worker.page import Page

_DPI = 300


def write_pdf(gateway: Gateway, job: RowMapping, page: RowMapping, target: Path) -> None:
    """Fills `target`. Asked for the first page of a PDF or TIFF of several pages, it is all of that, and pages that
    failed have no text in it. PageError: it cannot be made."""
    if page["document"]:
        raise PageError("this is a page of a document: ask for its first page to get the document", permanent=True)
    with gateway.database.read() as connection:
        rows = pages_of_document(connection, page["id"])
    masters = [_master(gateway, job, row) for row in rows]
    gateway.apart.call(_write, gateway.files.image(job["id"], page["id"]), masters, target)


def _master(gateway: Gateway, job: RowMapping, page: RowMapping) -> Path | bytes | None:
    """A file, as a document may have thousands; or what is in the zip of a worker."""
    if page["state"] != PageState.DONE:
        return None
    path = gateway.files.page_result(job["id"], page["id"], "page")
    return path if path.is_file() else page_content(gateway, job, page, "page")


def _read(master: Path | bytes) -> Page:
    return pagexml.read(master.read_bytes() if isinstance(master, Path) else master)


def _write(source: Path, masters: Sequence[Path | bytes | None], target: Path) -> None:
    """Runs apart: whoever uploaded the file may have made it to crash what opens it."""
    from pero_worker.formats.pdf import write_searchable_pdf  # noqa: PLC0415 - the gateway itself needs none of it

    pages = [None if master is None else _read(master) for master in masters]
    with target.open("wb") as stream:
        write_searchable_pdf(source, pages, stream, dpi=_DPI, text=TextPolicy.REDO)
