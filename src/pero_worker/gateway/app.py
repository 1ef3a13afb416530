"""The web application: assembles the routes, and reports every error in the dialect of its path."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import Response

import pero_worker
from pero_worker.errors import OutputError, TransientError
from pero_worker.gateway import browse, health, metrics, web
from pero_worker.gateway.core import Gateway
from pero_worker.gateway.errors import ApiError
from pero_worker.gateway.legacy import user as legacy_user
from pero_worker.gateway.legacy import worker as legacy_worker
from pero_worker.gateway.methods import Heads, Methods
from pero_worker.gateway.middleware import BodyLimit, Paths, RequestLog
from pero_worker.gateway.patience import BodyPatience
from pero_worker.gateway.v1 import admin, engines, events, files, jobs, leases, pages, results, uploads, usage, webhooks
from pero_worker.gateway.v1.described import describe

logger = logging.getLogger(__name__)
_NO_DIALECT = frozenset({"/metrics", "/livez", "/readyz", "/version"})
"""Paths that only we have; their errors are reported as v1's are."""
_FOR_PROGRAMS = frozenset({"HTTP_ERROR", "UNAVAILABLE", "STORAGE_FULL", "INTERNAL_ERROR"})
"""Codes whose messages the web pages replace with words of their own."""


def make_app(gateway: Gateway) -> FastAPI:
    """Returns an ASGI application on top of an open gateway."""
    app = FastAPI(
        title="pero-worker gateway",
        version=pero_worker.__version__,
        openapi_url="/v1/openapi.json",
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        strict_content_type=False,
    )
    app.state.gateway = gateway
    app.state.hub = events.EventHub(gateway)
    # Routes are tried in this order: those used for every page come first.
    told = (jobs, files, pages, results, uploads, events, usage, webhooks, engines, admin)
    rooms = (leases, *told, health, metrics, browse, *web.ROOMS, legacy_user, legacy_worker)
    for room in rooms:
        app.include_router(room.router)
    app.state.methods = Methods(route for room in rooms for route in room.router.routes)
    app.openapi = describe(app)  # type: ignore[method-assign]
    app.add_exception_handler(web.SignInNeeded, web.sign_in_needed)
    app.add_exception_handler(ApiError, _api_error)
    app.add_exception_handler(HTTPException, _http_error)
    app.add_exception_handler(RequestValidationError, _validation_error)
    app.add_exception_handler(TransientError, _transient_error)
    app.add_exception_handler(OutputError, _output_error)
    app.add_exception_handler(Exception, _bug)
    app.add_middleware(BodyLimit, limit=gateway.settings.max_json)
    app.add_middleware(BodyPatience, seconds=gateway.settings.client_timeout)
    app.add_middleware(Heads)
    app.add_middleware(Paths)
    app.add_middleware(RequestLog, enabled=gateway.settings.request_log, traces=gateway.traces)
    return app


def error_reply(
    path: str,
    status: int,
    code: str,
    message: str,
    *,
    details: object = None,
    headers: Mapping[str, str] | None = None,
) -> Response:
    """Returns an error in the dialect that `path` belongs to, always as JSON."""
    if path.startswith("/v1") or path in _NO_DIALECT:
        body: dict[str, Any] = {"status": status, "code": code, "detail": message}
        if details is not None:
            body["details"] = details
    else:
        body = {"status": "failure", "message": message}
    content = json.dumps(body, default=str).encode()
    return Response(content, status, dict(headers or {}), "application/json")


def _told(request: Request, status: int, code: str, message: str, **more: Any) -> Response:
    """Returns an error in the form the client expects: HTML on our web pages, JSON elsewhere."""
    if request.url.path.startswith("/web"):
        return web.error_page(request, status, message if code not in _FOR_PROGRAMS else "")
    return error_reply(request.url.path, status, code, message, **more)


async def _api_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, ApiError)  # noqa: S101  (Starlette gives a handler what it was registered for)
    return _told(request, error.status, error.code, str(error), details=error.details, headers=error.headers)


async def _http_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)  # noqa: S101
    headers = dict(error.headers or {})
    if error.status_code == 405:
        headers["Allow"] = ", ".join(request.app.state.methods.of(request.url.path))
    return _told(request, error.status_code, "HTTP_ERROR", str(error.detail), headers=headers)


async def _validation_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)  # noqa: S101
    details = [
        {"loc": list(one["loc"]), "msg": str(one["msg"])[:500], "type": one["type"]} for one in error.errors()[:100]
    ]
    if request.url.path.startswith("/web"):  # An address that we never gave out.
        return web.error_page(request, 404, "")
    message = "The request did not pass validation."
    return _told(request, 422, "REQUEST_VALIDATION_ERROR", message, details=details)


async def _transient_error(request: Request, error: Exception) -> Response:
    logger.warning("not now: %s", error)
    return _told(request, 503, "UNAVAILABLE", "Please try again.", headers={"Retry-After": "2"})


async def _output_error(request: Request, error: Exception) -> Response:
    logger.error("%s", error)
    return _told(request, 507, "STORAGE_FULL", "The server cannot store anything at present.")


async def _bug(request: Request, error: Exception) -> Response:
    return _told(request, 500, "INTERNAL_ERROR", "An internal server error occurred.")
