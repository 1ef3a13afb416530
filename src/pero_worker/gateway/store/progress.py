"""Pages that start and end, and what that means for their jobs. Everything runs in the caller's transaction."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import Connection, RowMapping, bindparam, func, update

from pero_worker.gateway.endings import PageEnd
from pero_worker.gateway.states import FINAL_JOBS, PageState, ProcessingState, finished_state
from pero_worker.gateway.store.closing import end_job
from pero_worker.gateway.store.events import append_event
from pero_worker.gateway.store.jobs import CHANGE_JOB, CHANGE_PAGE, OPEN, page_by_id, tell_job
from pero_worker.gateway.store.schema import jobs, pages

_ENDED = CHANGE_PAGE.where(pages.c.state.in_(OPEN))
_COUNT_FINAL = (
    update(jobs)
    .where(jobs.c.id == bindparam("which"))
    .values(
        open=jobs.c.open - 1,
        failed=jobs.c.failed + bindparam("more_failed"),
        progress=(jobs.c.pages - jobs.c.open + 1) * 1.0 / jobs.c.pages,
        changed=bindparam("now"),
    )
    .returning(jobs)
)
_BEGIN = (
    update(jobs)
    .where(jobs.c.id.in_(bindparam("begun", expanding=True)), jobs.c.state == ProcessingState.QUEUED.value)
    .values(
        state=ProcessingState.PROCESSING.value,
        started=func.coalesce(jobs.c.started, bindparam("now")),
        previous_attempts=func.coalesce(jobs.c.previous_attempts, 0),
        changed=bindparam("now"),
    )
    .returning(jobs.c.id, jobs.c.owner)
)
_MAX_STAGE = 255
_PROGRESS_SECONDS = 1.0


def mark_processing(connection: Connection, jobs_begun: Sequence[str], now: float) -> None:
    """Marks jobs as processing: the first page of each has gone to a worker."""
    for job, owner in connection.execute(_BEGIN, {"begun": list(jobs_begun), "now": now}).all():
        tell_job(connection, job, owner, ProcessingState.PROCESSING, now)


def finish_page(connection: Connection, end: PageEnd, now: float) -> RowMapping | None:
    """Ends a page and returns it as it was before; None, with nothing changed, if it was already final or is gone."""
    page = page_by_id(connection, end.page)
    if page is None:
        return None
    state = PageState.FAILED if end.failure else PageState.DONE
    values = {
        "which": end.page,
        "state": state.value,
        "failure": end.failure.value if end.failure else None,
        "error": end.error or None,
        "attempts": end.attempts,
        "quality": end.quality,
        "worst_line": end.worst_line,
        "lines": end.lines,
        "engine_text": end.engine_text or None,
        "worker": end.worker or None,
        "stage": end.stage[:_MAX_STAGE] or None,
        "seconds": dict(end.seconds),
        "worker_seconds": end.worker_seconds,
        "energy_joules": end.energy_joules,
        "sent_by": None,
        "changed": now,
        "finished": now,
    }
    if not connection.execute(_ENDED, values).rowcount:
        return None
    data = {"job": page["job"], "page": page["name"], "state": state.value, "quality": end.quality}
    append_event(connection, "page.state", owner=page["owner"], job=page["job"], data=data, now=now)
    _count_final(connection, page["job"], failed=end.failure is not None, now=now)
    return page


def _count_final(connection: Connection, job: str, *, failed: bool, now: float) -> None:
    row = connection.execute(_COUNT_FINAL, {"which": job, "more_failed": int(failed), "now": now}).mappings().one()
    if now - (row["progress_told"] or 0.0) >= _PROGRESS_SECONDS or row["open"] == 0:
        connection.execute(CHANGE_JOB, {"which": job, "progress_told": now})
        data = {"job": job, "progress": row["progress"], "pages": row["pages"], "failed": row["failed"]}
        append_event(connection, "job.progress", owner=row["owner"], job=job, data=data, now=now)
    if row["open"] == 0 and row["state"] not in FINAL_JOBS:
        end_job(connection, row, finished_state(row["pages"], row["failed"]), now)
