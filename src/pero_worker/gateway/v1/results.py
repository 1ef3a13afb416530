"""v1: a job's result as one zip, made while it is sent."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import IO, Annotated, cast
from uuid import UUID

from fastapi import APIRouter, Depends, Query, Request
from sqlalchemy import RowMapping, select
from starlette.responses import FileResponse, Response, StreamingResponse

from pero_worker.formats import PageFormat, installed_formats
from pero_worker.gateway.auth import gateway_of, require
from pero_worker.gateway.bundle import stems_of
from pero_worker.gateway.errors import ApiError, invalid
from pero_worker.gateway.files import DataFolder
from pero_worker.gateway.keys import Key, Role
from pero_worker.gateway.states import Backend, PageState, ProcessingState
from pero_worker.gateway.store.jobs import pages_of
from pero_worker.gateway.store.schema import results
from pero_worker.gateway.traces import note_page
from pero_worker.gateway.v1.access import allowed_job
from pero_worker.gateway.v1.replies import date
from pero_worker.jobs.records import Fingerprint, PageRecord, PageStatus

router = APIRouter(prefix="/v1", tags=["results"])
Reader = Annotated[Key, Depends(require(Role.READONLY, Role.USER))]
_BUFFER = 262_144


@router.get("/jobs/{job_id}/result", response_class=FileResponse)
def get_result(
    request: Request,
    key: Reader,
    job_id: UUID,
    formats: Annotated[str | None, Query(max_length=200)] = None,
    partial: bool = False,
) -> Response:
    """The results of all pages as a zip; with `partial`, of those that are done."""
    gateway = gateway_of(request)
    with gateway.database.read() as connection:
        job = allowed_job(connection, job_id, key)
        if not partial:
            _check_ready(job)
        if job["backend"] == Backend.LEASE:
            path = gateway.files.result(job["id"])
            if not path.is_file():
                raise _gone()
            return FileResponse(path, media_type="application/zip", filename=f"{job['id']}.zip")
        pages = pages_of(connection, job["id"])
        rows = connection.execute(select(results.c.page, results.c.format).where(results.c.job == job["id"])).all()
    if any(page["state"] == PageState.EXPIRED for page in pages):
        raise _gone()
    for page in pages:
        note_page(page["id"])
    wanted = _wanted(formats)
    found = [(page, kind) for page, kind in rows if wanted is None or kind in wanted]
    headers = {"Content-Disposition": f'attachment; filename="{job["id"]}.zip"'}
    stream = zip_of(gateway.files, job, pages, found)
    return StreamingResponse(stream, media_type="application/zip", headers=headers)


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


def _wanted(formats: str | None) -> frozenset[str] | None:
    if formats is None:
        return None
    names = frozenset(name.strip() for name in formats.split(",") if name.strip())
    unknown = names - {name for name, form in installed_formats().items() if isinstance(form, PageFormat)}
    if unknown or not names:
        raise invalid(("query", "formats"), "There is no such format.")
    return names


class _Buffer:
    """What the zip's writer writes to; it cannot be sought in, so the zip is made from front to back."""

    def __init__(self) -> None:
        self.content = bytearray()

    def write(self, data: bytes) -> int:
        self.content += data
        return len(data)

    def flush(self) -> None: ...

    def take(self) -> bytes:
        taken = bytes(self.content)
        self.content.clear()
        return taken


def zip_of(
    files: DataFolder, job: RowMapping, pages: Sequence[RowMapping], found: Sequence[tuple[str, str]]
) -> Iterator[bytes]:
    """The zip in pieces: `STEM.page.xml` and so on of every page, and report.jsonl."""
    buffer, stems = _Buffer(), stems_of([page["name"] for page in pages])
    by_page: dict[str, list[str]] = {}
    for page_id, kind in found:
        by_page.setdefault(page_id, []).append(kind)
    # typeshed wants a file that can be sought in; zipfile does without.
    stream = cast(IO[bytes], buffer)
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        lines = []
        for page, stem in zip(pages, stems, strict=True):
            outputs = {}
            for kind in sorted(by_page.get(page["id"], ())):
                form = installed_formats().get(kind)
                path = files.page_result(job["id"], page["id"], kind)
                if form is None or not path.is_file():
                    continue
                outputs[kind] = f"{stem}{form.suffix}"
                archive.writestr(outputs[kind], path.read_bytes())
                if len(buffer.content) > _BUFFER:
                    yield buffer.take()
            lines.append(json.dumps(asdict(_record(page, outputs)), separators=(",", ":")))
        archive.writestr("report.jsonl", "".join(f"{line}\n" for line in lines))
    yield buffer.take()


def _record(page: RowMapping, outputs: dict[str, str]) -> PageRecord:
    done = page["state"] == PageState.DONE
    return PageRecord(
        page=page["name"],
        source=page["name"],
        page_index=0,
        status=PageStatus.DONE if done else PageStatus.FAILED,
        fingerprint=Fingerprint(
            size=page["image_bytes"] or 0,
            modified_ns=0,
            pipeline=page["engine"] or "",
            version=page["engine_text"] or "",
            dpi=0,
        ),
        finished=date(page["finished"]) or "",
        attempts=page["attempts"],
        engine=page["engine_text"] or "",
        worker=page["worker"] or "",
        seconds=page["seconds"] or {},
        worker_seconds=page["worker_seconds"],
        energy_joules=page["energy_joules"],
        lines=page["lines"] or 0,
        confidence_mean=None if page["quality"] is None else round(page["quality"] / 100, 4),
        confidence_worst=None if page["worst_line"] is None else round(page["worst_line"] / 100, 4),
        outputs=outputs,
        error_class="" if done else (page["failure"] or page["state"]),
        error=page["error"] or "",
        page_id=page["id"],
    )
