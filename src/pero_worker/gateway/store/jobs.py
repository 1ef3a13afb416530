"""Jobs and their pages: made, filled, finished, cancelled. Every change is one transaction of the caller's."""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import Any

from sqlalchemy import Connection, RowMapping, case, delete, insert, select, update

from pero_worker.gateway.endings import PageEnd
from pero_worker.gateway.errors import ApiError
from pero_worker.gateway.states import (
    FINAL_JOBS,
    OPEN_PAGES,
    Api,
    Backend,
    Failure,
    PageState,
    ProcessingState,
    finished_state,
)
from pero_worker.gateway.store.deliveries import add_delivery
from pero_worker.gateway.store.events import append_event
from pero_worker.gateway.store.schema import engines, jobs, pages, results

_OPEN = [state.value for state in OPEN_PAGES]
ROWS_AT_ONCE = 1000
_MAX_STAGE = 255
_PROGRESS_SECONDS = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class NewPage:
    """A page of a new job."""

    name: str
    """Unique in its job."""
    position: int
    """From 0."""
    url: str | None = None
    """Where its image is fetched from; None: it is uploaded."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NewJob:
    """`engine` is an engine's id; None: whoever leases the job decides."""

    api: Api
    """The dialect that it came by."""
    owner: str
    """The id of a key."""
    engine: str | None
    backend: Backend
    """Who does it."""
    pages: Sequence[NewPage]
    """In order."""
    alto_required: bool = False
    """ALTO is uploaded with each page."""
    page_required: bool = False
    """PAGE XML is uploaded with each page."""
    meta_json_required: bool = False
    """A meta.json is uploaded with the job."""
    trace: str = ""
    """Follows its pages to the logs of workers."""
    extras: Mapping[str, object] = field(default_factory=dict)
    """Columns of the job that v1 adds: name, formats, priority, webhook, labels, retention_days, deadline, document."""


def create_job(connection: Connection, new: NewJob, now: float) -> str:
    """The id of the new job."""
    job, count = str(uuid.uuid4()), len(new.pages)
    uploads = sum(page.url is None for page in new.pages) + count * (new.alto_required + new.page_required)
    missing = uploads + new.meta_json_required
    priority = int(str(new.extras.get("priority") or 0))
    ready = missing == 0 and count > 0
    state = ProcessingState.QUEUED if ready else ProcessingState.NEW
    if new.api is Api.LEGACY and not count:
        state = ProcessingState.DONE
    connection.execute(
        insert(jobs).values(
            id=job,
            api=new.api.value,
            owner=new.owner,
            engine=new.engine,
            backend=new.backend.value,
            state=state.value,
            meta_json_required=new.meta_json_required,
            alto_required=new.alto_required,
            page_required=new.page_required,
            pages=count,
            missing=missing,
            open=count,
            created=now,
            changed=now,
            finished=now if state is ProcessingState.DONE else None,
            **new.extras,
        )
    )
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
            "url": page.url,
            "state": (PageState.WAITING if _starts_at_once(new, page, ready) else PageState.CREATED).value,
            "trace": new.trace,
            "changed": now,
        }
        for page in new.pages
    ]
    for start in range(0, count, ROWS_AT_ONCE):
        connection.execute(insert(pages), rows[start : start + ROWS_AT_ONCE])
    tell_job(connection, job, new.owner, state, now)
    return job


def _starts_at_once(new: NewJob, page: NewPage, ready: bool) -> bool:
    return ready or (new.api is Api.LEGACY and page.url is not None)


def find_job(connection: Connection, job: str, *, locked: bool = False) -> RowMapping | None:
    query = select(jobs).where(jobs.c.id == job)
    return connection.execute(query.with_for_update() if locked else query).mappings().first()


def find_page(connection: Connection, job: str, name: str) -> RowMapping | None:
    return connection.execute(select(pages).where(pages.c.job == job, pages.c.name == name)).mappings().first()


def page_by_id(connection: Connection, page: str) -> RowMapping | None:
    return connection.execute(select(pages).where(pages.c.id == page)).mappings().first()


def pages_of(connection: Connection, job: str) -> Sequence[RowMapping]:
    query = select(pages).where(pages.c.job == job).order_by(pages.c.position, pages.c.number)
    return connection.execute(query).mappings().all()


def pages_of_document(connection: Connection, page: str) -> Sequence[RowMapping]:
    """The page, and those that its upload held beside it, in their order."""
    query = select(pages).where((pages.c.id == page) | (pages.c.document == page)).order_by(pages.c.frame)
    return connection.execute(query).mappings().all()


def accept_upload(
    connection: Connection, job: RowMapping, page: RowMapping, kind: str, now: float, **more: Any
) -> bool:
    """Notes that a page's `kind` ('image', 'alto', 'page') is there. Whether it is the first time.

    The caller has locked the job. The last upload that was required starts it.
    """
    column = pages.c[f"{kind}_uploaded"]
    values = {column: True, pages.c.changed: now, **{pages.c[name]: value for name, value in more.items()}}
    first = connection.execute(update(pages).where(pages.c.id == page["id"], column.is_(False)).values(values)).rowcount
    if not first:
        connection.execute(update(pages).where(pages.c.id == page["id"]).values(values))
        return False
    if job["api"] == Api.LEGACY:
        connection.execute(update(pages).where(pages.c.id == page["id"]).values(state=PageState.WAITING.value))
    count_upload(connection, job, now)
    return True


def spread_document(connection: Connection, job: RowMapping, page: RowMapping, frames: int, now: float) -> None:
    """The scan of `page` is a document of `frames` pages: each becomes a page of the job, called `STEM_0002.EXT` etc.

    Those of a document that was uploaded before go. ApiError 409: one of the names is taken.
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
            **{name: page[name] for name in ("job", "owner", "backend", "engine", "position", "priority", "state")},
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


def accept_fetched(connection: Connection, page: str, size: int, sha256: str, now: float) -> bool:
    """Notes that a page's scan was fetched; False: the page does not wait for it any more."""
    values = {"image_uploaded": True, "image_bytes": size, "image_sha256": sha256, "changed": now}
    change = update(pages).where(
        pages.c.id == page, pages.c.state == PageState.WAITING.value, pages.c.image_uploaded.is_(False)
    )
    return bool(connection.execute(change.values(values)).rowcount)


def count_upload(connection: Connection, job: RowMapping, now: float) -> None:
    """One upload less is missing."""
    change = update(jobs).where(jobs.c.id == job["id"]).values(missing=jobs.c.missing - 1).returning(jobs.c.missing)
    if connection.execute(change).scalar() == 0 and job["state"] == ProcessingState.NEW:
        _start(connection, job, now)


def _start(connection: Connection, job: RowMapping, now: float) -> None:
    connection.execute(
        update(jobs).where(jobs.c.id == job["id"]).values(state=ProcessingState.QUEUED.value, changed=now)
    )
    connection.execute(
        update(pages)
        .where(pages.c.job == job["id"], pages.c.state == PageState.CREATED.value)
        .values(state=PageState.WAITING.value, changed=now)
    )
    if job["engine"]:
        connection.execute(update(engines).where(engines.c.id == job["engine"]).values(last_used=now))
    tell_job(connection, job["id"], job["owner"], ProcessingState.QUEUED, now)


def start_without(connection: Connection, job: RowMapping, reasons: Mapping[str, str], now: float) -> int:
    """Pages of a job that waits for uploads fail if their scan has not come, each for its reason in `reasons` (by
    name), and the others start; how many fail. The caller has locked the job."""
    absent = (pages.c.job == job["id"]) & pages.c.image_uploaded.is_(False) & pages.c.url.is_(None)
    absent &= pages.c.state == PageState.CREATED.value
    rows = connection.execute(select(pages).where(absent)).mappings().all()
    missing = 0
    values = {"state": PageState.FAILED.value, "failure": Failure.INVALID_FILE.value, "changed": now, "finished": now}
    for row in rows:
        missing += 1 + sum(job[f"{kind}_required"] and not row[f"{kind}_uploaded"] for kind in ("alto", "page"))
        error = reasons.get(row["name"]) or "its scan was never uploaded"
        connection.execute(update(pages).where(pages.c.id == row["id"]).values(**values, error=error))
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


def finish_page(connection: Connection, end: PageEnd, now: float) -> RowMapping | None:
    """The page as it was; None: it was final already, or is gone, and nothing has changed."""
    page = page_by_id(connection, end.page)
    if page is None:
        return None
    state = PageState.FAILED if end.failure else PageState.DONE
    values = {
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
    changed = connection.execute(
        update(pages).where(pages.c.id == end.page, pages.c.state.in_(_OPEN)).values(values)
    ).rowcount
    if not changed:
        return None
    data = {"job": page["job"], "page": page["name"], "state": state.value, "quality": end.quality}
    append_event(connection, "page.state", owner=page["owner"], job=page["job"], data=data, now=now)
    _count_final(connection, page["job"], failed=end.failure is not None, now=now)
    return page


def _count_final(connection: Connection, job: str, *, failed: bool, now: float) -> None:
    row = (
        connection.execute(
            update(jobs)
            .where(jobs.c.id == job)
            .values(
                open=jobs.c.open - 1,
                failed=jobs.c.failed + int(failed),
                progress=(jobs.c.pages - jobs.c.open + 1) * 1.0 / jobs.c.pages,
                changed=now,
            )
            .returning(jobs)
        )
        .mappings()
        .one()
    )
    if now - (row["progress_told"] or 0.0) >= _PROGRESS_SECONDS or row["open"] == 0:
        connection.execute(update(jobs).where(jobs.c.id == job).values(progress_told=now))
        data = {"job": job, "progress": row["progress"], "pages": row["pages"], "failed": row["failed"]}
        append_event(connection, "job.progress", owner=row["owner"], job=job, data=data, now=now)
    if row["open"] == 0 and row["state"] not in FINAL_JOBS:
        end_job(connection, row, finished_state(row["pages"], row["failed"]), now)


def end_job(connection: Connection, job: RowMapping, state: ProcessingState, now: float) -> None:
    """A final state; what is left of the job's time begins."""
    progress = job["progress"] if state is ProcessingState.CANCELLED else 1.0
    connection.execute(
        update(jobs)
        .where(jobs.c.id == job["id"])
        .values(state=state.value, progress=progress, changed=now, finished=now)
    )
    tell_job(connection, job["id"], job["owner"], state, now)
    add_delivery(connection, job, state.value, now)


def close_pages(connection: Connection, job: str, state: PageState, now: float) -> None:
    """All pages that are not final become `state`."""
    changed = connection.execute(
        update(pages)
        .where(pages.c.job == job, pages.c.state.in_(_OPEN))
        .values(state=state.value, changed=now, finished=now, sent_by=None)
    ).rowcount
    failed = changed if state is PageState.FAILED else 0
    connection.execute(update(jobs).where(jobs.c.id == job).values(open=0, failed=jobs.c.failed + failed))


def cancel_job(connection: Connection, job: RowMapping, now: float) -> Sequence[str]:
    """Pages that are not final are given up; their ids. The caller has locked the job."""
    query = select(pages.c.id).where(pages.c.job == job["id"], pages.c.state.in_(_OPEN))
    ids = list(connection.execute(query).scalars())
    close_pages(connection, job["id"], PageState.CANCELLED, now)
    if job["state"] not in FINAL_JOBS:
        end_job(connection, job, ProcessingState.CANCELLED, now)
    return ids


def mark_processing(connection: Connection, jobs_begun: Sequence[str], now: float) -> None:
    """The first page of each of these jobs has gone to a worker."""
    begun = (
        update(jobs)
        .where(jobs.c.id.in_(jobs_begun), jobs.c.state == ProcessingState.QUEUED.value)
        .values(
            state=ProcessingState.PROCESSING.value,
            started=case((jobs.c.started.is_(None), now), else_=jobs.c.started),
            previous_attempts=case((jobs.c.previous_attempts.is_(None), 0), else_=jobs.c.previous_attempts),
            changed=now,
        )
        .returning(jobs.c.id, jobs.c.owner)
    )
    for job, owner in connection.execute(begun).all():
        tell_job(connection, job, owner, ProcessingState.PROCESSING, now)


def tell_job(connection: Connection, job: str, owner: str, state: ProcessingState, now: float) -> None:
    """Those who follow the job."""
    append_event(connection, "job.state", owner=owner, job=job, data={"job": job, "state": state.value}, now=now)


def retry_pages(connection: Connection, job: RowMapping, names: Sequence[str] | None, now: float) -> int:
    """Failed pages (None: all) wait again, and the job with them; how many. The caller has locked the job."""
    condition = (pages.c.job == job["id"]) & (pages.c.state == PageState.FAILED.value)
    condition &= pages.c.image_uploaded.is_(True) | pages.c.url.is_not(None)  # What was never uploaded cannot be read.
    if names is not None:
        condition &= pages.c.name.in_(names)
    values = {
        "state": PageState.WAITING.value,
        "failure": None,
        "error": None,
        "stage": None,
        "sends": 0,
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


def expire_job(connection: Connection, job: RowMapping, now: float) -> None:
    """Scans and results are no more; what became of the pages is still known."""
    connection.execute(
        update(pages)
        .where(pages.c.job == job["id"], pages.c.state == PageState.DONE.value)
        .values(state=PageState.EXPIRED.value, changed=now)
    )
    connection.execute(delete(results).where(results.c.job == job["id"]))
    connection.execute(update(jobs).where(jobs.c.id == job["id"]).values(files_gone=True))


def jobs_to_expire(connection: Connection, ended_before: float, now: float, limit: int) -> Sequence[RowMapping]:
    """Jobs whose time is over: their own, or else those that ended before `ended_before`."""
    over = case(
        (jobs.c.retention_days.is_(None), jobs.c.finished < ended_before),
        else_=jobs.c.finished + 86_400.0 * jobs.c.retention_days < now,
    )
    query = select(jobs).where(jobs.c.files_gone.is_(False), jobs.c.finished.is_not(None), over)
    return connection.execute(query.order_by(jobs.c.finished).limit(limit)).mappings().all()


def late_jobs(connection: Connection, now: float, limit: int) -> Sequence[RowMapping]:
    """Jobs whose deadline has passed and that have not ended, locked."""
    going_on = [state.value for state in ProcessingState if state not in FINAL_JOBS]
    query = select(jobs).where(jobs.c.state.in_(going_on), jobs.c.deadline <= now)
    return connection.execute(query.order_by(jobs.c.deadline).limit(limit).with_for_update()).mappings().all()


def give_up_late_job(connection: Connection, job: RowMapping, now: float) -> None:
    """Pages that are not done by the deadline have failed: they may be tried again. The caller has locked the job."""
    values = {"failure": Failure.PROCESSING_FAILED.value, "error": "it was not done by the job's deadline"}
    connection.execute(update(pages).where(pages.c.job == job["id"], pages.c.state.in_(_OPEN)).values(values))
    close_pages(connection, job["id"], PageState.FAILED, now)
    left = find_job(connection, job["id"])
    if left is not None:
        end_job(
            connection,
            left,
            finished_state(left["pages"], left["failed"]) if left["pages"] else ProcessingState.FAILED,
            now,
        )


def abandoned_jobs(connection: Connection, changed_before: float, limit: int) -> Sequence[RowMapping]:
    """Jobs that still wait for uploads and have not heard of anybody since then."""
    query = select(jobs).where(jobs.c.state == ProcessingState.NEW.value, jobs.c.changed < changed_before)
    return connection.execute(query.order_by(jobs.c.number).limit(limit).with_for_update()).mappings().all()
