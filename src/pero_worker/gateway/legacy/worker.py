"""The legacy API's routes for workers that pull pages over HTTP."""

from __future__ import annotations

import re
from pathlib import Path
from typing import BinaryIO
from urllib.parse import quote

from fastapi import APIRouter, Request
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import UploadFile
from starlette.formparsers import MultiPartException
from starlette.responses import FileResponse, Response

from pero_worker.gateway.auth import gateway_of
from pero_worker.gateway.core import Gateway
from pero_worker.gateway.endings import PageEnd
from pero_worker.gateway.errors import ApiError
from pero_worker.gateway.keys import Key
from pero_worker.gateway.legacy.access import page_of, success, super_user
from pero_worker.gateway.names import storable, storable_line
from pero_worker.gateway.outcomes import settle_page
from pero_worker.gateway.receiving import receive_small
from pero_worker.gateway.states import OPEN_PAGES, Failure, legacy_state
from pero_worker.gateway.store.jobs import find_job, page_by_id
from pero_worker.gateway.store.pulls import active_engine, engine_number, pull_page, state_counts

router = APIRouter(include_in_schema=False)
_FORMATS = {"alto": "alto", "page": "page", "txt": "text"}
_MAX_RESULT = 64_000_000
_MAX_BODY = 200_000_000
_MAX_TRACE = 100_000
_DAY = 86_400
_MAGIC = (
    (b"\xff\xd8", "jpg"),
    (b"\x89PNG", "png"),
    (b"II", "tif"),
    (b"MM", "tif"),
    (b"BM", "bmp"),
    (b"\0\0\0\x0cjP", "jp2"),
    (b"\xff\x4f", "jp2"),
    (b"RIFF", "webp"),
)


@router.get("/get_processing_request/{preferred_engine_id}")
def get_processing_request(request: Request, preferred_engine_id: str) -> Response:
    key, gateway = super_user(request), gateway_of(request)
    preferred = _number(preferred_engine_id)
    with gateway.database.write() as connection:
        page = pull_page(connection, key.id, preferred, gateway.now())
        if page is None:
            return Response(status_code=204)
        number = engine_number(connection, page["engine"] or "")
    extension = _extension(gateway.files.image(page["job"], page["id"]))
    place = f"download_image/{page['job']}/{quote(page['name'], safe='')}.{extension}"
    return success(page_id=page["id"], page_url=f"{request.base_url}{place}", engine_id=number)


def _number(text: str) -> int:
    if not re.fullmatch(r"[0-9]{1,9}", text):
        raise ApiError(404, "ENGINE_NOT_FOUND", "Engine has not been found.")
    return int(text)


def _extension(path: Path) -> str:
    try:
        with path.open("rb") as stream:
            head = stream.read(16)
    except OSError:
        return "jpg"
    return next((extension for magic, extension in _MAGIC if head.startswith(magic)), "jpg")


@router.get("/download_image/{request_id}/{file_name}")
def download_image(request: Request, request_id: str, file_name: str) -> Response:
    super_user(request)
    gateway, name = gateway_of(request), file_name.rpartition(".")[0]
    with gateway.database.read() as connection:
        job = find_job(connection, request_id.lower()) if storable(request_id) else None
        if job is None:
            raise ApiError(404, "JOB_NOT_FOUND", "Request with this id does not exist.")
        page = page_of(connection, job, name)
    if page["state"] not in OPEN_PAGES:
        raise ApiError(405, "JOB_NOT_IN_PROCESSING", f"Page {name} is already processed.")
    path = gateway.files.image(job["id"], page["id"])
    if not page["image_uploaded"] or not path.is_file():
        raise ApiError(404, "IMAGE_GONE", f"Page {name} is not uploaded.")
    return FileResponse(path, media_type="image/*", filename=file_name)


@router.post("/upload_results/{page_id}")
async def upload_results(request: Request, page_id: str) -> Response:
    gateway = gateway_of(request)
    key = await run_in_threadpool(super_user, request)
    await run_in_threadpool(_known, gateway, page_id)
    length = request.headers.get("content-length", "")
    if not re.fullmatch(r"[0-9]{1,12}", length):
        raise ApiError(411, "LENGTH_REQUIRED", "Content-Length is missing.")
    if int(length) > _MAX_BODY:
        raise ApiError(413, "BODY_TOO_LARGE", f"Results have at most {_MAX_BODY:,} bytes.")
    try:
        async with request.form(max_files=10, max_fields=10) as form:
            parts = {kind: form.get(kind) for kind in _FORMATS}
            files = {kind: part.file for kind, part in parts.items() if isinstance(part, UploadFile)}
            return await run_in_threadpool(_keep_results, gateway, key, page_id, request, files)
    except MultiPartException as error:
        raise ApiError(422, "REQUEST_VALIDATION_ERROR", "The multipart body is damaged.") from error


def _keep_results(gateway: Gateway, key: Key, page_id: str, request: Request, files: dict[str, BinaryIO]) -> Response:
    contents = {_FORMATS[kind]: stream.read(_MAX_RESULT) for kind, stream in files.items()}
    end = PageEnd(
        page=page_id.lower(),
        quality=round(100 * _score(request.headers.get("score", "")), 2),
        engine_text=storable_line(_version(request)) or "",
        worker=key.label,
    )
    return _finish(gateway, end, contents)


def _finish(gateway: Gateway, end: PageEnd, contents: dict[str, bytes]) -> Response:
    page = _known(gateway, end.page)
    if page[1] in OPEN_PAGES:
        settle_page(gateway, page[0], end, contents)
    return success()


def _known(gateway: Gateway, page_id: str) -> tuple[str, str]:
    """Returns the page's job and state."""
    with gateway.database.read() as connection:
        page = page_by_id(connection, page_id.lower()) if storable(page_id) else None
    if page is None:
        raise ApiError(404, "IMAGE_NOT_FOUND", "Page with this id does not exist.")
    return page["job"], page["state"]


def _version(request: Request) -> str:
    """Returns the engine's version; the server once expected another spelling of the header than its own client
    sent."""
    return request.headers.get("engine-version", "") or request.headers.get("engine_version", "")


def _score(text: str) -> float:
    try:
        score = float(text)
    except ValueError:
        return 0.0
    return score if 0 <= score <= 1 else 0.0


@router.post("/failed_processing/{page_id}")
async def failed_processing(request: Request, page_id: str) -> Response:
    gateway = gateway_of(request)
    key = await run_in_threadpool(super_user, request)
    await run_in_threadpool(_known, gateway, page_id)
    kind = request.headers.get("type", "")
    if kind not in set(Failure):
        raise ApiError(422, "REQUEST_VALIDATION_ERROR", f"The header type is one of {', '.join(Failure)}.")
    text = (await receive_small(request, _MAX_TRACE)).decode("utf-8", "replace")
    last = next((line for line in reversed(text.splitlines()) if line.strip()), "")
    end = PageEnd(
        page=page_id.lower(),
        failure=Failure(kind),
        error=storable_line(last) or "",
        engine_text=storable_line(_version(request)) or "",
        worker=key.label,
    )
    return await run_in_threadpool(_finish, gateway, end, {})


@router.get("/latest_engine_version/{engine_id}")
def latest_engine_version(request: Request, engine_id: str) -> Response:
    super_user(request)
    return success(filename=_engine_file(gateway_of(request), engine_id)[0])


@router.get("/download_engine/{engine_id}")
def download_engine(request: Request, engine_id: str) -> Response:
    super_user(request)
    name, path = _engine_file(gateway_of(request), engine_id)
    if not path.is_file():
        raise ApiError(404, "ENGINE_FILES_NOT_FOUND", f"There are no files of engine {engine_id}.")
    # The client takes everything after `filename=` as the name, including quotes.
    safe = re.sub(r"[^!-~]|[\";\\]", "_", name)
    headers = {"Content-Disposition": f"attachment; filename={safe}"}
    return FileResponse(path, media_type="application/zip", headers=headers)


def _engine_file(gateway: Gateway, engine_id: str) -> tuple[str, Path]:
    with gateway.database.read() as connection:
        engine = active_engine(connection, _number(engine_id))
    if engine is None:
        raise ApiError(404, "ENGINE_NOT_FOUND", f"Engine {engine_id} has not been found.")
    return f"{engine['name']}#{engine['version']}.zip", gateway.files.engine(engine["id"])


@router.get("/page_statistics")
def page_statistics(request: Request) -> Response:
    super_user(request)
    gateway = gateway_of(request)
    with gateway.database.read() as connection:
        rows = state_counts(connection, gateway.now() - _DAY)
    counts: dict[str, int] = {}
    for state, failure, count in rows:
        name = legacy_state(state, failure)
        counts[name] = counts.get(name, 0) + count
    return success(state_stats=counts)
