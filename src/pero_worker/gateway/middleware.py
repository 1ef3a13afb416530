"""Around every request: its path made canonical, its id, its line in the log."""

from __future__ import annotations

import contextvars
import logging
import re
import secrets
import time

from starlette.exceptions import HTTPException
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
        scope.setdefault("state", {})
        begun, status = time.perf_counter(), 0

        async def sending(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                rate = scope["state"].get("rate", {})
                told = [(header.lower().encode(), value.encode()) for header, value in rate.items()]
                message["headers"] = [*message["headers"], (b"x-request-id", name.encode()), *told]
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


class BodyLimit:
    """JSON bodies are read whole: they end at `limit` bytes, whatever their client says of their length."""

    def __init__(self, app: ASGIApp, limit: int) -> None:
        self._app = app
        self._limit = limit

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or _streams(scope):
            await self._app(scope, receive, send)
            return
        size = 0

        async def receiving() -> Message:
            nonlocal size
            if _length(scope) > self._limit:
                raise HTTPException(413, f"The body is larger than {self._limit:,} bytes.")
            message = await receive()
            size += len(message.get("body", b""))
            if size > self._limit:
                raise HTTPException(413, f"The body is larger than {self._limit:,} bytes.")
            return message

        await self._app(scope, receiving, send)


def _length(scope: Scope) -> int:
    text = next((value for name, value in scope["headers"] if name == b"content-length"), b"")
    return int(text) if re.fullmatch(rb"[0-9]{1,20}", text) else 0


def _streams(scope: Scope) -> bool:
    """Whether the route itself reads the body as it comes."""
    kind = next((value for name, value in scope["headers"] if name == b"content-type"), b"").lower()
    return kind.startswith((b"multipart/", b"image/", b"application/offset+octet-stream"))
