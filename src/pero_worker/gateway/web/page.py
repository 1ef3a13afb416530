"""A page: its scan with the lines drawn on it, its text, and what another engine made of it."""

from __future__ import annotations

from pathlib import PurePosixPath
from typing import Any
from urllib.parse import quote
from uuid import UUID

from fastapi import APIRouter
from sqlalchemy import RowMapping
from starlette.responses import Response

from pero_worker.errors import PageError
from pero_worker.formats import PageFormat, installed_formats, pagexml
from pero_worker.gateway.core import Gateway
from pero_worker.gateway.errors import ApiError
from pero_worker.gateway.names import storable
from pero_worker.gateway.outcomes import page_content
from pero_worker.gateway.states import OPEN_PAGES, PageState
from pero_worker.gateway.store.engines import engine_by_id
from pero_worker.gateway.store.events import last_event
from pero_worker.gateway.store.jobs import find_page
from pero_worker.gateway.store.listing import neighbours, same_scans
from pero_worker.gateway.web.again import other_engines
from pero_worker.gateway.web.jobs import job_of
from pero_worker.gateway.web.lines import pairs, shown_lines, worst_first
from pero_worker.gateway.web.render import HEADERS, show
from pero_worker.gateway.web.scans import levels
from pero_worker.gateway.web.visit import Reader, Visit
from pero_worker.page import Page

router = APIRouter(prefix="/web/jobs", include_in_schema=False)
_OTHERS = 10


@router.get("/{job_id}/pages/{name}")
def get_page(visit: Reader, job_id: UUID, name: str, beside: str = "", order: str = "", was: str = "") -> Response:
    """Shows a page; `beside` is the id of another page that was read from the same scan."""
    gateway = visit.gateway
    with gateway.database.read() as connection:
        job = job_of(connection, job_id, visit)
        page = find_page(connection, job["id"], name) if storable(name) else None
        if page is None:
            raise ApiError(404, "IMAGE_NOT_FOUND_FOR_JOB", visit.words("error.no_page"))
        if visit.wants_part:
            return _news(page, was)
        before, after = neighbours(connection, page)
        since = last_event(connection)
        owner = None if visit.is_operator else job["owner"]
        others = same_scans(connection, page, owner, _OTHERS) if page["state"] == PageState.DONE else []
        again = other_engines(connection, page) if visit.may_write and page["state"] not in OPEN_PAGES else []
        engine = engine_by_id(connection, page["engine"]) if page["engine"] else None
    record, fault = _record(gateway, job, page)
    kept = page["image_uploaded"] and not job["files_gone"]
    values: dict[str, Any] = {
        "job": job,
        "page": page,
        "again": again if kept else [],
        "engine": engine,
        "since": since,
        "before": before,
        "after": after,
        "others": others,
        "record": record,
        "fault": fault,
        "is_open": page["state"] in OPEN_PAGES,
        "worst": order == "worst",
        "scan": _scan(job, page, record) if kept else None,
        "downloads": _downloads(job, page) if record else [],
    }
    other = next((one for one in others if one["id"] == beside), None)
    return show(visit, "page.html", **values, **_texts(visit, record, other, order == "worst"))


def _news(page: RowMapping, was: str) -> Response:
    """Makes htmx reload the page if its state has changed since."""
    return Response(status_code=204, headers={**HEADERS, **({"HX-Refresh": "true"} if page["state"] != was else {})})


def _record(gateway: Gateway, job: RowMapping, page: RowMapping) -> tuple[Page | None, str]:
    """Returns what was read, or why it cannot be shown."""
    if page["state"] != PageState.DONE:
        return None, ""
    content = page_content(gateway, job, page, "page")
    if content is None:
        return None, "page.gone"
    try:
        return pagexml.read(content), ""
    except PageError:
        return None, "page.unreadable"


def _texts(visit: Visit, record: Page | None, other: RowMapping | None, worst: bool) -> dict[str, Any]:
    lines = shown_lines(record) if record else []
    if worst:
        lines = worst_first(lines)
    more = sum(1 for _ in record.lines()) - len(lines) if record else 0
    values: dict[str, Any] = {
        "lines": lines,
        "more_lines": more,
        "other": other,
        "beside": {},
        "alone": [],
        "other_fault": "",
    }
    if record is None or other is None:
        return values
    with visit.gateway.database.read() as connection:
        job = job_of(connection, UUID(other["job"]), visit)
    second, values["other_fault"] = _record(visit.gateway, job, other)
    if second is not None:
        made, values["alone"] = pairs(record, second)
        values["beside"] = {pair.left.number: pair for pair in made}
    return values


def _scan(job: RowMapping, page: RowMapping, record: Page | None) -> dict[str, Any]:
    """Returns addresses of the scan: `plain` for one image, `levels` for several sizes if the page's size is known."""
    path = f"/web/jobs/{job['id']}/pages/{quote(page['name'], safe='')}/scan"
    return {"plain": path, "levels": levels(job, page, record) if record else []}


def _downloads(job: RowMapping, page: RowMapping) -> list[dict[str, str]]:
    path = f"/v1/jobs/{job['id']}/pages/{quote(page['name'], safe='')}/results"
    stem = PurePosixPath(page["name"]).stem or page["name"]
    return [
        {"format": name, "href": f"{path}/{name}", "file": f"{stem}{form.suffix}"}
        for name, form in installed_formats().items()
        if isinstance(form, PageFormat)
    ]
