"""v1: jobs as seen by the workers that lease them."""

from __future__ import annotations

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Depends, Query, Request
from sqlalchemy import Connection, RowMapping
from starlette.concurrency import run_in_threadpool
from starlette.responses import Response

from pero_worker.gateway.auth import gateway_of, require
from pero_worker.gateway.bundle import report_of
from pero_worker.gateway.core import Gateway
from pero_worker.gateway.errors import ApiError
from pero_worker.gateway.keys import Key, Role
from pero_worker.gateway.states import ProcessingState
from pero_worker.gateway.store.leases import (
    LeaseTerms,
    complete_job,
    extend_lease,
    lease_job,
    mark_error,
    note_report,
    requeue,
)
from pero_worker.gateway.v1.access import processing_job
from pero_worker.gateway.v1.archives import receive_archive
from pero_worker.gateway.v1.models import JobProgress, Label
from pero_worker.gateway.v1.replies import date, ok

router = APIRouter(prefix="/v1", tags=["workers"])
Worker = Annotated[Key, Depends(require(Role.WORKER))]


@router.post("/jobs/lease")
def post_lease(request: Request, key: Worker, engine: Annotated[Label | None, Query()] = None) -> Response:
    """Lease a job to work on; `engine` limits the choice to jobs of one engine."""
    gateway = gateway_of(request)
    settings, now = gateway.settings, gateway.now()
    terms = LeaseTerms(seconds=settings.lease_seconds, grace=settings.lease_grace, max_attempts=settings.max_attempts)
    with gateway.database.write() as connection:
        job = lease_job(connection, key.id, terms, now, engine)
    if job is None:
        return ok("JOB_QUEUE_EMPTY", "No job waits.")
    return ok("JOB_LEASED", "The job is yours until the lease ends.", _lease(gateway, job, now))


@router.api_route("/jobs/lease", methods=["GET", "PUT", "PATCH", "DELETE", "OPTIONS"], include_in_schema=False)
def no_lease() -> Response:
    """Answers 405: unlike other paths under `/jobs/`, this one is not a job's address."""
    raise ApiError(405, "HTTP_ERROR", "Method Not Allowed", headers={"Allow": "POST"})


@router.patch("/jobs/{job_id}/lease")
def patch_lease(request: Request, key: Worker, job_id: UUID) -> Response:
    """Renew the lease, as a sign of life."""
    gateway = gateway_of(request)
    now = gateway.now()
    with gateway.database.write() as connection:
        job = processing_job(connection, job_id, key, locked=True)
        extend_lease(connection, job, now)
    return ok("JOB_LEASE_EXTENDED", "The lease was extended.", _lease(gateway, job, now))


@router.delete("/jobs/{job_id}/lease", status_code=204)
def delete_lease(request: Request, key: Worker, job_id: UUID) -> Response:
    """Give the job back as if it had never been leased."""
    gateway = gateway_of(request)
    with gateway.database.write() as connection:
        job = processing_job(connection, job_id, key, locked=True)
        requeue(connection, job, gateway.now(), uncounted=True)
    return Response(status_code=204)


@router.post("/jobs/{job_id}/result", status_code=201)
async def post_result(request: Request, key: Worker, job_id: UUID) -> Response:
    """Upload the job's result as a zip."""
    gateway = gateway_of(request)
    await run_in_threadpool(_check_processing, gateway, key, job_id)
    target = gateway.files.result(str(job_id))
    first = await receive_archive(request, target, "JOB_RESULT_INVALID")
    code = "JOB_RESULT_UPLOADED" if first else "JOB_RESULT_REUPLOADED"
    return ok(code, "The result is here.", status=201 if first else 200)


@router.post("/jobs/{job_id}/artifacts", status_code=201)
async def post_artifacts(request: Request, key: Worker, job_id: UUID) -> Response:
    """Upload the job's artifacts, whatever else came of it, as a zip for administrators."""
    gateway = gateway_of(request)
    await run_in_threadpool(_check_processing, gateway, key, job_id)
    target = gateway.files.artifacts(str(job_id))
    first = await receive_archive(request, target, "JOB_ARTIFACTS_INVALID")
    code = "JOB_ARTIFACTS_UPLOADED" if first else "JOB_ARTIFACTS_REUPLOADED"
    return ok(code, "The artifacts are here.", status=201 if first else 200)


def _check_processing(gateway: Gateway, key: Key, job_id: UUID) -> None:
    with gateway.database.read() as connection:
        processing_job(connection, job_id, key)


def change_as_worker(gateway: Gateway, connection: Connection, job: RowMapping, change: JobProgress) -> Response:
    """Applies what the job's worker reports: progress, or the job's end. The caller has locked the job."""
    state, now = change.state, gateway.now()
    if state not in {ProcessingState.DONE, ProcessingState.ERROR, None}:
        raise ApiError(403, "API_KEY_WORKER_FORBIDDEN", "A worker ends a job as done or error only.")
    if state is None:
        return _tell_progress(gateway, connection, job, change, now)
    if job["state"] not in {ProcessingState.PROCESSING, ProcessingState.DONE, ProcessingState.ERROR}:
        message = "Only a job that is being processed can end."
        raise ApiError(409, "JOB_UNFINISHABLE", message, details={"state": job["state"]})
    if state is ProcessingState.DONE:
        if not gateway.files.result(job["id"]).exists():
            raise ApiError(409, "JOB_RESULT_MISSING", "Upload the result before the job is done.")
        if job["state"] == ProcessingState.DONE:
            return ok("JOB_ALREADY_COMPLETED", "The job was done already.")
        _refuse_unless_processing(job)
        _write_logs(connection, job, change, now)
        note_report(connection, job["id"], report_of(gateway.files.result(job["id"])))
        complete_job(connection, job, now)
        return ok("JOB_COMPLETED", "The job is done.")
    if job["state"] == ProcessingState.ERROR:
        return ok("JOB_ALREADY_MARKED_ERROR", "The job had failed already.")
    _refuse_unless_processing(job)
    _write_logs(connection, job, change, now)
    mark_error(connection, job, now)
    return ok("JOB_MARKED_ERROR", "The job has failed; it may be tried again.")


def _tell_progress(
    gateway: Gateway, connection: Connection, job: RowMapping, change: JobProgress, now: float
) -> Response:
    if change.progress is None and change.log is None and change.log_user is None:
        raise ApiError(400, "JOB_UPDATE_NO_FIELDS", "There is nothing to change in the request.")
    _refuse_unless_processing(job)
    _write_logs(connection, job, change, now)
    if change.progress is not None:
        extend_lease(connection, job, now, progress=min(1.0, max(0.0, change.progress)))
    return ok("JOB_UPDATED", "The job was updated and the lease extended.", _lease(gateway, job, now))


def _refuse_unless_processing(job: RowMapping) -> None:
    if job["state"] != ProcessingState.PROCESSING:
        message = "The job is not being processed any more."
        raise ApiError(409, "JOB_NOT_IN_PROCESSING", message, details={"state": job["state"]})


_MAX_LOG = 1_000_000


def _write_logs(connection: Connection, job: RowMapping, change: JobProgress, now: float) -> None:
    """Appends new text on a line of its own; a log that grows too long loses its beginning."""
    values = {}
    for name, text in (("log", change.log), ("log_user", change.log_user)):
        if text:
            before = job[name] or ""
            values[name] = f"{before}{'' if not before or before.endswith(chr(10)) else chr(10)}{text}"[-_MAX_LOG:]
    extend_lease(connection, job, now, **values)


def _lease(gateway: Gateway, job: RowMapping, now: float) -> dict[str, object]:
    return {
        "id": job["id"],
        "lease_expire_at": date(now + gateway.settings.lease_seconds),
        "server_time": date(now),
    }
