"""Jobs past their retention time: their files are removed, but what became of their pages stays on record."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import Connection, RowMapping, case, delete, select, update

from pero_worker.gateway.states import PageState, ProcessingState
from pero_worker.gateway.store.schema import jobs, pages, results


def expire_job(connection: Connection, job: RowMapping, now: float) -> None:
    """Records that a job's scans and results are gone; what became of its pages stays on record."""
    connection.execute(
        update(pages)
        .where(pages.c.job == job["id"], pages.c.state == PageState.DONE.value)
        .values(state=PageState.EXPIRED.value, changed=now)
    )
    connection.execute(delete(results).where(results.c.job == job["id"]))
    connection.execute(update(jobs).where(jobs.c.id == job["id"]).values(files_gone=True))


def jobs_to_expire(connection: Connection, ended_before: float, now: float, limit: int) -> Sequence[RowMapping]:
    """Returns jobs past their own retention time; those that have none expire if they ended before `ended_before`."""
    over = case(
        (jobs.c.retention_days.is_(None), jobs.c.finished < ended_before),
        else_=jobs.c.finished + 86_400.0 * jobs.c.retention_days < now,
    )
    query = select(jobs).where(jobs.c.files_gone.is_(False), jobs.c.finished.is_not(None), over)
    return connection.execute(query.order_by(jobs.c.finished).limit(limit)).mappings().all()


def abandoned_jobs(connection: Connection, changed_before: float, limit: int) -> Sequence[RowMapping]:
    """Returns, locked, jobs that still wait for uploads and have not changed since `changed_before`."""
    query = select(jobs).where(jobs.c.state == ProcessingState.NEW.value, jobs.c.changed < changed_before)
    return connection.execute(query.order_by(jobs.c.number).limit(limit).with_for_update()).mappings().all()
