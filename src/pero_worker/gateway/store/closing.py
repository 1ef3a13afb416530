"""Ends jobs, whether they finish or are cancelled, and reopens them. Everything runs in the caller's transaction."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, RowMapping, case, select, update

from pero_worker.gateway.states import FINAL_JOBS, Backend, Failure, PageState, ProcessingState, finished_state
from pero_worker.gateway.store.deliveries import add_delivery
from pero_worker.gateway.store.jobs import CHANGE_JOB, OPEN, find_job, tell_job
from pero_worker.gateway.store.schema import NEVER, jobs, pages


def end_job(connection: Connection, job: RowMapping, state: ProcessingState, now: float) -> None:
    """Puts the job in a final state, from which its retention time counts."""
    progress = job["progress"] if state is ProcessingState.CANCELLED else 1.0
    values = {"state": state.value, "progress": progress, "changed": now, "finished": now}
    connection.execute(CHANGE_JOB, {"which": job["id"], **values})
    tell_job(connection, job["id"], job["owner"], state, now)
    add_delivery(connection, job, state.value, now)


def close_pages(connection: Connection, job: str, state: PageState, now: float) -> None:
    """Moves all pages that are not final to `state`."""
    changed = connection.execute(
        update(pages)
        .where(pages.c.job == job, pages.c.state.in_(OPEN))
        .values(state=state.value, changed=now, finished=now, sent_by=None)
    ).rowcount
    failed = changed if state is PageState.FAILED else 0
    connection.execute(update(jobs).where(jobs.c.id == job).values(open=0, failed=jobs.c.failed + failed))


def cancel_job(connection: Connection, job: RowMapping, now: float) -> Sequence[str]:
    """Cancels the job's pages that are not final and returns their ids. The caller has locked the job."""
    query = select(pages.c.id).where(pages.c.job == job["id"], pages.c.state.in_(OPEN))
    ids = list(connection.execute(query).scalars())
    close_pages(connection, job["id"], PageState.CANCELLED, now)
    if job["state"] not in FINAL_JOBS:
        end_job(connection, job, ProcessingState.CANCELLED, now)
    return ids


def late_jobs(connection: Connection, now: float, limit: int) -> Sequence[RowMapping]:
    """Returns, locked, jobs that have not ended although their deadline has passed."""
    going_on = [state.value for state in ProcessingState if state not in FINAL_JOBS]
    query = select(jobs).where(jobs.c.state.in_(going_on), jobs.c.deadline <= now)
    return connection.execute(query.order_by(jobs.c.deadline).limit(limit).with_for_update()).mappings().all()


def give_up_late_job(connection: Connection, job: RowMapping, now: float) -> None:
    """Fails the pages that were not done by the deadline; they can be retried. The caller has locked the job."""
    values = {"failure": Failure.PROCESSING_FAILED.value, "error": "it was not done by the job's deadline"}
    connection.execute(update(pages).where(pages.c.job == job["id"], pages.c.state.in_(OPEN)).values(values))
    close_pages(connection, job["id"], PageState.FAILED, now)
    left = find_job(connection, job["id"])
    if left is not None:
        end_job(
            connection,
            left,
            finished_state(left["pages"], left["failed"]) if left["pages"] else ProcessingState.FAILED,
            now,
        )


def retry_pages(connection: Connection, job: RowMapping, names: Sequence[str] | None, now: float) -> int:
    """Puts the failed pages of these names (None: all) and their job back in the queue, and returns how many pages.

    The caller has locked the job.
    """
    condition = (pages.c.job == job["id"]) & (pages.c.state == PageState.FAILED.value)
    condition &= pages.c.image_uploaded.is_(True) | pages.c.url.is_not(None)  # No scan, nothing to read.
    if names is not None:
        condition &= pages.c.name.in_(names)
    values = {
        "state": PageState.WAITING.value,
        "failure": None,
        "error": None,
        "stage": None,
        "sends": 0,
        "due": case((pages.c.due <= now, NEVER), else_=pages.c.due),
        "changed": now,
        "finished": None,
    }
    count = connection.execute(update(pages).where(condition).values(values)).rowcount
    if count:
        leased = job["backend"] == Backend.LEASE
        again: dict[str, Any] = {
            "open": jobs.c.open + count,
            "failed": jobs.c.failed - count,
            "progress": (jobs.c.pages - jobs.c.open - count) * 1.0 / jobs.c.pages,
            "state": ProcessingState.QUEUED.value,
            "changed": now,
            "finished": None,
            "deadline": case((jobs.c.deadline <= now, None), else_=jobs.c.deadline),
            **({"previous_attempts": None, "worker": None} if leased else {}),
        }
        connection.execute(update(jobs).where(jobs.c.id == job["id"]).values(again))
        tell_job(connection, job["id"], job["owner"], ProcessingState.QUEUED, now)
    return int(count)
