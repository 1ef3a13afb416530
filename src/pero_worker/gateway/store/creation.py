"""Creates jobs and their pages. Everything runs in the caller's transaction."""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from sqlalchemy import Connection, insert

from pero_worker.gateway.states import Api, Backend, PageState, ProcessingState
from pero_worker.gateway.store.jobs import ROWS_AT_ONCE, tell_job
from pero_worker.gateway.store.schema import NEVER, jobs, pages

_NEW_JOB = insert(jobs)
_NEW_PAGES = insert(pages)


@dataclass(frozen=True, slots=True, kw_only=True)
class NewPage:
    """A page of a new job."""

    name: str
    """The page's name, unique within its job."""
    position: int
    """The page's place in its job, counted from 0."""
    url: str | None = None
    """Where the image is fetched from; None if it is uploaded."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NewJob:
    """A job that is about to be created."""

    api: Api
    """The API that the job was created through."""
    owner: str
    """The id of the key that the job belongs to."""
    engine: str | None
    """The id of an engine; None if whoever leases the job decides."""
    backend: Backend
    """Who processes the job."""
    pages: Sequence[NewPage]
    """The job's pages, in order."""
    alto_required: bool = False
    """Whether an ALTO file must be uploaded with each page."""
    page_required: bool = False
    """Whether a PAGE XML file must be uploaded with each page."""
    meta_json_required: bool = False
    """Whether a meta.json must be uploaded with the job."""
    trace: str = ""
    """The trace id that accompanies the pages into the logs of workers."""
    extras: Mapping[str, object] = field(default_factory=dict)
    """The columns that only v1 fills: name, formats, priority, webhook, labels, retention_days, deadline, document."""


def create_job(connection: Connection, new: NewJob, now: float) -> str:
    """Creates the job and returns its id."""
    job, count = str(uuid.uuid4()), len(new.pages)
    uploads = sum(page.url is None for page in new.pages) + count * (new.alto_required + new.page_required)
    missing = uploads + new.meta_json_required
    priority = int(str(new.extras.get("priority") or 0))
    ready = missing == 0 and count > 0
    state = ProcessingState.QUEUED if ready else ProcessingState.NEW
    if new.api is Api.LEGACY and not count:
        state = ProcessingState.DONE
    row = {
        "id": job,
        "api": new.api.value,
        "owner": new.owner,
        "engine": new.engine,
        "backend": new.backend.value,
        "state": state.value,
        "meta_json_required": new.meta_json_required,
        "alto_required": new.alto_required,
        "page_required": new.page_required,
        "pages": count,
        "missing": missing,
        "open": count,
        "created": now,
        "changed": now,
        "finished": now if state is ProcessingState.DONE else None,
        **new.extras,
    }
    connection.execute(_NEW_JOB, row)
    rows = [
        {
            "id": str(uuid.uuid4()),
            "job": job,
            "owner": new.owner,
            "backend": new.backend.value,
            "engine": new.engine,
            "name": page.name,
            "position": page.position,
            "priority": priority,
            "due": new.extras.get("deadline") or NEVER,
            "url": page.url,
            "state": (PageState.WAITING if _starts_at_once(new, page, ready) else PageState.CREATED).value,
            "trace": new.trace,
            "changed": now,
        }
        for page in new.pages
    ]
    for start in range(0, count, ROWS_AT_ONCE):
        connection.execute(_NEW_PAGES, rows[start : start + ROWS_AT_ONCE])
    tell_job(connection, job, new.owner, state, now)
    return job


def _starts_at_once(new: NewJob, page: NewPage, ready: bool) -> bool:
    return ready or (new.api is Api.LEGACY and page.url is not None)
