"""Which jobs a key may touch in v1."""

from __future__ import annotations

from uuid import UUID

from sqlalchemy import Connection, RowMapping, select

from pero_worker.gateway.errors import ApiError
from pero_worker.gateway.keys import Key, Role
from pero_worker.gateway.states import ProcessingState
from pero_worker.gateway.store.jobs import find_job
from pero_worker.gateway.store.schema import pages


def allowed_job(connection: Connection, job_id: UUID, key: Key, *, locked: bool = False) -> RowMapping:
    """Returns the job to its owner, the worker that holds it, keys that may read everything, and administrators.

    Raises `ApiError` 404 if there is no such job, and 403 if this key may not access it.
    """
    job = find_job(connection, str(job_id), locked=locked)
    if job is None:
        raise ApiError(404, "JOB_NOT_FOUND", "There is no such job.")
    holder = {Role.USER: job["owner"], Role.WORKER: job["worker"]}.get(key.role, key.id)
    if holder != key.id:
        raise ApiError(403, "API_KEY_FORBIDDEN_FOR_JOB", "The job is not this API key's.")
    return job


def new_job(connection: Connection, job_id: UUID, key: Key) -> RowMapping:
    """Returns the job, locked, if it still waits for uploads."""
    job = allowed_job(connection, job_id, key, locked=True)
    check_new(job, key)
    return job


def check_new(job: RowMapping, key: Key) -> None:
    if job["files_gone"]:
        raise ApiError(410, "JOB_GONE", "The job's files were removed, and it takes no others.")
    if job["state"] != ProcessingState.NEW and key.role is Role.USER:
        message = "Files can be uploaded only while the job is new."
        raise ApiError(409, "JOB_NOT_IN_NEW", message, details={"state": job["state"]})


def processing_job(connection: Connection, job_id: UUID, key: Key, *, locked: bool = False) -> RowMapping:
    """Returns the job if this worker is processing it; otherwise raises, which tells workers of cancelled jobs."""
    job = allowed_job(connection, job_id, key, locked=locked)
    if job["state"] != ProcessingState.PROCESSING and key.role is Role.WORKER:
        message = "The job is not being processed any more."
        raise ApiError(409, "JOB_NOT_IN_PROCESSING", message, details={"state": job["state"]})
    return job


def page_of_job(connection: Connection, job: RowMapping, page_id: UUID) -> RowMapping:
    """Returns a page of the job; raises `ApiError` 404 if the job has no such page."""
    query = select(pages).where(pages.c.id == str(page_id), pages.c.job == job["id"])
    page = connection.execute(query).mappings().first()
    if page is None:
        raise no_image()
    return page


def no_image() -> ApiError:
    return ApiError(404, "IMAGE_NOT_FOUND_FOR_JOB", "The job has no such image.")
