"""v1: administration of keys and engines, and forced changes to jobs."""

from __future__ import annotations

from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Depends, Request
from sqlalchemy import RowMapping, update
from starlette.concurrency import run_in_threadpool
from starlette.responses import FileResponse, Response

from pero_worker.gateway.auth import gateway_of, require
from pero_worker.gateway.core import Gateway
from pero_worker.gateway.errors import ApiError
from pero_worker.gateway.keys import Key, make_key
from pero_worker.gateway.names import storable
from pero_worker.gateway.states import FINAL_JOBS, Backend, PageState
from pero_worker.gateway.store.closing import close_pages
from pero_worker.gateway.store.engines import add_engine, change_engine, find_engines
from pero_worker.gateway.store.jobs import find_job
from pero_worker.gateway.store.keys import add_key, all_keys, change_key, key_by_label, replace_secret
from pero_worker.gateway.store.schema import engines, jobs
from pero_worker.gateway.v1.archives import receive_archive
from pero_worker.gateway.v1.models import EngineChange, JobForced, KeyChange, NewEngine, NewKey
from pero_worker.gateway.v1.replies import key_data, limits_data, ok, seconds_of

router = APIRouter(prefix="/v1/admin", tags=["admin"])
Admin = Annotated[Key, Depends(require())]
_TIMES = {
    "created_date": "created",
    "started_date": "started",
    "last_change": "changed",
    "finished_date": "finished",
}


@router.post("/keys", status_code=201)
def post_key(request: Request, key: Admin, new: NewKey) -> Response:
    """Create a key. Its text appears in this reply and nowhere else."""
    gateway = gateway_of(request)
    text, secret = make_key(gateway.settings.key_prefix, gateway.random_bytes, gateway.server_secret)
    with gateway.database.write() as connection:
        if add_key(connection, new.label, new.role, secret, gateway.now(), **new.columns()) is None:
            raise ApiError(409, "KEY_ALREADY_EXISTS", "There is a key with this label.")
    return ok("KEY_CREATED", "The key was made; keep it, it is not shown again.", {"secret": text}, status=201)


@router.post("/keys/{label}/secret", status_code=201)
def post_secret(request: Request, key: Admin, label: str) -> Response:
    """Give a key a new text; the old one is worthless from then on."""
    gateway = gateway_of(request)
    text, secret = make_key(gateway.settings.key_prefix, gateway.random_bytes, gateway.server_secret)
    with gateway.database.write() as connection:
        found = key_by_label(connection, label) if storable(label) else None
        if found is None:
            raise _no_key()
        replace_secret(connection, found, secret)
    return ok("KEY_SECRET_CREATED", "Keep the key, it is not shown again.", {"secret": text}, status=201)


@router.patch("/keys/{label}")
def patch_key(request: Request, key: Admin, label: str, change: KeyChange) -> Response:
    """Rename, promote or revoke a key, or change its limits; null means no limit."""
    values = {**change.model_dump(exclude_none=True, include={"label", "role", "active"}), **change.columns()}
    if not values:
        raise ApiError(400, "KEY_UPDATE_NO_FIELDS", "There is nothing to change in the request.")
    with gateway_of(request).database.write() as connection:
        found = key_by_label(connection, label) if storable(label) else None
        if found is None:
            raise _no_key()
        if not change_key(connection, found, values):
            raise ApiError(409, "KEY_ALREADY_EXISTS", "There is a key with this label.")
    return ok("KEY_UPDATED", "The key was changed.")


def _no_key() -> ApiError:
    return ApiError(404, "KEY_NOT_FOUND", "There is no key with this label.")


@router.get("/keys")
def get_keys(request: Request, key: Admin) -> Response:
    """List all keys, sorted by label."""
    with gateway_of(request).database.read() as connection:
        found = all_keys(connection)
    return ok("KEYS_RETRIEVED", "The keys.", [{**key_data(one), **limits_data(one)} for one in found])


@router.post("/engines", status_code=201)
def post_engine(request: Request, key: Admin, new: NewEngine) -> Response:
    """Add an engine for workers that lease jobs."""
    gateway = gateway_of(request)
    with gateway.database.write() as connection:
        added = add_engine(
            connection,
            name=new.name,
            version=new.version,
            description=new.description,
            definition=new.definition,
            backend=Backend.LEASE,
            default=bool(new.default),
            active=new.active is not False,
            now=gateway.now(),
        )
    if added is None:
        raise ApiError(409, "ENGINE_ALREADY_EXISTS", "There is this version of the engine already.")
    return ok("ENGINE_CREATED", "The engine was added.", status=201)


@router.patch("/engines/{name}/{version}")
def patch_engine(request: Request, key: Admin, name: str, version: str, change: EngineChange) -> Response:
    """Change an engine; if it becomes active or the default, it replaces the one that was."""
    values = change.model_dump(exclude_none=True)
    if not values:
        raise ApiError(400, "ENGINE_UPDATE_NO_FIELDS", "There is nothing to change in the request.")
    with gateway_of(request).database.write() as connection:
        found = find_engines(connection, name=name, version=version) if storable(name + version) else []
        if not found:
            raise _no_engine()
        if not change_engine(connection, found[0], values):
            raise ApiError(409, "ENGINE_ALREADY_EXISTS", "There is this version of the engine already.")
    return ok("ENGINE_UPDATED", "The engine was changed.")


@router.put("/engines/{name}/{version}/files", status_code=201)
async def put_files(request: Request, key: Admin, name: str, version: str) -> Response:
    """Upload the zip that workers run the engine from."""
    gateway = gateway_of(request)
    engine = await run_in_threadpool(_engine, gateway, name, version)
    first = await receive_archive(request, gateway.files.engine(engine["id"]), "ENGINE_FILES_INVALID")
    await run_in_threadpool(_note_files, gateway, engine["id"])
    code = "ENGINE_FILES_UPLOADED" if first else "ENGINE_FILES_REUPLOADED"
    return ok(code, "The engine's files are here.", status=201 if first else 200)


def _engine(gateway: Gateway, name: str, version: str) -> RowMapping:
    with gateway.database.read() as connection:
        found = find_engines(connection, name=name, version=version) if storable(name + version) else []
    if not found:
        raise _no_engine()
    return found[0]


def _no_engine() -> ApiError:
    return ApiError(404, "ENGINE_NOT_FOUND", "There is no such engine.")


def _note_files(gateway: Gateway, engine: str) -> None:
    with gateway.database.write() as connection:
        connection.execute(update(engines).where(engines.c.id == engine).values(files_updated=gateway.now()))


@router.get("/jobs/{job_id}/artifacts", response_class=FileResponse)
def get_artifacts(request: Request, key: Admin, job_id: UUID) -> Response:
    """Download the artifacts of a job."""
    gateway = gateway_of(request)
    _job(gateway, job_id)
    path = gateway.files.artifacts(str(job_id))
    if not path.is_file():
        raise ApiError(404, "JOB_ARTIFACTS_NOT_FOUND", "There are no artifacts of this job.")
    return FileResponse(path, media_type="application/zip", filename=f"{job_id}.zip")


@router.patch("/jobs/{job_id}")
def patch_job(request: Request, key: Admin, job_id: UUID, change: JobForced, append_logs: bool = True) -> Response:
    """Force fields of a job to new values."""
    gateway = gateway_of(request)
    with gateway.database.write() as connection:
        job = find_job(connection, str(job_id), locked=True)
        if job is None:
            raise _no_job()
        values: dict[str, Any] = {}
        for name, value in change.model_dump(exclude_none=True).items():
            if name in _TIMES:
                values[_TIMES[name]] = seconds_of(value)
            elif name in {"log", "log_user"} and append_logs and job[name]:
                values[name] = f"{job[name]}\n{value}"
            else:
                values[name] = value
        if change.state in FINAL_JOBS:
            close_pages(connection, job["id"], PageState.CANCELLED, gateway.now())
        if values:
            connection.execute(update(jobs).where(jobs.c.id == job["id"]).values(values))
    return ok("JOB_UPDATED", "The job was changed.")


def _job(gateway: Gateway, job_id: UUID) -> RowMapping:
    with gateway.database.read() as connection:
        job = find_job(connection, str(job_id))
    if job is None:
        raise _no_job()
    return job


def _no_job() -> ApiError:
    return ApiError(404, "JOB_NOT_FOUND", "There is no such job.")
