"""Scans as the viewer shows them: in a few widths, made from one decoding and kept next to the scan."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import quote
from uuid import UUID

from fastapi import APIRouter, Query
from PIL import Image as Pillow
from sqlalchemy import RowMapping
from starlette.responses import FileResponse, Response

from pero_worker.errors import PageError
from pero_worker.gateway.errors import ApiError
from pero_worker.gateway.files import DataFolder
from pero_worker.gateway.names import storable
from pero_worker.gateway.store.jobs import find_page
from pero_worker.gateway.web.jobs import job_of
from pero_worker.gateway.web.visit import Reader
from pero_worker.inputs.documents import read_page
from pero_worker.page import Page

router = APIRouter(prefix="/web/jobs", include_in_schema=False)
WIDTHS = (800, 2000, 4000)
"""The widths in pixels, of which the viewer takes what it needs; a scan narrower than one of them keeps its own width
there."""
_QUALITY = 80
_MAX_HEIGHT = 12_000


_MAX_WAITING = 8
_turn, _waiting = threading.Lock(), threading.BoundedSemaphore(_MAX_WAITING)


@contextmanager
def _in_turn() -> Iterator[None]:
    """Lets one scan be decoded at a time: whoever wants the same one waits for it, and the machine is not overloaded.

    Raises `ApiError` 503 if too many wait.
    """
    if not _waiting.acquire(blocking=False):
        raise ApiError(503, "UNAVAILABLE", "Many scans are asked for.", headers={"Retry-After": "2"})
    try:
        with _turn:
            yield
    finally:
        _waiting.release()


def levels(job: RowMapping, page: RowMapping, record: Page) -> list[dict[str, Any]]:
    """Returns the addresses of the scan and their sizes in pixels."""
    path = f"/web/jobs/{job['id']}/pages/{quote(page['name'], safe='')}/scan"
    widths = {min(width, record.width): width for width in reversed(WIDTHS)}
    return [
        {"url": f"{path}?width={asked}", "width": width, "height": max(1, round(record.height * width / record.width))}
        for width, asked in sorted(widths.items())
    ]


@router.get("/{job_id}/pages/{name}/scan", response_class=FileResponse)
def get_scan(visit: Reader, job_id: UUID, name: str, width: Annotated[int, Query()] = WIDTHS[0]) -> Response:
    """Sends the upright scan as a JPEG no wider than `width`."""
    files = visit.gateway.files
    with visit.gateway.database.read() as connection:
        job = job_of(connection, job_id, visit)
        page = find_page(connection, job["id"], name) if storable(name) else None
    if page is None or width not in WIDTHS:
        raise ApiError(404, "IMAGE_NOT_FOUND_FOR_JOB", visit.words("error.no_page"))
    scan = files.image(job["id"], page["document"] or page["id"])
    if job["files_gone"] or not page["image_uploaded"] or not scan.is_file():
        raise ApiError(410, "IMAGE_GONE", visit.words("job.gone_more"))
    wanted = files.view(job["id"], page["id"], width)
    if not _is_fresh(wanted, scan):
        with _in_turn():
            if not _is_fresh(wanted, scan):
                _make(files, job["id"], page, scan)
    return FileResponse(wanted, media_type="image/jpeg", headers={"Cache-Control": "private, max-age=3600"})


def _is_fresh(view: Path, scan: Path) -> bool:
    """Returns whether the view was made from the present scan."""
    try:
        return view.stat().st_mtime_ns >= scan.stat().st_mtime_ns
    except FileNotFoundError:
        return False


def _make(files: DataFolder, job: str, page: RowMapping, scan: Path) -> None:
    """Makes all widths, largest first, each from the one before; raises `ApiError` if the scan cannot be shown."""
    try:
        pixels = read_page(scan, page["frame"]).image
    except PageError as error:
        raise ApiError(409, "PAGE_FAILED", f"The scan cannot be shown: {error}") from error
    picture = Pillow.fromarray(pixels[:, :, ::-1])
    for width in sorted(WIDTHS, reverse=True):
        picture.thumbnail((width, _MAX_HEIGHT), reducing_gap=2.0)
        with files.unfinished() as path:
            picture.save(path, "JPEG", quality=_QUALITY)
            path.replace(files.view(job, page["id"], width))
