"""v1: engines, and the key of a request."""

from __future__ import annotations

import re
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Depends, Request
from starlette.responses import FileResponse, Response

from pero_worker.gateway.auth import gateway_of, require
from pero_worker.gateway.errors import ApiError
from pero_worker.gateway.keys import Key, Role
from pero_worker.gateway.store.engines import engine_by_id, find_engines
from pero_worker.gateway.v1.models import Label
from pero_worker.gateway.v1.replies import engine_data, key_data, ok

router = APIRouter(prefix="/v1", tags=["engines"])
Anyone = Annotated[Key, Depends(require(Role.READONLY, Role.USER, Role.WORKER))]
Worker = Annotated[Key, Depends(require(Role.WORKER))]


@router.get("/me")
def me(key: Anyone) -> Response:
    """Show the key of this request."""
    return ok("API_KEY_VALID", "The API key is valid.", key_data(key))


@router.get("/engines")
def get_engines(
    request: Request,
    key: Anyone,
    name: Label | None = None,
    version: Label | None = None,
    default: bool | None = None,
    active: bool | None = None,
    show_definition: bool = False,
) -> Response:
    """List engines in natural order. Only administrators see inactive ones and definitions."""
    admin = key.role is Role.ADMIN
    if active is not None and not admin:
        raise ApiError(403, "API_KEY_FORBIDDEN_FOR_ENGINE_ACTIVE", "Only administrators ask for `active`.")
    if show_definition and not admin:
        raise ApiError(403, "API_KEY_FORBIDDEN_FOR_ENGINE_DEFINITION", "Only administrators see definitions.")
    with gateway_of(request).database.read() as connection:
        found = find_engines(connection, name=name, version=version, default=default, active=active if admin else True)
    ordered = sorted(found, key=lambda engine: (natural(engine["name"]), natural(engine["version"])))
    data = [engine_data(engine, admin=admin, definition=show_definition) for engine in ordered]
    return ok("ENGINES_RETRIEVED", "The engines.", data, key=key)


def natural(text: str) -> tuple[tuple[int, int, str], ...]:
    """Returns a sort key that puts `v10` after `v9`."""
    return tuple(
        (0, int(piece), "") if piece.isdigit() else (1, 0, piece) for piece in re.findall(r"[0-9]{1,18}|[^0-9]+", text)
    )


@router.get("/engines/{engine_id}/files", response_class=FileResponse)
def get_files(request: Request, key: Worker, engine_id: UUID) -> Response:
    """Download the zip that an engine is run from."""
    gateway = gateway_of(request)
    with gateway.database.read() as connection:
        engine = engine_by_id(connection, str(engine_id))
    if engine is None or engine["files_updated"] is None:
        raise ApiError(404, "ENGINE_FILES_NOT_FOUND", "There are no files of this engine.")
    path = gateway.files.engine(engine["id"])
    if not path.is_file():
        raise ApiError(410, "ENGINE_FILES_GONE", "The engine's files are not on the server any more.")
    return FileResponse(path, media_type="application/zip", filename=f"{engine['id']}.zip")
