"""A page's results: files first, then rows, so that whoever sees the page done finds them."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

from sqlalchemy import Connection, RowMapping, delete, insert

from pero_worker.gateway.bundle import member_of, stems_of
from pero_worker.gateway.core import Gateway
from pero_worker.gateway.files import DataFolder
from pero_worker.gateway.states import Backend
from pero_worker.gateway.store.jobs import pages_of
from pero_worker.gateway.store.schema import results


def write_results(files: DataFolder, job: str, page: str, contents: Mapping[str, bytes]) -> None:
    """The files first: who sees the page done finds them."""
    for kind, content in contents.items():
        files.put(files.page_result(job, page, kind), content)


def note_results(connection: Connection, job: str, page: str, contents: Mapping[str, bytes]) -> None:
    connection.execute(delete(results).where(results.c.page == page))
    rows = [
        {"page": page, "job": job, "format": kind, "bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
        for kind, content in contents.items()
    ]
    if rows:
        connection.execute(insert(results), rows)


def page_content(gateway: Gateway, job: RowMapping, page: RowMapping, kind: str) -> bytes | None:
    """A page's result: a file, or in the zip that a worker uploaded; None: it is gone."""
    try:
        return gateway.files.page_result(job["id"], page["id"], kind).read_bytes()
    except FileNotFoundError:
        if job["backend"] == Backend.FARM:
            return None
    with gateway.database.read() as connection:
        names = [one["name"] for one in pages_of(connection, job["id"])]
    stem = dict(zip(names, stems_of(names), strict=True)).get(page["name"], page["name"])
    return member_of(gateway.files.result(job["id"]), stem, kind)
