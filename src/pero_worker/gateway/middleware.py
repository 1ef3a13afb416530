"""Middleware around every request: makes its path canonical, gives it an id, and logs it."""

from __future__ import annotations

import contextvars
import logging
import re
import secrets
import time

from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from pero_worker.gateway.traces import PageTraces, noted

logger = logging.getLogger("pero_worker.gateway.requests")
trace: contextvars.ContextVar[str] = contextvars.ContextVar("trace", default="")
"""The id of the request being answered."""
_ID = re.compile(rb"[A-Za-z0-9._-]{1,64}")
_SLASHES = re.compile(r"/{2,}")


class Paths:
    """Makes paths canonical: some clients are configured with `.../api` or a trailing slash, and put another slash
    before the route."""

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
    """Gives a request an id, or keeps the client's if it is valid, and logs the outcome, but never its headers."""

    def __init__(self, app: ASGIApp, enabled: bool = True, traces: PageTraces | None = None) -> None:
        """`traces` records requests that bring or fetch pages."""
        self._app = app
        self._enabled = enabled
        self._traces = traces

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        wanted = next((value for name, value in scope["headers"] if name == b"x-request-id"), b"")
        name = wanted.decode() if _ID.fullmatch(wanted) else secrets.token_hex(8)
        token, pages = trace.set(name), noted.set([] if self._traces else None)
        scope.setdefault("state", {})
        begun, status, when = time.perf_counter(), 0, time.time()

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
            if self._traces:
                self._tell(self._traces, scope, name, status, when)
            trace.reset(token)
            noted.reset(pages)
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

    def _tell(self, traces: PageTraces, scope: Scope, name: str, status: int, begun: float) -> None:
        came = next((value for header, value in scope["headers"] if header == b"traceparent"), b"")
        for page in noted.get() or ():
            traces.asked(
                page,
                method=scope["method"],
                path=scope["path"][:500],
                status=status,
                trace=name,
                came=came,
                begun=begun,
                now=time.time(),
            )


class BodyLimit:
    """Limits JSON bodies, which are read whole, to `limit` bytes, whatever length the client states."""

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
    """Returns whether the route itself reads the body as it arrives."""
    kind = next((value for name, value in scope["headers"] if name == b"content-type"), b"").lower()
    return kind.startswith((b"multipart/", b"image/", b"application/offset+octet-stream"))
