"""v1: files of a job, which its owner uploads by name and its worker fetches by id."""

from __future__ import annotations

import json
import mimetypes
from pathlib import Path, PurePosixPath
from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Depends, Request
from lxml import etree
from sqlalchemy import Connection, RowMapping, update
from starlette.concurrency import run_in_threadpool
from starlette.responses import FileResponse, Response

from pero_worker.errors import PageError
from pero_worker.gateway.auth import gateway_of, require
from pero_worker.gateway.core import Gateway
from pero_worker.gateway.errors import ApiError, invalid
from pero_worker.gateway.keys import Key, Role
from pero_worker.gateway.limits import check_quota
from pero_worker.gateway.middleware import trace
from pero_worker.gateway.names import storable
from pero_worker.gateway.receiving import Received, receive_part, receive_raw, receive_small
from pero_worker.gateway.states import Backend
from pero_worker.gateway.store.filling import accept_upload, count_upload
from pero_worker.gateway.store.jobs import find_page
from pero_worker.gateway.store.schema import jobs
from pero_worker.gateway.store.spreading import spread_document
from pero_worker.gateway.traces import note_page
from pero_worker.gateway.v1.access import allowed_job, check_new, new_job, no_image, page_of_job, processing_job
from pero_worker.gateway.v1.replies import ok
from pero_worker.inputs.documents import count_pages

router = APIRouter(prefix="/v1", tags=["files"])
User = Annotated[Key, Depends(require(Role.USER))]
Worker = Annotated[Key, Depends(require(Role.WORKER))]
_MAX_XML = 64_000_000
_ROOTS = {"alto": "alto", "page": "PcGts"}


@router.put("/jobs/{job_id}/images/{image}/files/image", status_code=201)
async def put_image(request: Request, key: User, job_id: UUID, image: str) -> Response:
    """Upload the scan of a page, either as the part `file` of a form or as the body with a type of `image/…`."""
    gateway = gateway_of(request)
    await run_in_threadpool(_expect, gateway, key, job_id, image, "image")
    with gateway.files.unfinished() as path:
        limit = key.max_upload or gateway.settings.max_upload
        if request.headers.get("content-type", "").startswith("image/"):
            received = await receive_raw(request, path, limit=limit)
        else:
            received = await _receive(request, path, limit)
        name = trace.get()
        first = await run_in_threadpool(keep_image, gateway, key, job_id, image, path, received, name)
    return _uploaded("IMAGE", first)


def keep_image(
    gateway: Gateway, key: Key, job_id: UUID, image_name: str, path: Path, received: Received, request_trace: str
) -> bool:
    """Makes a file the scan of a page; returns whether it is the first. Raises `ApiError` 415 if it is not an image."""
    try:
        frames = count_pages(path)
    except PageError as error:
        raise ApiError(415, "IMAGE_INVALID", "This is no image that can be read.", details=str(error)) from error
    return _keep(gateway, key, job_id, image_name, "image", path, received, request_trace, frames)


def expect_image(gateway: Gateway, key: Key, job_id: UUID, image_name: str) -> None:
    """Raises `ApiError` if no scan can be uploaded under this name."""
    _expect(gateway, key, job_id, image_name, "image")


@router.put("/jobs/{job_id}/images/{image}/files/alto", status_code=201)
async def put_alto(request: Request, key: User, job_id: UUID, image: str) -> Response:
    """Upload the ALTO of a page, if the job requires it."""
    return await _put_xml(request, key, job_id, image, "alto")


@router.put("/jobs/{job_id}/images/{image}/files/page", status_code=201)
async def put_page(request: Request, key: User, job_id: UUID, image: str) -> Response:
    """Upload the PAGE XML of a page, if the job requires it."""
    return await _put_xml(request, key, job_id, image, "page")


async def _put_xml(request: Request, key: Key, job_id: UUID, image_name: str, kind: str) -> Response:
    gateway = gateway_of(request)
    await run_in_threadpool(_expect, gateway, key, job_id, image_name, kind)
    with gateway.files.unfinished() as path:
        received = await _receive(request, path, min(_MAX_XML, gateway.settings.max_upload))

        def keep() -> bool:
            _check_xml(path, kind)
            return _keep(gateway, key, job_id, image_name, kind, path, received, trace.get())

        first = await run_in_threadpool(keep)
    return _uploaded(kind.upper(), first)


@router.put("/jobs/{job_id}/files/metadata", status_code=201)
async def put_metadata(request: Request, key: User, job_id: UUID) -> Response:
    """Upload the JSON that belongs to the job, if the job requires one."""
    gateway = gateway_of(request)
    await run_in_threadpool(_expect_metadata, gateway, key, job_id)
    body = await receive_small(request, gateway.settings.max_json)
    try:
        values: Any = json.loads(body)
        content = json.dumps(values).encode()
    except (ValueError, RecursionError) as error:
        raise invalid(("body",), "The body is no JSON.", "json_invalid") from error
    first = await run_in_threadpool(_keep_metadata, gateway, key, job_id, content)
    return _uploaded("META_JSON", first)


def _expect(gateway: Gateway, key: Key, job_id: UUID, image_name: str, kind: str) -> None:
    """Refuses, before the file is read, whatever can be refused that early."""
    with gateway.database.read() as connection:
        job = allowed_job(connection, job_id, key)
        check_new(job, key)
        if kind != "image" and not job[f"{kind}_required"]:
            raise _not_required(kind)
        page = find_page(connection, job["id"], image_name) if storable(image_name) else None
        if page is None:
            raise no_image()
        if kind == "image" and page["url"]:
            raise ApiError(409, "IMAGE_HAS_URL", "This scan is fetched from the address that the job gives.")


def _expect_metadata(gateway: Gateway, key: Key, job_id: UUID) -> None:
    with gateway.database.read() as connection:
        job = allowed_job(connection, job_id, key)
        check_new(job, key)
        if not job["meta_json_required"]:
            raise _not_required("meta_json")


def _not_required(kind: str) -> ApiError:
    return ApiError(409, f"{kind.upper()}_NOT_REQUIRED", "The job does not require this file.")


async def _receive(request: Request, path: Path, limit: int) -> Received:
    received = await receive_part(request, path, limit=limit)
    if received is None:
        raise invalid(("body", "file"), "Field required", "missing")
    return received


def _check_xml(path: Path, kind: str) -> None:
    """Raises `ApiError` 400 if the file is not well-formed XML, and 422 if it is another kind of XML."""
    parser = etree.XMLParser(resolve_entities=False, no_network=True, load_dtd=False, huge_tree=False)
    try:
        root = etree.fromstring(path.read_bytes(), parser)
    except (etree.XMLSyntaxError, ValueError) as error:
        raise ApiError(400, "XML_PARSE_ERROR", "The file is not well-formed XML.") from error
    if root.getroottree().docinfo.internalDTD is not None:
        raise ApiError(400, "XML_PARSE_ERROR", "The file has a DOCTYPE, and entities are not expanded.")
    if etree.QName(root).localname != _ROOTS[kind]:
        code = f"{kind.upper()}_SCHEMA_INVALID"
        raise ApiError(422, code, f"The root of the file is not <{_ROOTS[kind]}>.")


def _keep(
    gateway: Gateway,
    key: Key,
    job_id: UUID,
    image_name: str,
    kind: str,
    path: Path,
    received: Received,
    name: str,
    frames: int = 1,
) -> bool:
    """Moves the file into place and counts it, in one transaction; returns whether it is the first.

    A document of several `frames` becomes as many pages.
    """
    with gateway.database.write() as connection:
        job = new_job(connection, job_id, key)
        page = find_page(connection, job["id"], image_name)
        if page is None:
            raise no_image()
        note_page(page["id"])
        files = gateway.files
        if kind == "image" and (frames > 1 or (page["frames"] or 1) > 1):
            _spread(connection, gateway, key, job, page, frames)
        place = {"image": files.image, "alto": files.alto, "page": files.page_xml}[kind]
        files.place(path, place(job["id"], page["id"]))
        more = {"image_bytes": received.size, "image_sha256": received.sha256, "trace": name}
        return accept_upload(connection, job, page, kind, gateway.now(), **(more if kind == "image" else {}))


def _spread(connection: Connection, gateway: Gateway, key: Key, job: RowMapping, page: RowMapping, frames: int) -> None:
    if job["backend"] == Backend.LEASE or job["alto_required"] or job["page_required"] or page["document"]:
        message = "Only the gateway's own engines take documents of several pages, and none that require more files."
        raise ApiError(415, "IMAGE_INVALID", message)
    if job["pages"] + frames - 1 > gateway.settings.max_pages:
        raise ApiError(413, "BODY_TOO_LARGE", f"A job has at most {gateway.settings.max_pages} pages.")
    check_quota(connection, key, frames - 1, gateway.now())
    spread_document(connection, job, page, frames, gateway.now())


def _keep_metadata(gateway: Gateway, key: Key, job_id: UUID, content: bytes) -> bool:
    with gateway.database.write() as connection:
        job = new_job(connection, job_id, key)
        gateway.files.metadata(job["id"]).parent.mkdir(exist_ok=True)
        gateway.files.put(gateway.files.metadata(job["id"]), content)
        if job["meta_json_uploaded"]:
            return False
        connection.execute(update(jobs).where(jobs.c.id == job["id"]).values(meta_json_uploaded=True))
        count_upload(connection, job, gateway.now())
        return True


def _uploaded(kind: str, first: bool) -> Response:
    code = f"{kind}_UPLOADED" if first else f"{kind}_REUPLOADED"
    return ok(code, "The file is here.", status=201 if first else 200)


@router.get("/jobs/{job_id}/images/{image}/files/image", response_class=FileResponse)
def get_image(request: Request, key: Worker, job_id: UUID, image: UUID) -> Response:
    """Download the scan of a page, as the job's worker."""
    gateway = gateway_of(request)
    with gateway.database.read() as connection:
        job = processing_job(connection, job_id, key)
        page = page_of_job(connection, job, image)
    path = gateway.files.image(job["id"], page["id"])
    return _file(path, page["name"], image_type(page["name"]), "IMAGE_GONE", there=page["image_uploaded"])


def image_type(name: str) -> str:
    """Returns an image media type, never one that a browser would run."""
    media = mimetypes.guess_type(name)[0] or ""
    return media if media.startswith("image/") and "svg" not in media else "image/*"


@router.get("/jobs/{job_id}/images/{image}/files/alto", response_class=FileResponse)
def get_alto(request: Request, key: Worker, job_id: UUID, image: UUID) -> Response:
    """Download the ALTO that came with a page, as the job's worker."""
    return _get_xml(request, key, job_id, image, "alto")


@router.get("/jobs/{job_id}/images/{image}/files/page", response_class=FileResponse)
def get_page(request: Request, key: Worker, job_id: UUID, image: UUID) -> Response:
    """Download the PAGE XML that came with a page, as the job's worker."""
    return _get_xml(request, key, job_id, image, "page")


def _get_xml(request: Request, key: Key, job_id: UUID, image_id: UUID, kind: str) -> Response:
    gateway = gateway_of(request)
    with gateway.database.read() as connection:
        job = processing_job(connection, job_id, key)
        if not job[f"{kind}_required"]:
            raise _not_required(kind)
        page = page_of_job(connection, job, image_id)
    place = gateway.files.alto if kind == "alto" else gateway.files.page_xml
    name = f"{PurePosixPath(page['name']).stem}.xml"
    path = place(job["id"], page["id"])
    return _file(path, name, "application/xml", f"{kind.upper()}_GONE", there=page[f"{kind}_uploaded"])


@router.get("/jobs/{job_id}/files/metadata", response_class=FileResponse)
def get_metadata(request: Request, key: Worker, job_id: UUID) -> Response:
    """Download the JSON that came with the job, as its worker."""
    gateway = gateway_of(request)
    with gateway.database.read() as connection:
        job = processing_job(connection, job_id, key)
    if not job["meta_json_required"]:
        raise _not_required("meta_json")
    path = gateway.files.metadata(job["id"])
    return _file(path, "meta.json", "application/json", "META_JSON_GONE", there=job["meta_json_uploaded"])


def _file(path: Path, name: str, media: str, code: str, *, there: bool) -> Response:
    if not there or not path.is_file():
        raise ApiError(410, code, "The file is not on the server any more; end the job with the state error.")
    return FileResponse(path, media_type=media, filename=name)
