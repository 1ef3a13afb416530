"""Reads a page again with another engine, from the scan that the gateway kept, to compare the results."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from urllib.parse import quote
from uuid import UUID

from fastapi import APIRouter
from sqlalchemy import Connection, RowMapping
from starlette.concurrency import run_in_threadpool
from starlette.responses import Response

from pero_worker.errors import OutputError
from pero_worker.gateway.core import Gateway
from pero_worker.gateway.errors import ApiError
from pero_worker.gateway.keys import Key
from pero_worker.gateway.limits import check_quota
from pero_worker.gateway.middleware import trace
from pero_worker.gateway.names import storable
from pero_worker.gateway.states import Api, Backend
from pero_worker.gateway.store.creation import NewJob, NewPage, create_job
from pero_worker.gateway.store.engines import find_engines
from pero_worker.gateway.store.filling import accept_upload
from pero_worker.gateway.store.jobs import find_job, find_page, page_by_id
from pero_worker.gateway.store.spreading import spread_document
from pero_worker.gateway.traces import note_page
from pero_worker.gateway.v1.engines import natural
from pero_worker.gateway.web.forms import read_form
from pero_worker.gateway.web.jobs import job_of
from pero_worker.gateway.web.render import go_to
from pero_worker.gateway.web.visit import Visit, Writer

router = APIRouter(prefix="/web/jobs", include_in_schema=False)
_MAX_NAME = 200


def other_engines(connection: Connection, page: RowMapping) -> list[RowMapping]:
    """Returns the engines that could read the page's scan: the gateway's own, except the one that has read it."""
    found = find_engines(connection, active=True, backend=Backend.FARM.value)
    return sorted((one for one in found if one["id"] != page["engine"]), key=lambda one: natural(one["name"]))


@router.post("/{job_id}/pages/{name}/again")
async def read_again(visit: Writer, job_id: UUID, name: str) -> Response:
    """Creates a new job for the engine whose id is in the field `engine`; all pages of a document are read."""
    form = await read_form(visit.request)
    return await run_in_threadpool(_read_again, visit, job_id, name, form.get("engine", ""))


def _read_again(visit: Visit, job_id: UUID, name: str, engine_id: str) -> Response:
    gateway, key = visit.gateway, visit.key
    assert key is not None  # noqa: S101  (a writer has signed in)
    with gateway.database.write() as connection:
        job = job_of(connection, job_id, visit)
        page = find_page(connection, job["id"], name) if storable(name) else None
        if page is None:
            raise ApiError(404, "IMAGE_NOT_FOUND_FOR_JOB", visit.words("error.no_page"))
        engine = next((one for one in other_engines(connection, page) if one["id"] == engine_id), None)
        first = page_by_id(connection, page["document"]) if page["document"] else page
        if engine is None or first is None or not first["image_uploaded"] or job["files_gone"]:
            raise ApiError(409, "CANNOT_READ_AGAIN", visit.words("error.not_again"))
        frames = first["frames"] or 1
        check_quota(connection, key, frames, gateway.now())
        again = _make(connection, gateway, key, job, first, engine)
        if frames > 1:
            spread_document(connection, again, _only_page(connection, again, first["name"]), frames, gateway.now())
        fresh = _only_page(connection, again, first["name"])
        note_page(fresh["id"])
        _share(gateway.files.image(job["id"], first["id"]), gateway.files.image(again["id"], fresh["id"]))
        values = {"image_bytes": first["image_bytes"], "image_sha256": first["image_sha256"], "trace": trace.get()}
        accept_upload(connection, again, fresh, "image", gateway.now(), **values)
    return go_to(visit, f"/web/jobs/{again['id']}/pages/{quote(name, safe='')}?beside={page['id']}")


def _make(
    connection: Connection, gateway: Gateway, key: Key, job: RowMapping, page: RowMapping, engine: RowMapping
) -> RowMapping:
    name = f"{job['name'] or page['name']}, {engine['name']}"[:_MAX_NAME]
    new = NewJob(
        api=Api.V1,
        owner=key.id,
        engine=engine["id"],
        backend=Backend.FARM,
        pages=[NewPage(name=page["name"], position=page["position"])],
        trace=trace.get(),
        extras={"name": name, "formats": job["formats"], "priority": 0, "retention_days": job["retention_days"]},
    )
    made = find_job(connection, create_job(connection, new, gateway.now()))
    assert made is not None  # noqa: S101  (it was made a line above)
    return made


def _only_page(connection: Connection, job: RowMapping, name: str) -> RowMapping:
    page = find_page(connection, job["id"], name)
    assert page is not None  # noqa: S101  (the job was made with it)
    return page


def _share(scan: Path, target: Path) -> None:
    """Gives the scan a second name, or copies it if the file system cannot: a scan is never written to, only
    replaced."""
    try:
        target.parent.mkdir(exist_ok=True)
        try:
            os.link(scan, target)
        except FileNotFoundError:
            raise
        except OSError:
            shutil.copyfile(scan, target)
    except OSError as error:
        raise OutputError(f"cannot keep {target}: {error.strerror or error}") from error
