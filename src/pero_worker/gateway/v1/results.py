"""v1: all results of a job, as a zip or as one PDF."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Depends, Query, Request
from sqlalchemy import RowMapping, select
from starlette.background import BackgroundTask
from starlette.responses import FileResponse, Response, StreamingResponse

from pero_worker.errors import PageError
from pero_worker.formats import PageFormat, TextLines, installed_formats, page_formats
from pero_worker.gateway.auth import gateway_of, require
from pero_worker.gateway.core import Gateway
from pero_worker.gateway.errors import ApiError, invalid
from pero_worker.gateway.keys import Key, Role
from pero_worker.gateway.searchable import JobPdf
from pero_worker.gateway.states import Backend, PageState, ProcessingState
from pero_worker.gateway.store.jobs import pages_of
from pero_worker.gateway.store.schema import results
from pero_worker.gateway.v1.access import allowed_job
from pero_worker.gateway.v1.models import PDF
from pero_worker.gateway.zipping import Wanted, Zipper
from pero_worker.jobs.combine import TEXT

router = APIRouter(prefix="/v1", tags=["results"])
Reader = Annotated[Key, Depends(require(Role.READONLY, Role.USER))]
Formats = Annotated[
    str | None,
    Query(
        max_length=200,
        pattern="^[a-z0-9_, -]+$",
        description="Names separated by commas; `pdf` alone returns one PDF of all pages instead of a zip.",
        examples=["alto,text"],
    ),
]
Combine = Annotated[
    bool, Query(description="Add one text of all pages, and one PDF if it is among the formats, named `all`.")
]
Lines = Annotated[
    TextLines, Query(description="Line ends in text: as on the page, or one line per paragraph without hyphenation.")
]


@router.get("/jobs/{job_id}/result", response_class=FileResponse)
def get_result(
    request: Request,
    key: Reader,
    job_id: UUID,
    formats: Formats = None,
    combine: Combine = False,
    text_lines: Lines = TextLines.KEEP,
    partial: bool = False,
) -> Response:
    """Download the results of all pages as a zip; with `partial`, of those that are done.

    What a job's worker uploaded is returned unchanged, except with `formats=pdf`.
    """
    gateway, names = gateway_of(request), _names(formats)
    if combine and names is not None and not {TEXT, PDF} & set(names):
        raise invalid(("query", "combine"), "Combining makes one text and one PDF: name text, pdf or both.")
    with gateway.database.read() as connection:
        job = allowed_job(connection, job_id, key)
        if not partial:
            _check_ready(job)
        pages = pages_of(connection, job["id"])
        stored = connection.execute(select(results.c.format).where(results.c.job == job["id"]).distinct()).scalars()
        made = sorted(stored)
    if any(page["state"] == PageState.EXPIRED for page in pages):
        raise _gone()
    if names == (PDF,):
        return _pdf(gateway, job, pages)
    if job["backend"] == Backend.LEASE:
        path = gateway.files.result(job["id"])
        if not path.is_file():
            raise _gone()
        return FileResponse(path, media_type="application/zip", filename=f"{job['id']}.zip")
    known = {name for name, form in installed_formats().items() if isinstance(form, PageFormat)}
    with ExitStack() as stack:
        wanted = Wanted(
            formats=page_formats([name for name in names or made if name in known]),
            lines=text_lines,
            combined=combine,
            pdf=_made_pdf(gateway, job, pages, stack) if PDF in (names or ()) else None,
        )
        zipper = Zipper(gateway.files, job["id"], pages, wanted, datetime.fromtimestamp(gateway.now(), UTC))
        sent = BackgroundTask(stack.pop_all().close)
    headers = {"Content-Disposition": f'attachment; filename="{job["id"]}.zip"'}
    return StreamingResponse(zipper.pieces(), media_type="application/zip", headers=headers, background=sent)


def _pdf(gateway: Gateway, job: RowMapping, pages: Sequence[RowMapping]) -> Response:
    with ExitStack() as stack:
        path = _made_pdf(gateway, job, pages, stack)
        sent = BackgroundTask(stack.pop_all().close)
    return FileResponse(path, media_type="application/pdf", filename=f"{job['id']}.pdf", background=sent)


def _made_pdf(gateway: Gateway, job: RowMapping, pages: Sequence[RowMapping], stack: ExitStack) -> Path:
    """Makes the job's PDF, which exists until `stack` is closed."""
    path = stack.enter_context(gateway.files.unfinished())
    try:
        if not JobPdf(gateway, job, pages).write(path):
            message = "Other jobs' PDFs are being made: please try again."
            raise ApiError(503, "PDF_LATER", message, headers={"Retry-After": "10"})
    except PageError as error:
        raise ApiError(409, "JOB_PDF_IMPOSSIBLE", f"The job cannot be told as a PDF: {error}") from error
    return path


def _check_ready(job: RowMapping) -> None:
    state = ProcessingState(job["state"])
    if state is ProcessingState.CANCELLED:
        raise ApiError(409, "JOB_CANCELLED", "The job was cancelled.")
    if state is ProcessingState.FAILED:
        raise ApiError(409, "JOB_FAILED", "The job has failed.")
    if state is not ProcessingState.DONE:
        raise ApiError(425, "JOB_RESULT_NOT_READY", "The job is not done yet.", details={"state": state.value})


def _gone() -> ApiError:
    return ApiError(410, "JOB_RESULT_GONE", "The result is not on the server any more.")


def _names(formats: str | None) -> tuple[str, ...] | None:
    """Returns the names in `formats`; None, for the formats made with the pages, if none were given."""
    if formats is None:
        return None
    names = tuple(dict.fromkeys(name.strip() for name in formats.split(",") if name.strip()))
    known = {name for name, form in installed_formats().items() if isinstance(form, PageFormat)} | {PDF}
    if not names or not known.issuperset(names):
        raise invalid(("query", "formats"), "There is no such format.")
    return names
