"""Access rules of the legacy API: which key may use which request and page; and its plain replies."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

from sqlalchemy import Connection, RowMapping
from starlette.requests import Request
from starlette.responses import Response

from pero_worker.gateway.auth import gateway_of
from pero_worker.gateway.errors import ApiError
from pero_worker.gateway.keys import MAX_KEY_LENGTH, Key, Role
from pero_worker.gateway.names import storable
from pero_worker.gateway.store.jobs import find_job, find_page

_UUID = re.compile(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")
_READERS = frozenset(Role)
_WRITERS = _READERS - {Role.READONLY}
_WORKERS = frozenset({Role.WORKER, Role.ADMIN})


def success(**values: object) -> Response:
    return reply(200, {"status": "success", **values})


def reply(status: int, body: Mapping[str, Any]) -> Response:
    return Response(json.dumps(body).encode(), status, media_type="application/json")


def reader(request: Request) -> Key:
    """Returns the key if it may look at its requests."""
    return _key(request, _READERS)


def writer(request: Request) -> Key:
    """Returns the key if it may create requests."""
    return _key(request, _WRITERS)


def super_user(request: Request) -> Key:
    """Returns the key if it may process requests."""
    return _key(request, _WORKERS)


def _key(request: Request, roles: frozenset[Role]) -> Key:
    gateway, text = gateway_of(request), request.headers.get("api-key", "")
    if not text:
        raise ApiError(401, "API_KEY_MISSING", "No API key was found in the header api-key.")
    key = gateway.key_of(text) if len(text) <= MAX_KEY_LENGTH else None
    if key is None or key.role not in roles or not key.counts_at(gateway.now()):
        message = "This API key either does not exist or does not have necessary permissions."
        raise ApiError(401, "API_KEY_INVALID", message)
    request.state.rate = gateway.limiter.take(key, gateway.now())
    return key


def own_request(connection: Connection, key: Key, name: str, *, locked: bool = False) -> RowMapping:
    """Returns the request; raises `ApiError` 404 if it does not exist, and 401 if it belongs to another key."""
    job = find_job(connection, name.lower(), locked=locked) if _UUID.fullmatch(name) else None
    if job is None:
        shown = name if _UUID.fullmatch(name) else "with this id"
        raise ApiError(404, "JOB_NOT_FOUND", f"Request {shown} does not exist.")
    if job["owner"] != key.id:
        raise ApiError(401, "API_KEY_FORBIDDEN_FOR_JOB", f"Request {name} does not belong to this API key.")
    return job


def page_of(connection: Connection, job: RowMapping, name: str) -> RowMapping:
    """Returns the page; raises `ApiError` 404 if the request has no such page."""
    page = find_page(connection, job["id"], name) if storable(name) else None
    if page is None:
        raise ApiError(404, "IMAGE_NOT_FOUND_FOR_JOB", f"Page {name} does not exist.")
    return page
