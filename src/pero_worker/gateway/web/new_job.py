"""The page for a new job: files are dropped here; its script creates the job and uploads them through version 1 of the
API."""

from __future__ import annotations

from uuid import UUID

from fastapi import APIRouter
from starlette.concurrency import run_in_threadpool
from starlette.responses import JSONResponse, Response

from pero_worker.formats import PageFormat, installed_formats
from pero_worker.gateway.endings import DEFAULT_FORMATS
from pero_worker.gateway.names import storable_line
from pero_worker.gateway.states import Backend, ProcessingState
from pero_worker.gateway.store.engines import find_engines
from pero_worker.gateway.store.filling import start_without
from pero_worker.gateway.store.listing import engine_figures
from pero_worker.gateway.v1.engines import natural
from pero_worker.gateway.web.forms import read_form
from pero_worker.gateway.web.jobs import job_of
from pero_worker.gateway.web.render import go_to, show
from pero_worker.gateway.web.visit import Visit, Writer
from pero_worker.inputs.naming import EXTENSIONS

router = APIRouter(prefix="/web/jobs", include_in_schema=False)
_SCRIPT_WORDS = (
    "added", "away", "bytes", "failed", "left", "no_files", "of", "passed_over", "ready", "refused", "remove",
    "too_many", "uploading", "waiting", "all_failed", "both",
)  # fmt: skip
"""The texts that the page's script shows."""


@router.get("/new")
def get_new_job(visit: Writer) -> Response:
    with visit.gateway.database.read() as connection:
        found = find_engines(connection, active=True)
        engines = [{"engine": one, "figures": engine_figures(connection, one["id"])} for one in found]
    engines.sort(key=lambda one: (not one["engine"]["default"], natural(one["engine"]["name"])))
    formats = [name for name, form in installed_formats().items() if isinstance(form, PageFormat)]
    words = {name: visit.words.texts[f"new.{name}"] for name in _SCRIPT_WORDS}
    return show(
        visit,
        "new_job.html",
        engines=engines,
        formats=formats,
        default_formats=DEFAULT_FORMATS,
        script_words=words,
        extensions=sorted(EXTENSIONS | {".pdf"}),
        max_pages=visit.gateway.settings.max_pages,
        max_upload=(visit.key.max_upload if visit.key else None) or visit.gateway.settings.max_upload,
    )


@router.post("/{job_id}/start")
async def start(visit: Writer, job_id: UUID) -> Response:
    """Starts the job without files that did not arrive; the form's fields are page names, with the reasons."""
    reasons = await read_form(visit.request)
    return await run_in_threadpool(
        _start, visit, job_id, {name: storable_line(why) or "" for name, why in reasons.items()}
    )


def _start(visit: Visit, job_id: UUID, reasons: dict[str, str]) -> Response:
    with visit.gateway.database.write() as connection:
        job = job_of(connection, job_id, visit, locked=True)
        if job["state"] == ProcessingState.NEW and job["backend"] == Backend.FARM and not job["document"]:
            start_without(connection, job, reasons, visit.gateway.now())
    if "application/json" in visit.request.headers.get("accept", ""):
        return JSONResponse({"href": f"/web/jobs/{job_id}"})
    return go_to(visit, f"/web/jobs/{job_id}")
