"""Jobs that workers lease: who holds which, until when, and what becomes of a job whose worker falls silent."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeGuard

from sqlalchemy import Connection, RowMapping, exists, func, select, update

from pero_worker.gateway.names import storable_line
from pero_worker.gateway.states import Backend, Failure, PageState, ProcessingState
from pero_worker.gateway.store.closing import close_pages, end_job
from pero_worker.gateway.store.engines import engines_of_name
from pero_worker.gateway.store.events import append_event
from pero_worker.gateway.store.jobs import find_job
from pero_worker.gateway.store.schema import NEVER, jobs, pages

_MAX_AMOUNT = 1e12


@dataclass(frozen=True, slots=True, kw_only=True)
class LeaseTerms:
    """How long, and how often, workers may hold jobs."""

    seconds: float
    """How long a lease lasts, in seconds."""
    grace: float
    """Seconds after the end of the lease until the job is given to another worker."""
    max_attempts: int
    """How many times a job is tried."""


def lease_job(
    connection: Connection, worker: str, terms: LeaseTerms, now: float, engine: str | None = None
) -> RowMapping | None:
    """Leases a waiting job to this worker: the one of highest priority, then earliest deadline, then greatest age.

    Returns None if no job waits. Before that, jobs whose workers failed or fell silent are requeued or fail for good.
    """
    _give_back(connection, terms, now)
    unfetched = exists().where(
        pages.c.job == jobs.c.id,
        pages.c.url.is_not(None),
        pages.c.image_uploaded.is_(False),
        pages.c.state == PageState.WAITING.value,
    )
    query = select(jobs.c.id).where(
        jobs.c.backend == Backend.LEASE.value, jobs.c.state == ProcessingState.QUEUED.value, ~unfetched
    )
    if engine is not None:
        query = query.where(jobs.c.engine.in_(engines_of_name(connection, engine)))
    query = (
        query.order_by(jobs.c.priority.desc(), func.coalesce(jobs.c.deadline, NEVER), jobs.c.number)
        .limit(1)
        .with_for_update(skip_locked=True)
    )
    job = connection.execute(query).scalar()
    if job is None:
        return None
    connection.execute(
        update(jobs)
        .where(jobs.c.id == job)
        .values(
            state=ProcessingState.PROCESSING.value,
            worker=worker,
            started=now,
            changed=now,
            previous_attempts=func.coalesce(jobs.c.previous_attempts, -1) + 1,
        )
    )
    _move_pages(connection, job, PageState.WAITING, PageState.PROCESSING, now)
    found = find_job(connection, job)
    if found is not None:
        _tell(connection, found, now)
    return found


def _give_back(connection: Connection, terms: LeaseTerms, now: float) -> None:
    silent = now - terms.seconds - terms.grace
    lapsed = (jobs.c.state == ProcessingState.ERROR.value) | (
        (jobs.c.state == ProcessingState.PROCESSING.value) & (jobs.c.changed < silent)
    )
    query = select(jobs).where(jobs.c.backend == Backend.LEASE.value, lapsed).with_for_update(skip_locked=True)
    for job in connection.execute(query).mappings().all():
        attempts = (job["previous_attempts"] or 0) + 1
        if attempts >= terms.max_attempts:
            close_pages(connection, job["id"], PageState.FAILED, now)
            end_job(connection, job, ProcessingState.FAILED, now)
        else:
            requeue(connection, job, now)


def requeue(connection: Connection, job: RowMapping, now: float, *, uncounted: bool = False) -> None:
    """Puts the job back in the queue for another worker; with `uncounted`, as if this worker had never held it."""
    values: dict[str, object] = {
        "state": ProcessingState.QUEUED.value,
        "worker": None,
        "changed": now,
        "progress": 0.0,
        "finished": None,
    }
    if uncounted:
        values["previous_attempts"] = (job["previous_attempts"] or 0) - 1 if job["previous_attempts"] else None
    connection.execute(update(jobs).where(jobs.c.id == job["id"]).values(values))
    _move_pages(connection, job["id"], PageState.PROCESSING, PageState.WAITING, now)
    _tell(connection, {**job, **values}, now)


def extend_lease(connection: Connection, job: RowMapping, now: float, **values: object) -> None:
    """Extends the lease at a worker's sign of life, and stores what the worker reports."""
    connection.execute(update(jobs).where(jobs.c.id == job["id"]).values({"changed": now, **values}))


def complete_job(connection: Connection, job: RowMapping, now: float) -> None:
    """Marks a job as done: its worker has finished, and the result is here."""
    close_pages(connection, job["id"], PageState.DONE, now)
    end_job(connection, job, ProcessingState.DONE, now)


def note_report(connection: Connection, job: str, report: Mapping[str, Mapping[str, Any]]) -> None:
    """Stores what a worker's report says about the job's pages; nonsensical values are ignored."""
    for page in connection.execute(select(pages.c.id, pages.c.name).where(pages.c.job == job)).mappings().all():
        line = report.get(page["name"])
        if line is None:
            continue
        mean, worst, lines = line.get("confidence_mean"), line.get("confidence_worst"), line.get("lines")
        values = {
            "quality": round(100 * mean, 2) if _is_part(mean) else 100.0,
            "worst_line": round(100 * worst, 2) if _is_part(worst) else None,
            "lines": lines if isinstance(lines, int) and 0 <= lines < 2**31 else None,
            "engine_text": storable_line(line.get("engine")),
            "worker": storable_line(line.get("worker")),
            "worker_seconds": _amount(line.get("worker_seconds")) or 0.0,
            "energy_joules": _amount(line.get("energy_joules")),
        }
        if line.get("status") == "failed":
            failure = line.get("error_class")
            values |= {
                "failure": failure if failure in set(Failure) else Failure.PROCESSING_FAILED.value,
                "error": storable_line(line.get("error")),
                "quality": None,
            }
            _fail_page(connection, job, page["id"])
        connection.execute(update(pages).where(pages.c.id == page["id"]).values(values))


def _fail_page(connection: Connection, job: str, page: str) -> None:
    failed = (
        update(pages)
        .where(pages.c.id == page, pages.c.state == PageState.PROCESSING.value)
        .values(state=PageState.FAILED.value)
    )
    if connection.execute(failed).rowcount:
        connection.execute(update(jobs).where(jobs.c.id == job).values(open=jobs.c.open - 1, failed=jobs.c.failed + 1))


def _is_part(value: object) -> TypeGuard[float]:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value <= 1


def _amount(value: object) -> float | None:
    if not isinstance(value, int | float) or isinstance(value, bool):
        return None
    return float(value) if 0 <= value < _MAX_AMOUNT else None


def mark_error(connection: Connection, job: RowMapping, now: float) -> None:
    """Marks a job whose worker has failed; the next worker that asks for a job may get it."""
    values = {"state": ProcessingState.ERROR.value, "changed": now, "finished": now}
    connection.execute(update(jobs).where(jobs.c.id == job["id"]).values(values))
    _tell(connection, {**job, **values}, now)


def _move_pages(connection: Connection, job: str, before: PageState, after: PageState, now: float) -> None:
    connection.execute(
        update(pages).where(pages.c.job == job, pages.c.state == before.value).values(state=after.value, changed=now)
    )


def _tell(connection: Connection, job: Mapping[Any, Any], now: float) -> None:
    data = {"job": job["id"], "state": job["state"]}
    append_event(connection, "job.state", owner=str(job["owner"]), job=str(job["id"]), data=data, now=now)
