"""Around every request: its path made canonical, its id, its line in the log."""

from __future__ import annotations

import contextvars
import logging
import re
import secrets
import time

from starlette.types import ASGIApp, Message, Receive, Scope, Send

logger = logging.getLogger("pero_worker.gateway.requests")
trace: contextvars.ContextVar[str] = contextvars.ContextVar("trace", default="")
"""The id of the request that is being answered."""
_ID = re.compile(rb"[A-Za-z0-9._-]{1,64}")
_SLASHES = re.compile(r"/{2,}")


class Paths:
    """Clients are configured with `.../api`, with a slash at the end, and put another in front of the route."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            path = _SLASHES.sub("/", scope["path"])
            if path == "/api" or path.startswith("/api/"):
                path = path[4:] or "/"
            if len(path) > 1:
                path = path.rstrip("/")
            scope = {**scope, "path": path, "raw_path": path.encode("utf-8", "surrogatepass")}
        await self._app(scope, receive, send)


class RequestLog:
    """Gives a request its id, takes a client's own if it is one, and logs what came of it: never its headers."""

    def __init__(self, app: ASGIApp, enabled: bool = True) -> None:
        self._app = app
        self._enabled = enabled

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        wanted = next((value for name, value in scope["headers"] if name == b"x-request-id"), b"")
        name = wanted.decode() if _ID.fullmatch(wanted) else secrets.token_hex(8)
        token = trace.set(name)
        begun, status = time.perf_counter(), 0

        async def sending(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [*message["headers"], (b"x-request-id", name.encode())]
            await send(message)

        try:
            await self._app(scope, receive, sending)
        finally:
            trace.reset(token)
            if self._enabled:
                logger.info(
                    "request",
                    extra={
                        "trace": name,
                        "method": scope["method"],
                        "path": scope["path"][:500],
                        "status": status,
                        "ms": round(1000 * (time.perf_counter() - begun), 2),
                        "client": (scope.get("client") or ("",))[0],
                    },
                )
