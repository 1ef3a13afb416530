"""A page's results: files are written before rows, so that whoever sees that the page is done finds them."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from contextlib import ExitStack

from sqlalchemy import Connection, RowMapping, delete, insert

from pero_worker.gateway.bundle import member_of, stems_of
from pero_worker.gateway.core import Gateway
from pero_worker.gateway.endings import PageEnd
from pero_worker.gateway.states import Backend
from pero_worker.gateway.store.jobs import find_job, pages_of
from pero_worker.gateway.store.progress import finish_page
from pero_worker.gateway.store.schema import results
from pero_worker.gateway.traces import note_page


def settle_page(gateway: Gateway, job: str, end: PageEnd, contents: Mapping[str, bytes]) -> bool:
    """Ends a page with its results: files first, then rows.

    Returns False, with nothing changed, if it had ended already. If two bring the same page, the second must not touch
    files whose checksums were published with the first.
    """
    files = gateway.files
    with ExitStack() as unfinished:
        written = {kind: unfinished.enter_context(files.unfinished()) for kind in contents}
        for kind, path in written.items():
            files.write(path, contents[kind])
        with gateway.database.write() as connection:
            page = finish_page(connection, end, gateway.now())
            if page is None:
                return False
            for kind, path in written.items():
                files.place(path, files.page_result(job, end.page, kind))
            _note_results(connection, job, end.page, contents)
            whole = find_job(connection, job) if gateway.traces else None
    if gateway.traces and whole:
        gateway.traces.ended(page, whole["created"], end, gateway.now())
    return True


def _note_results(connection: Connection, job: str, page: str, contents: Mapping[str, bytes]) -> None:
    connection.execute(delete(results).where(results.c.page == page))
    rows = [
        {"page": page, "job": job, "format": kind, "bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
        for kind, content in contents.items()
    ]
    if rows:
        connection.execute(insert(results), rows)


def page_content(gateway: Gateway, job: RowMapping, page: RowMapping, kind: str) -> bytes | None:
    """Returns a page's result, from a file or from the zip that a worker uploaded; None if it is gone."""
    note_page(page["id"])
    try:
        return gateway.files.page_result(job["id"], page["id"], kind).read_bytes()
    except FileNotFoundError:
        if job["backend"] == Backend.FARM:
            return None
    with gateway.database.read() as connection:
        names = [one["name"] for one in pages_of(connection, job["id"])]
    stem = dict(zip(names, stems_of(names), strict=True)).get(page["name"], page["name"])
    return member_of(gateway.files.result(job["id"]), stem, kind)
