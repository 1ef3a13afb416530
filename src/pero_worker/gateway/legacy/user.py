"""The legacy API's routes for clients that want pages read."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath
from urllib.parse import quote

from fastapi import APIRouter, Request
from sqlalchemy import RowMapping, func, select
from starlette.concurrency import run_in_threadpool
from starlette.responses import Response

from pero_worker.gateway.auth import gateway_of
from pero_worker.gateway.core import Gateway
from pero_worker.gateway.errors import ApiError
from pero_worker.gateway.keys import Key
from pero_worker.gateway.legacy.access import own_request, page_of, reader, success, writer
from pero_worker.gateway.legacy.creation import parse_creation
from pero_worker.gateway.limits import check_quota
from pero_worker.gateway.middleware import trace
from pero_worker.gateway.outcomes import page_content
from pero_worker.gateway.receiving import Received, receive_part, receive_small
from pero_worker.gateway.states import Api, Backend, PageState, legacy_state
from pero_worker.gateway.store.closing import cancel_job
from pero_worker.gateway.store.creation import NewJob, create_job
from pero_worker.gateway.store.engines import numbered_engines
from pero_worker.gateway.store.filling import accept_upload
from pero_worker.gateway.store.idempotency import once
from pero_worker.gateway.store.jobs import pages_of
from pero_worker.gateway.store.schema import pages
from pero_worker.gateway.traces import note_page

router = APIRouter(include_in_schema=False)
EXTENSIONS = (
    "jpg",
    "jpeg",
    "png",
    "jp2",
    "j2k",
    "jpf",
    "jpm",
    "jpg2",
    "j2c",
    "jpc",
    "jpx",
    "mj2",
    "bmp",
    "tiff",
    "tif",
)
FORMATS = {"alto": ("alto", "xml"), "page": ("page", "xml"), "txt": ("text", "txt")}


@router.post("/post_processing_request")
async def post_processing_request(request: Request) -> Response:
    gateway = gateway_of(request)
    key = await run_in_threadpool(writer, request)
    body = await receive_small(request, gateway.settings.max_json)
    name = request.headers.get("idempotency-key")
    return await run_in_threadpool(_create, gateway, key, body, name, trace.get())


def _create(gateway: Gateway, key: Key, body: bytes, name: str | None, request_id: str) -> Response:
    number, wanted = parse_creation(body, gateway.settings.max_pages)
    digest, now = hashlib.sha256(b"legacy " + body).hexdigest(), gateway.now()

    def make() -> Response:
        check_quota(connection, key, len(wanted), now)
        engine = next((one for one in numbered_engines(connection) if one["number"] == number), None)
        if engine is None:
            raise ApiError(404, "ENGINE_NOT_FOUND", f"Engine {number} has not been found.")
        new = NewJob(
            api=Api.LEGACY,
            owner=key.id,
            engine=engine["id"],
            backend=Backend(engine["backend"]),
            pages=wanted,
            trace=request_id,
        )
        return success(request_id=create_job(connection, new, now))

    with gateway.database.write() as connection:
        return once(connection, key.id, name, digest, now, make)


@router.get("/get_status")
def get_status(request: Request) -> Response:
    """No PERO server has this; ProArc, AltoEditor and others call it when a creation went wrong."""
    gateway, name = gateway_of(request), request.query_params.get("request_id", "")
    key = reader(request)
    with gateway.database.read() as connection:
        return success(request_id=own_request(connection, key, name)["id"])


@router.post("/upload_image/{request_id}/{page_name}")
async def upload_image(request: Request, request_id: str, page_name: str) -> Response:
    gateway = gateway_of(request)
    key = await run_in_threadpool(_expect_upload, request, request_id, page_name)
    with gateway.files.unfinished() as path:
        received = await receive_part(request, path, limit=key.max_upload or gateway.settings.max_upload)
        if received is None:
            raise ApiError(400, "FILE_MISSING", "Request does not contain file.")
        extension = PurePosixPath(received.filename or "").suffix.lower().lstrip(".")
        if extension not in EXTENSIONS:
            message = f"{extension[:20]} is not supported format. Supported formats are {', '.join(EXTENSIONS)}."
            raise ApiError(422, "FORMAT_UNSUPPORTED", message)
        await run_in_threadpool(_keep_image, gateway, key, request_id, page_name, path, received, trace.get())
    return success()


def _expect_upload(request: Request, request_id: str, page_name: str) -> Key:
    """Refuses, before the image is read, whatever can be refused that early."""
    key = writer(request)
    with gateway_of(request).database.read() as connection:
        _check_created(page_of(connection, own_request(connection, key, request_id), page_name))
    return key


def _check_created(page: RowMapping) -> None:
    if page["state"] != PageState.CREATED:
        state = legacy_state(page["state"], page["failure"])
        message = f"Page {page['name']} is in {state} state. It should be in CREATED state."
        raise ApiError(400, "JOB_NOT_IN_NEW", message)


def _keep_image(
    gateway: Gateway, key: Key, request_id: str, page_name: str, path: Path, received: Received, request_trace: str
) -> None:
    with gateway.database.write() as connection:
        job = own_request(connection, key, request_id, locked=True)
        page = page_of(connection, job, page_name)
        _check_created(page)
        note_page(page["id"])
        gateway.files.place(path, gateway.files.image(job["id"], page["id"]))
        more = {"image_bytes": received.size, "image_sha256": received.sha256, "trace": request_trace}
        accept_upload(connection, job, page, "image", gateway.now(), **more)


@router.get("/request_status/{request_id}")
def request_status(request: Request, request_id: str) -> Response:
    key = reader(request)
    with gateway_of(request).database.read() as connection:
        rows = pages_of(connection, own_request(connection, key, request_id)["id"])
    states = {
        row["name"]: {
            "state": legacy_state(row["state"], row["failure"]),
            "quality": row["quality"] if row["state"] in {PageState.DONE, PageState.EXPIRED} else None,
        }
        for row in rows
    }
    return success(request_status=states)


@router.get("/get_engines")
def get_engines(request: Request) -> Response:
    reader(request)
    with gateway_of(request).database.read() as connection:
        rows = numbered_engines(connection)
    engines = {
        row["name"]: {
            "id": row["number"],
            "description": row["description"] or None,
            "engine_version": row["version"],
            "models": [
                {"id": number, "name": name} for number, name in enumerate(row["definition"].get("stages", ()), 1)
            ],
        }
        for row in rows
    }
    return success(engines=engines)


@router.get("/download_results/{request_id}/{page_name}/{kind}")
def download_results(request: Request, request_id: str, page_name: str, kind: str) -> Response:
    gateway, key = gateway_of(request), reader(request)
    with gateway.database.read() as connection:
        job = own_request(connection, key, request_id)
        page = page_of(connection, job, page_name)
    if page["state"] == PageState.EXPIRED:
        message = f"Page {page_name} has expired. All processed pages are stored one week."
        raise ApiError(404, "JOB_RESULT_GONE", message)
    if page["state"] != PageState.DONE:
        raise ApiError(404, "JOB_RESULT_NOT_READY", _why_not(page, strict=gateway.settings.legacy_strict))
    if kind not in FORMATS:
        message = f"Bad export format. Supported formats are {', '.join(FORMATS)}."
        raise ApiError(400, "FORMAT_UNSUPPORTED", message)
    name, suffix = FORMATS[kind]
    content = page_content(gateway, job, page, name)
    if content is None:
        message = f"Page {page_name} has expired. All processed pages are stored one week."
        raise ApiError(404, "JOB_RESULT_GONE", message)
    if kind == "txt":
        content = b"".join(line for line in content.splitlines(keepends=True) if line.strip())
    media = "text/plain" if kind == "txt" else "application/xml"
    return Response(
        content,
        headers={
            "Content-Disposition": attachment(f"{page_name}.{suffix}"),
            "Content-Type": f"{media}; charset=utf-8",
        },
    )


def _why_not(page: RowMapping, *, strict: bool) -> str:
    """Returns why a page has no result; clients keep polling as long as they read the words `not processed yet`."""
    if page["state"] in {PageState.FAILED, PageState.CANCELLED} and not strict:
        return f"Page {page['name']} could not be processed: {legacy_state(page['state'], page['failure'])}."
    return f"Page {page['name']} is not processed yet."


def attachment(name: str) -> str:
    """Returns a Content-Disposition header for any name."""
    if name.isascii() and name.isprintable() and not set(name) & set('"\\'):
        return f'attachment; filename="{name}"'
    return f"attachment; filename*=UTF-8''{quote(name, safe='')}"


@router.post("/cancel_request/{request_id}")
def cancel_request(request: Request, request_id: str) -> Response:
    gateway, key = gateway_of(request), writer(request)
    with gateway.database.write() as connection:
        cancel_job(connection, own_request(connection, key, request_id, locked=True), gateway.now())
    return success()


@router.get("/usage_statistics")
@router.get("/usage_statistics/{begin}")
@router.get("/usage_statistics/{begin}/{end}")
def usage_statistics(request: Request, begin: str = "", end: str = "") -> Response:
    key = reader(request)
    texts = {
        "from": begin or request.query_params.get("from_datetime", ""),
        "to": end or request.query_params.get("to_datetime", ""),
    }
    times = {}
    for name, text in texts.items():
        try:
            times[name] = _time(text) if text else None
        except (ValueError, OverflowError):
            said = {"from": "from_time", "to": "to_datetime"}[name]
            raise ApiError(400, "TIME_INVALID", f"{said} is not in a valid ISO format.") from None
    conditions = [pages.c.owner == key.id, pages.c.state.in_([PageState.DONE.value, PageState.EXPIRED.value])]
    if times["from"] is not None:
        conditions.append(pages.c.finished >= times["from"])
    if times["to"] is not None:
        conditions.append(pages.c.finished <= times["to"])
    with gateway_of(request).database.read() as connection:
        count = connection.execute(select(func.count()).select_from(pages).where(*conditions)).scalar()
    given = {name: text for name, text in texts.items() if text}
    both = {f"{name}_date": texts[name] or None for name in texts}
    return success(processed_pages=count, **given, **both)


def _time(text: str) -> float:
    """Returns an ISO 8601 date or time as seconds since 1970, taking it as UTC if it names no zone."""
    time = datetime.fromisoformat(text)
    return (time if time.tzinfo else time.replace(tzinfo=UTC)).timestamp()
