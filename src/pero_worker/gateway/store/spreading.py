"""An upload that turns out to be a document of several pages."""

from __future__ import annotations

import uuid
from pathlib import PurePosixPath

from sqlalchemy import Connection, RowMapping, delete, insert, select, update

from pero_worker.gateway.errors import ApiError
from pero_worker.gateway.store.jobs import ROWS_AT_ONCE
from pero_worker.gateway.store.schema import jobs, pages

_INHERITED = ("job", "owner", "backend", "engine", "position", "priority", "due", "state")


def spread_document(connection: Connection, job: RowMapping, page: RowMapping, frames: int, now: float) -> None:
    """Makes each of the `frames` pages in the scan of `page` a page of the job, named `STEM_0002.EXT` and so on.

    Removes those of a document that was uploaded before. Raises `ApiError` 409 if one of the names is taken.
    """
    old = pages.c.document == page["id"]
    gone = connection.execute(delete(pages).where(pages.c.job == job["id"], old)).rowcount
    path = PurePosixPath(page["name"])
    names = [f"{path.stem}_{number:04d}{path.suffix}" for number in range(2, frames + 1)]
    for start in range(0, len(names), ROWS_AT_ONCE):
        some = names[start : start + ROWS_AT_ONCE]
        taken = select(pages.c.name).where(pages.c.job == job["id"], pages.c.name.in_(some))
        if connection.execute(taken.limit(1)).first():
            raise ApiError(409, "IMAGE_NAME_TAKEN", "A page of the document would have the name of another image.")
    rows = [
        {
            **{name: page[name] for name in _INHERITED},
            "id": str(uuid.uuid4()),
            "name": name,
            "document": page["id"],
            "frame": number,
            "frames": frames,
            "image_uploaded": True,
            "trace": page["trace"],
            "changed": now,
        }
        for number, name in enumerate(names, 1)
    ]
    for start in range(0, len(rows), ROWS_AT_ONCE):
        connection.execute(insert(pages), rows[start : start + ROWS_AT_ONCE])
    connection.execute(update(pages).where(pages.c.id == page["id"]).values(frames=frames))
    more = len(rows) - gone
    connection.execute(
        update(jobs).where(jobs.c.id == job["id"]).values(pages=jobs.c.pages + more, open=jobs.c.open + more)
    )
