"""Jobs whose pages are listed in a document that has not been read yet."""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, RowMapping, insert, select, update

from pero_worker.gateway.states import Failure, PageState, ProcessingState
from pero_worker.gateway.store.closing import end_job
from pero_worker.gateway.store.jobs import ROWS_AT_ONCE, find_job, tell_job
from pero_worker.gateway.store.schema import NEVER, jobs, pages


@dataclass(frozen=True, slots=True, kw_only=True)
class ListedPage:
    """A page listed in a document."""

    name: str
    """The page's name in its job."""
    url: str = ""
    """The address of its image, if it has a single one."""
    picture: Mapping[str, Any] | None = None
    """How the image is fetched."""
    problem: str = ""
    """Why the image cannot be fetched; "" if it can."""


def unread_documents(connection: Connection, limit: int) -> Sequence[RowMapping]:
    query = select(jobs).where(jobs.c.document_unread.is_(True)).order_by(jobs.c.number).limit(limit)
    return connection.execute(query).mappings().all()


def fill_job(connection: Connection, job_id: str, label: str, listed: Sequence[ListedPage], now: float) -> None:
    """Gives the job the pages of its document and starts it.

    Changes nothing if another gateway was quicker or the job was cancelled.
    """
    job = _still_unread(connection, job_id)
    if job is None:
        return
    broken = sum(bool(page.problem) for page in listed)
    rows = [_row(job, place, page, now) for place, page in enumerate(listed)]
    for start in range(0, len(rows), ROWS_AT_ONCE):
        connection.execute(insert(pages), rows[start : start + ROWS_AT_ONCE])
    values = {
        "pages": len(rows),
        "open": len(rows) - broken,
        "failed": broken,
        "state": ProcessingState.QUEUED.value,
        "name": job["name"] or label[:255] or None,
        "changed": now,
    }
    connection.execute(update(jobs).where(jobs.c.id == job_id).values(values))
    tell_job(connection, job_id, job["owner"], ProcessingState.QUEUED, now)
    if broken == len(rows):
        end_job(connection, job, ProcessingState.FAILED, now)


def give_up_document(connection: Connection, job_id: str, reason: str, now: float) -> None:
    """Fails a job that has no pages yet; its owner gets to see `reason`."""
    job = _still_unread(connection, job_id)
    if job is not None:
        connection.execute(update(jobs).where(jobs.c.id == job_id).values(log_user=reason))
        end_job(connection, job, ProcessingState.FAILED, now)


def _still_unread(connection: Connection, job_id: str) -> RowMapping | None:
    job = find_job(connection, job_id, locked=True)
    if job is None or not job["document_unread"]:
        return None
    connection.execute(update(jobs).where(jobs.c.id == job_id).values(document_unread=False))
    return job if job["state"] == ProcessingState.NEW else None


def _row(job: RowMapping, place: int, page: ListedPage, now: float) -> dict[str, Any]:
    return {
        "id": str(uuid.uuid4()),
        "job": job["id"],
        "owner": job["owner"],
        "backend": job["backend"],
        "engine": job["engine"],
        "name": page.name,
        "position": place,
        "priority": job["priority"],
        "due": job["deadline"] or NEVER,
        "url": page.url or None,
        "picture": page.picture,
        "state": (PageState.FAILED if page.problem else PageState.WAITING).value,
        "failure": Failure.NOT_FOUND.value if page.problem else None,
        "error": page.problem or None,
        "finished": now if page.problem else None,
        "changed": now,
    }
