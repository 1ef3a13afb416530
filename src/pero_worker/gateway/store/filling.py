"""Uploads that jobs wait for: the last required one starts the job. Everything runs in the caller's transaction."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sqlalchemy import Connection, RowMapping, bindparam, select, update

from pero_worker.gateway.states import Api, Failure, PageState, ProcessingState
from pero_worker.gateway.store.closing import end_job
from pero_worker.gateway.store.jobs import CHANGE_JOB, CHANGE_PAGE, tell_job
from pero_worker.gateway.store.schema import engines, jobs, pages

_FIRST = {
    kind: CHANGE_PAGE.where(pages.c[f"{kind}_uploaded"].is_(False)).values({pages.c[f"{kind}_uploaded"]: True})
    for kind in ("image", "alto", "page")
}
_ONE_LESS = (
    update(jobs).where(jobs.c.id == bindparam("which")).values(missing=jobs.c.missing - 1).returning(jobs.c.missing)
)
_START_PAGES = (
    update(pages)
    .where(pages.c.job == bindparam("of_job"), pages.c.state == PageState.CREATED.value)
    .values(state=PageState.WAITING.value, changed=bindparam("now"))
)
_ENGINE_USED = update(engines).where(engines.c.id == bindparam("which")).values(last_used=bindparam("now"))


def accept_upload(
    connection: Connection, job: RowMapping, page: RowMapping, kind: str, now: float, **more: Any
) -> bool:
    """Records that a page's `kind` ('image', 'alto', 'page') was uploaded; returns whether for the first time.

    The last required upload starts the job, which the caller has locked.
    """
    values = {"which": page["id"], "changed": now, **more}
    started = {"state": PageState.WAITING.value} if job["api"] == Api.LEGACY else {}
    if not connection.execute(_FIRST[kind], {**values, **started}).rowcount:
        connection.execute(CHANGE_PAGE, values)
        return False
    count_upload(connection, job, now)
    return True


def accept_fetched(connection: Connection, page: str, size: int, sha256: str, now: float) -> bool:
    """Records that a page's scan was fetched; returns False if the page no longer waits for it."""
    values = {"image_uploaded": True, "image_bytes": size, "image_sha256": sha256, "changed": now}
    change = update(pages).where(
        pages.c.id == page, pages.c.state == PageState.WAITING.value, pages.c.image_uploaded.is_(False)
    )
    return bool(connection.execute(change.values(values)).rowcount)


def count_upload(connection: Connection, job: RowMapping, now: float) -> None:
    """Counts one required upload as received; the last one starts the job."""
    if connection.execute(_ONE_LESS, {"which": job["id"]}).scalar() == 0 and job["state"] == ProcessingState.NEW:
        _start(connection, job, now)


def _start(connection: Connection, job: RowMapping, now: float) -> None:
    connection.execute(CHANGE_JOB, {"which": job["id"], "state": ProcessingState.QUEUED.value, "changed": now})
    connection.execute(_START_PAGES, {"of_job": job["id"], "now": now})
    if job["engine"]:
        connection.execute(_ENGINE_USED, {"which": job["engine"], "now": now})
    tell_job(connection, job["id"], job["owner"], ProcessingState.QUEUED, now)


def start_without(connection: Connection, job: RowMapping, reasons: Mapping[str, str], now: float) -> int:
    """Fails the pages whose scan has not arrived, and lets the job start without them once nothing else is missing.

    Each page fails with its reason in `reasons` (by page name), if it has one. Returns how many fail. The caller has
    locked the job.
    """
    absent = (pages.c.job == job["id"]) & pages.c.image_uploaded.is_(False) & pages.c.url.is_(None)
    absent &= pages.c.state == PageState.CREATED.value
    rows = connection.execute(select(pages).where(absent)).mappings().all()
    missing = 0
    values = {"state": PageState.FAILED.value, "failure": Failure.INVALID_FILE.value, "changed": now, "finished": now}
    for row in rows:
        missing += 1 + sum(job[f"{kind}_required"] and not row[f"{kind}_uploaded"] for kind in ("alto", "page"))
        error = reasons.get(row["name"]) or "its scan was never uploaded"
        connection.execute(CHANGE_PAGE, {"which": row["id"], **values, "error": error})
    changes = {
        "missing": jobs.c.missing - missing,
        "open": jobs.c.open - len(rows),
        "failed": jobs.c.failed + len(rows),
    }
    change = update(jobs).where(jobs.c.id == job["id"]).values(changes).returning(jobs)
    left = connection.execute(change).mappings().one()
    if left["open"] == 0:
        end_job(connection, left, ProcessingState.FAILED, now)
    elif left["missing"] == 0:
        _start(connection, left, now)
    return len(rows)
