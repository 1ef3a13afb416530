"""v1: jobs as their owners see them."""

from __future__ import annotations

import hashlib
from collections import Counter
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Depends, Query, Request
from sqlalchemy import Connection, RowMapping, and_, select
from starlette.responses import Response

from pero_worker.gateway.auth import gateway_of, require
from pero_worker.gateway.errors import ApiError, invalid
from pero_worker.gateway.keys import Key, Role
from pero_worker.gateway.limits import check_quota
from pero_worker.gateway.middleware import trace
from pero_worker.gateway.states import FINAL_JOBS, Api, Backend, ProcessingState
from pero_worker.gateway.store.closing import cancel_job
from pero_worker.gateway.store.creation import NewJob, NewPage, create_job
from pero_worker.gateway.store.engines import choose_engine, engine_by_id
from pero_worker.gateway.store.idempotency import once
from pero_worker.gateway.store.jobs import find_job, pages_of
from pero_worker.gateway.store.schema import engines, jobs
from pero_worker.gateway.v1.access import allowed_job
from pero_worker.gateway.v1.leases import change_as_worker
from pero_worker.gateway.v1.models import JobDefinition, JobProgress, Label, Time
from pero_worker.gateway.v1.replies import job_data, ok, seconds_of

router = APIRouter(prefix="/v1", tags=["jobs"])
User = Annotated[Key, Depends(require(Role.USER))]
Reader = Annotated[Key, Depends(require(Role.READONLY, Role.USER))]
Anyone = Annotated[Key, Depends(require(Role.READONLY, Role.USER, Role.WORKER))]
UserOrWorker = Annotated[Key, Depends(require(Role.USER, Role.WORKER))]


@router.post("/jobs", status_code=201)
def post_job(request: Request, key: User, definition: JobDefinition) -> Response:
    """Create a job. It starts by itself once the last upload that it requires has arrived."""
    gateway = gateway_of(request)
    _check_images(definition, gateway.settings.max_pages)
    if definition.engine_version is not None and key.role is not Role.ADMIN:
        message = "Only administrators choose an engine's version."
        raise ApiError(403, "API_KEY_FORBIDDEN_FOR_ENGINE_VERSION", message)
    if definition.priority > 0 and key.role is not Role.ADMIN:
        raise ApiError(403, "API_KEY_FORBIDDEN_FOR_PRIORITY", "Only administrators give a job a priority above 0.")
    now, name = gateway.now(), request.headers.get("idempotency-key")
    digest = hashlib.sha256(f"job {definition.model_dump_json()}".encode()).hexdigest()
    with gateway.database.write() as connection:
        return once(connection, key.id, name, digest, now, lambda: _create(connection, key, definition, now))


def _create(connection: Connection, key: Key, definition: JobDefinition, now: float) -> Response:
    if definition.deadline is not None and seconds_of(definition.deadline) <= now:
        raise invalid(("body", "deadline"), "The deadline has passed.")
    images = definition.images or []
    check_quota(connection, key, len(images), now)
    engine = choose_engine(connection, definition.engine_name, definition.engine_version)
    if engine == "ENGINE_NOT_FOUND":
        raise ApiError(404, "ENGINE_NOT_FOUND", "There is no such engine.")
    if isinstance(engine, str):
        raise ApiError(409, "ENGINE_INACTIVE", "No version of this engine is active.")
    if definition.document is not None and (engine is None or engine["backend"] == Backend.LEASE):
        raise ApiError(409, "ENGINE_TAKES_NO_DOCUMENTS", "Only the gateway's own engines read pages of documents.")
    new = NewJob(
        api=Api.V1,
        owner=key.id,
        engine=engine["id"] if engine else None,
        backend=Backend(engine["backend"]) if engine else Backend.LEASE,
        pages=[NewPage(name=image.name, position=image.order, url=image.url) for image in images],
        alto_required=definition.alto_required,
        page_required=definition.page_required,
        meta_json_required=definition.meta_json_required,
        trace=trace.get(),
        extras={
            "name": definition.name,
            "formats": definition.formats,
            "priority": definition.priority,
            "labels": definition.labels,
            "webhook": definition.webhook.model_dump() if definition.webhook else None,
            "retention_days": definition.expires_after_days,
            "document": definition.document.model_dump(exclude_none=True) if definition.document else None,
            "document_unread": definition.document is not None,
            "deadline": seconds_of(definition.deadline) if definition.deadline else None,
        },
    )
    job = find_job(connection, create_job(connection, new, now))
    assert job is not None  # noqa: S101  (it was made a line above)
    data = job_data(job, pages_of(connection, job["id"]), engine, key)
    return ok("JOB_CREATED", "The job was created.", data, status=201, key=key)


def _check_images(definition: JobDefinition, max_pages: int) -> None:
    if definition.images is None and definition.document is None:
        raise invalid(("body", "images"), "Field required", "missing")
    images = definition.images or []
    if len(images) > max_pages:
        message = f"A job has at most {max_pages} images."
        details = [{"loc": ["body", "images"], "msg": message, "type": "too_long"}]
        raise ApiError(422, "REQUEST_VALIDATION_ERROR", message, details=details)
    doubles = [name for name, count in Counter(image.name for image in images).items() if count > 1]
    if doubles:
        message = f"Duplicate image names found: {', '.join(doubles[:20])}"
        details = [{"loc": ["body", "images", "name"], "msg": message, "type": "value_error.duplicate"}]
        raise ApiError(422, "REQUEST_VALIDATION_ERROR", message, details=details)


@router.get("/jobs")
def get_jobs(
    request: Request,
    key: Reader,
    state: ProcessingState | None = None,
    engine_name: Label | None = None,
    engine_version: Label | None = None,
    from_created_date: Time | None = None,
    from_started_date: Time | None = None,
    from_last_change: Time | None = None,
    from_finished_date: Time | None = None,
    limit: Annotated[int | None, Query(ge=1, le=1000)] = None,
    cursor: Annotated[int | None, Query(ge=0, le=2**62)] = None,
) -> Response:
    """List this key's jobs, newest first; administrators see all jobs. With `limit`, the list comes in pages."""
    conditions = [] if key.role is Role.ADMIN else [jobs.c.owner == key.id]
    for column, value in (
        (jobs.c.state, state.value if state else None),
        (engines.c.name, engine_name),
        (engines.c.version, engine_version),
    ):
        if value is not None:
            conditions.append(column == value)
    for column, time in (
        (jobs.c.created, from_created_date),
        (jobs.c.started, from_started_date),
        (jobs.c.changed, from_last_change),
        (jobs.c.finished, from_finished_date),
    ):
        if time is not None:
            conditions.append(column >= seconds_of(time))
    if cursor is not None:
        conditions.append(jobs.c.number < cursor)
    query = (
        select(jobs, engines.c.name.label("engine_name"), engines.c.version.label("engine_version"))
        .outerjoin(engines, engines.c.id == jobs.c.engine)
        .where(and_(True, *conditions))
        .order_by(jobs.c.number.desc())
    )
    with gateway_of(request).database.read() as connection:
        rows = connection.execute(query.limit(limit + 1) if limit else query).mappings().all()
    shown = rows[:limit] if limit else rows
    items = [
        {**job_data(row, None, None, key), "engine_name": row["engine_name"], "engine_version": row["engine_version"]}
        for row in shown
    ]
    if limit is None:
        return ok("JOBS_RETRIEVED", "The jobs.", items, key=key)
    following = shown[-1]["number"] if len(rows) > len(shown) else None
    return ok("JOBS_RETRIEVED", "The jobs.", {"items": items, "next": following}, key=key)


@router.get("/jobs/{job_id}")
def get_job(request: Request, key: Anyone, job_id: UUID) -> Response:
    """Show a job with its images."""
    with gateway_of(request).database.read() as connection:
        job = allowed_job(connection, job_id, key)
        engine = engine_by_id(connection, job["engine"]) if job["engine"] else None
        data = job_data(job, pages_of(connection, job["id"]), engine, key)
    return ok("JOB_RETRIEVED", "The job.", data, key=key)


@router.patch("/jobs/{job_id}")
def patch_job(request: Request, key: UserOrWorker, job_id: UUID, change: JobProgress) -> Response:
    """Cancel a job, as its owner; report progress, success or failure, as its worker."""
    gateway = gateway_of(request)
    with gateway.database.write() as connection:
        job = allowed_job(connection, job_id, key, locked=True)
        if key.role is Role.USER or (key.role is Role.ADMIN and change.state is ProcessingState.CANCELLED):
            return _cancel(connection, job, change, gateway.now())
        return change_as_worker(gateway, connection, job, change)


def _cancel(connection: Connection, job: RowMapping, change: JobProgress, now: float) -> Response:
    if change.state is not ProcessingState.CANCELLED:
        raise ApiError(403, "API_KEY_USER_FORBIDDEN", "The owner of a job can only cancel it.")
    if job["state"] in FINAL_JOBS:
        message = "The job has ended already."
        raise ApiError(409, "JOB_UNCANCELLABLE", message, details={"state": job["state"]})
    cancel_job(connection, job, now)
    return ok("JOB_CANCELLED", "The job was cancelled.")
