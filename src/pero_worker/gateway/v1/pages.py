"""v1: single pages and their results."""

from __future__ import annotations

import gzip
import hashlib
import io
from collections.abc import Sequence
from contextlib import ExitStack
from typing import Annotated, Any
from urllib.parse import quote
from uuid import UUID

from fastapi import APIRouter, Depends, Path, Query, Request
from PIL import Image as Pillow
from sqlalchemy import Connection, RowMapping, select, tuple_
from starlette.background import BackgroundTask
from starlette.responses import FileResponse, Response

import pero_worker
from pero_worker.clock import SystemClock
from pero_worker.errors import PageError
from pero_worker.formats import PageFormat, installed_formats, pagexml
from pero_worker.gateway.auth import gateway_of, require
from pero_worker.gateway.core import Gateway
from pero_worker.gateway.errors import ApiError, invalid
from pero_worker.gateway.keys import Key, Role
from pero_worker.gateway.names import storable
from pero_worker.gateway.outcomes import page_content
from pero_worker.gateway.searchable import write_pdf
from pero_worker.gateway.states import Backend, PageState
from pero_worker.gateway.store.closing import cancel_job, retry_pages
from pero_worker.gateway.store.engines import engine_by_id
from pero_worker.gateway.store.idempotency import once
from pero_worker.gateway.store.jobs import find_page
from pero_worker.gateway.store.retention import expire_job
from pero_worker.gateway.store.schema import pages, results
from pero_worker.gateway.traces import note_page
from pero_worker.gateway.v1.access import allowed_job, no_image
from pero_worker.gateway.v1.models import PDF, Retry
from pero_worker.gateway.v1.replies import cost_data, date, ok
from pero_worker.inputs.documents import read_page
from pero_worker.jobs.costs import Prices, cost_of, use_of

router = APIRouter(prefix="/v1", tags=["pages"])
Reader = Annotated[Key, Depends(require(Role.READONLY, Role.USER))]


def _kinds(schema: dict[str, Any]) -> None:
    named = [name for name, form in installed_formats().items() if isinstance(form, PageFormat)]
    schema["enum"] = sorted({*named, PDF})


Kind = Annotated[str, Path(json_schema_extra=_kinds)]
User = Annotated[Key, Depends(require(Role.USER))]
_XML = frozenset({"page", "alto", "hocr"})
_NOT_YET = frozenset({PageState.CREATED, PageState.WAITING, PageState.PROCESSING})


@router.get("/jobs/{job_id}/pages")
def get_pages(
    request: Request,
    key: Reader,
    job_id: UUID,
    state: PageState | None = None,
    limit: Annotated[int, Query(ge=1, le=1000)] = 100,
    cursor: Annotated[str | None, Query(pattern="^-?[0-9]{1,10}[.][0-9]{1,18}$")] = None,
) -> Response:
    """List a job's pages in order, with what became of each."""
    query = select(pages).order_by(pages.c.position, pages.c.number).limit(limit + 1)
    if state is not None:
        query = query.where(pages.c.state == state.value)
    if cursor is not None:
        position, number = cursor.split(".")
        query = query.where(tuple_(pages.c.position, pages.c.number) > (int(position), int(number)))
    with gateway_of(request).database.read() as connection:
        job = allowed_job(connection, job_id, key)
        engine = engine_by_id(connection, job["engine"]) if job["engine"] else None
        rows = connection.execute(query.where(pages.c.job == job["id"])).mappings().all()
        shown = rows[:limit]
        made = _results_of(connection, [row["id"] for row in shown])
    stages = engine["definition"].get("stages", ()) if engine else ()
    prices = gateway_of(request).settings.prices
    items = [_page(job["id"], row, made.get(row["id"], []), stages, prices) for row in shown]
    last = shown[-1] if len(rows) > limit else None
    following = f"{last['position']}.{last['number']}" if last else None
    return ok("PAGES_RETRIEVED", "The pages.", {"items": items, "next": following})


def _results_of(connection: Connection, ids: list[str]) -> dict[str, list[RowMapping]]:
    found: dict[str, list[RowMapping]] = {}
    for row in connection.execute(select(results).where(results.c.page.in_(ids))).mappings():
        found.setdefault(row["page"], []).append(row)
    return found


def _page(job: str, page: RowMapping, made: list[RowMapping], stages: Sequence[str], prices: Prices) -> dict[str, Any]:
    """`stages` are the engine's; of several, the gateway learns only afterwards which one a page was in."""
    stage = stages[0] if page["state"] == PageState.PROCESSING and len(stages) == 1 else page["stage"]
    error = {"class": page["failure"], "message": page["error"]} if page["failure"] else None
    return {
        "name": page["name"],
        "order": page["position"],
        "state": page["state"],
        "stage": stage,
        "attempts": page["attempts"],
        "quality": page["quality"],
        "worst_line": page["worst_line"],
        "lines": page["lines"],
        "engine": page["engine_text"],
        "worker": page["worker"],
        "seconds": page["seconds"],
        "worker_seconds": page["worker_seconds"],
        **cost_data(cost_of(use_of(page["worker_seconds"], page["energy_joules"]), prices), prices),
        "finished": date(page["finished"]),
        "error": error,
        "results": [
            {
                "format": row["format"],
                "href": f"/v1/jobs/{job}/pages/{quote(page['name'], safe='')}/results/{row['format']}",
                "bytes": row["bytes"],
                "sha256": row["sha256"],
            }
            for row in sorted(made, key=lambda row: str(row["format"]))
        ],
    }


@router.get("/jobs/{job_id}/pages/{name}/results/{kind}", response_class=FileResponse)
def get_page_result(request: Request, key: Reader, job_id: UUID, name: str, kind: Kind) -> Response:
    """Download a page's result in one format.

    Formats that the job did not ask for are made from the PAGE XML, and `pdf`, the scan with searchable text, is made
    for each request. The first page of a PDF or TIFF of several pages gives all of them.
    """
    gateway = gateway_of(request)
    form = installed_formats().get(kind)
    if not isinstance(form, PageFormat) and kind != PDF:
        raise invalid(("path", "kind"), "There is no such format.")
    with gateway.database.read() as connection:
        job = allowed_job(connection, job_id, key)
        page = _named(connection, job, name)
        row = (
            connection.execute(select(results).where(results.c.page == page["id"], results.c.format == kind))
            .mappings()
            .first()
        )
    _check_done(page)
    if not isinstance(form, PageFormat):
        return _pdf(gateway, job, page)
    media = "application/xml" if kind in _XML else {"json": "application/json"}.get(kind, "text/plain; charset=utf-8")
    note_page(page["id"])
    path = gateway.files.page_result(job["id"], page["id"], kind)
    if job["backend"] == Backend.FARM and row is not None and path.is_file():
        headers = {"ETag": f'"{row["sha256"]}"', "Cache-Control": "private, no-cache"}
        if f'"{row["sha256"]}"' in request.headers.get("if-none-match", ""):
            return Response(status_code=304, headers=headers)
        if "gzip" in request.headers.get("accept-encoding", "") and "range" not in request.headers:
            return _packed(path.read_bytes(), media, headers)
        return FileResponse(path, media_type=media, headers=headers)
    content = page_content(gateway, job, page, kind)
    if content is None:
        content = _made(gateway, job, page, form)
    headers = {"ETag": f'"{hashlib.sha256(content).hexdigest()}"', "Cache-Control": "private, no-cache"}
    return Response(content, headers=headers, media_type=media)


def _pdf(gateway: Gateway, job: RowMapping, page: RowMapping) -> Response:
    if not gateway.files.image(job["id"], page["document"] or page["id"]).is_file():
        raise ApiError(410, "IMAGE_GONE", "The scan is not on the server any more.")
    with ExitStack() as stack:
        path = stack.enter_context(gateway.files.unfinished())
        try:
            write_pdf(gateway, job, page, path)
        except PageError as error:
            raise ApiError(409, "PAGE_FAILED", f"The page cannot be told in this format: {error}") from error
        # The file is removed once it has been sent.
        sent = BackgroundTask(stack.pop_all().close)
    return FileResponse(path, media_type="application/pdf", headers={"Cache-Control": "private"}, background=sent)


def _packed(content: bytes, media: str, headers: dict[str, str]) -> Response:
    packed = gzip.compress(content, 1, mtime=0)
    return Response(
        packed, headers={**headers, "Content-Encoding": "gzip", "Vary": "Accept-Encoding"}, media_type=media
    )


def _made(gateway: Gateway, job: RowMapping, page: RowMapping, form: PageFormat) -> bytes:
    master = page_content(gateway, job, page, "page")
    if master is None:
        raise ApiError(410, "JOB_RESULT_GONE", "The result is not on the server any more.")
    try:
        creator = f"pero-worker {pero_worker.__version__}"
        return form.write(pagexml.read(master), created=SystemClock().now(), creator=creator)
    except PageError as error:
        raise ApiError(409, "PAGE_FAILED", f"The page cannot be told in this format: {error}") from error


def _named(connection: Connection, job: RowMapping, name: str) -> RowMapping:
    page = find_page(connection, job["id"], name) if storable(name) else None
    if page is None:
        raise no_image()
    return page


def _check_done(page: RowMapping) -> None:
    state = PageState(page["state"])
    details = {"state": state.value}
    if state in _NOT_YET:
        raise ApiError(425, "PAGE_NOT_READY", "The page is not done yet.", details=details)
    if state is PageState.EXPIRED:
        raise ApiError(410, "JOB_RESULT_GONE", "The result is not on the server any more.", details=details)
    if state is PageState.CANCELLED:
        raise ApiError(409, "JOB_CANCELLED", "The page was cancelled.", details=details)
    if state is PageState.FAILED:
        details |= {"class": page["failure"], "message": page["error"]}
        raise ApiError(409, "PAGE_FAILED", "The page could not be read.", details=details)


@router.get("/jobs/{job_id}/pages/{name}/image", response_class=Response)
def get_page_image(
    request: Request,
    key: Reader,
    job_id: UUID,
    name: str,
    width: Annotated[int, Query(ge=16, le=4000)] = 1200,
) -> Response:
    """Download the scan as an upright JPEG, at most `width` pixels wide; scaled, the results' coordinates fit it."""
    gateway = gateway_of(request)
    with gateway.database.read() as connection:
        job = allowed_job(connection, job_id, key)
        page = _named(connection, job, name)
    path = gateway.files.image(job["id"], page["document"] or page["id"])
    if not page["image_uploaded"] or not path.is_file():
        raise ApiError(410, "IMAGE_GONE", "The scan is not on the server.")
    try:
        pixels = read_page(path, page["frame"]).image
    except PageError as error:
        raise ApiError(409, "PAGE_FAILED", f"The scan cannot be shown: {error}") from error
    picture = Pillow.fromarray(pixels[:, :, ::-1])
    picture.thumbnail((width, 20 * width))
    stream = io.BytesIO()
    picture.save(stream, "JPEG", quality=85)
    return Response(stream.getvalue(), media_type="image/jpeg", headers={"Cache-Control": "private, max-age=3600"})


@router.post("/jobs/{job_id}/retry", status_code=202)
def post_retry(request: Request, key: User, job_id: UUID, which: Retry) -> Response:
    """Retry failed pages: those named, or all."""
    gateway = gateway_of(request)
    now, name = gateway.now(), request.headers.get("idempotency-key")
    digest = hashlib.sha256(f"retry {job_id} {which.model_dump_json()}".encode()).hexdigest()
    with gateway.database.write() as connection:
        job = allowed_job(connection, job_id, key, locked=True)

        def again() -> Response:
            if job["files_gone"]:
                raise ApiError(410, "IMAGE_GONE", "The scans are not on the server any more.")
            count = retry_pages(connection, job, which.pages, now)
            if not count:
                raise ApiError(409, "NOTHING_TO_RETRY", "None of these pages has failed.")
            return ok("JOB_RETRIED", "The pages are tried again.", {"pages": count}, status=202)

        return once(connection, key.id, name, digest, now, again)


@router.delete("/jobs/{job_id}", status_code=204)
def delete_job(request: Request, key: User, job_id: UUID) -> Response:
    """Cancel a job and remove its scans and results."""
    gateway = gateway_of(request)
    with gateway.database.write() as connection:
        job = allowed_job(connection, job_id, key, locked=True)
        cancel_job(connection, job, gateway.now())
        expire_job(connection, job, gateway.now())
    gateway.files.forget_job(job["id"])
    return Response(status_code=204)
