"""Job pages: the list, one job with its pages, and what can be done with them."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Query
from sqlalchemy import Connection, RowMapping
from starlette.responses import Response

from pero_worker.gateway.errors import ApiError
from pero_worker.gateway.states import FINAL_JOBS, OPEN_PAGES, PageState
from pero_worker.gateway.store.closing import cancel_job, retry_pages
from pero_worker.gateway.store.engines import engine_by_id
from pero_worker.gateway.store.events import last_event
from pero_worker.gateway.store.listing import can_retry, first_names, list_failures, list_jobs, list_pages, page_counts
from pero_worker.gateway.store.retention import expire_job
from pero_worker.gateway.v1.access import allowed_job
from pero_worker.gateway.web.render import go_to, show
from pero_worker.gateway.web.visit import Reader, Visit, Writer

router = APIRouter(prefix="/web/jobs", include_in_schema=False)
_JOBS_AT_ONCE = 20
_PAGES_AT_ONCE = 100
_FAILURES_SHOWN = 3
_CURSOR = re.compile(r"(-?[0-9]{1,10})\.([0-9]{1,18})")
_FILTERS: Mapping[str, Sequence[str]] = {
    "all": (),
    "failed": (PageState.FAILED,),
    "open": tuple(sorted(OPEN_PAGES)),
    "done": (PageState.DONE, PageState.EXPIRED),
}
Before = Annotated[int | None, Query(ge=0, le=2**62)]


@router.get("")
def get_jobs(visit: Reader, before: Before = None) -> Response:
    """Shows the list, or a part of it for htmx."""
    key = visit.key
    assert key is not None  # noqa: S101  (a reader has signed in)
    owner = None if visit.is_operator else key.id
    with visit.gateway.database.read() as connection:
        rows = list_jobs(connection, owner, before, _JOBS_AT_ONCE + 1)
        shown, since = rows[:_JOBS_AT_ONCE], last_event(connection)
        nameless = [row["id"] for row in shown if not row["name"]]
        names = first_names(connection, nameless)
        again = {row["id"] for row in shown if row["failed"] and can_retry(connection, row["id"])}
        failures = {row["id"]: list_failures(connection, row["id"], _FAILURES_SHOWN) for row in shown if row["failed"]}
    items = [
        {
            "job": row,
            "title": title_of(row, names.get(row["id"], "")),
            "failures": failures.get(row["id"], ()),
            "again": row["id"] in again,
        }
        for row in shown
    ]
    following = shown[-1]["number"] if len(rows) > len(shown) else None
    template = "parts/jobs.html" if visit.wants_part else "jobs.html"
    trouble = visit.gateway.trouble()
    return show(visit, template, items=items, before=before, following=following, trouble=trouble, since=since)


def title_of(job: RowMapping, first: str) -> str:
    return str(job["name"] or first or job["id"])


@router.get("/{job_id}")
def get_job(visit: Reader, job_id: UUID, after: str = "", only: str = "all") -> Response:
    """Shows a job and its pages."""
    cursor = _CURSOR.fullmatch(after)
    place = (int(cursor[1]), int(cursor[2])) if cursor else None
    with visit.gateway.database.read() as connection:
        job = job_of(connection, job_id, visit)
        rows = list_pages(connection, job["id"], _FILTERS.get(only, ()), place, _PAGES_AT_ONCE + 1)
        counts, since = page_counts(connection, job["id"]), last_event(connection)
        again = bool(job["failed"]) and can_retry(connection, job["id"])
        names = {} if job["name"] else first_names(connection, [job["id"]])
        engine = engine_by_id(connection, job["engine"]) if job["engine"] else None
    shown = rows[:_PAGES_AT_ONCE]
    last = shown[-1] if len(rows) > len(shown) else None
    values: dict[str, Any] = {
        "job": job,
        "title": title_of(job, names.get(job["id"], "")),
        "pages": shown,
        "counts": {name: sum(counts.get(state, 0) for state in _states(name)) for name in _FILTERS},
        "engine": engine,
        "since": since,
        "again": again,
        "only": only if only in _FILTERS else "all",
        "after": after if cursor else "",
        "following": f"{last['position']}.{last['number']}" if last else "",
    }
    return show(visit, "parts/job.html" if visit.wants_part else "job.html", **values)


def _states(name: str) -> Sequence[str]:
    return _FILTERS[name] or tuple(PageState)


def job_of(connection: Connection, job_id: UUID, visit: Visit, *, locked: bool = False) -> RowMapping:
    """Returns the job if this visitor may see it; others do not learn whether it exists."""
    assert visit.key is not None  # noqa: S101  (who asks has signed in)
    try:
        return allowed_job(connection, job_id, visit.key, locked=locked)
    except ApiError as error:
        raise ApiError(404, "JOB_NOT_FOUND", visit.words("error.no_job")) from error


def _act(visit: Visit, job_id: UUID, act: Callable[[Connection, RowMapping], object]) -> Response:
    with visit.gateway.database.write() as connection:
        act(connection, job_of(connection, job_id, visit, locked=True))
    if visit.wants_part:
        return Response(status_code=204, headers={"HX-Trigger": "jobs-changed"})
    return go_to(visit, f"/web/jobs/{job_id}")


@router.post("/{job_id}/cancel")
def cancel(visit: Writer, job_id: UUID) -> Response:
    def act(connection: Connection, job: RowMapping) -> None:
        if job["state"] not in FINAL_JOBS:
            cancel_job(connection, job, visit.gateway.now())

    return _act(visit, job_id, act)


@router.post("/{job_id}/retry")
def retry(visit: Writer, job_id: UUID) -> Response:
    def act(connection: Connection, job: RowMapping) -> None:
        if not job["files_gone"]:
            retry_pages(connection, job, None, visit.gateway.now())

    return _act(visit, job_id, act)


@router.post("/{job_id}/delete")
def delete(visit: Writer, job_id: UUID) -> Response:
    """Removes the job's scans and results, and cancels what still waits."""
    with visit.gateway.database.write() as connection:
        job = job_of(connection, job_id, visit, locked=True)
        cancel_job(connection, job, visit.gateway.now())
        expire_job(connection, job, visit.gateway.now())
    visit.gateway.files.forget_job(job["id"])
    return go_to(visit, "/web/jobs")
