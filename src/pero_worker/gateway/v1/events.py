"""v1: events as they happen, sent as Server-Sent Events."""

from __future__ import annotations

import asyncio
import json
import logging
from collections import deque
from collections.abc import AsyncIterator, Iterable
from contextlib import suppress
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Depends, Query, Request
from sqlalchemy import RowMapping
from starlette.concurrency import run_in_threadpool
from starlette.responses import Response, StreamingResponse

from pero_worker.errors import TransientError
from pero_worker.gateway.auth import gateway_of, require
from pero_worker.gateway.core import Gateway
from pero_worker.gateway.keys import Key, Role
from pero_worker.gateway.store.events import events_after, first_event, last_event
from pero_worker.gateway.v1.access import allowed_job

logger = logging.getLogger(__name__)
router = APIRouter(prefix="/v1", tags=["events"])
Reader = Annotated[Key, Depends(require(Role.READONLY, Role.USER))]
_POLL_SECONDS = 0.5
_COMMENT_SECONDS = 15.0
_REMEMBERED = 5000
_AT_ONCE = 500


class EventHub:
    """Reads the event log once for all streams of this process, for as long as there are any."""

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway
        self._news = asyncio.Condition()
        self._recent: deque[RowMapping] = deque(maxlen=_REMEMBERED)
        self._last = 0
        self._streams = 0
        self._task: asyncio.Task[None] | None = None

    async def enter(self) -> int:
        """Counts a new stream in, and returns the number of the newest event."""
        self._streams += 1
        if self._task is None or self._task.done():
            self._last = await run_in_threadpool(self._newest)
            self._recent.clear()
            self._task = asyncio.create_task(self._follow())
        return self._last

    def leave(self) -> None:
        self._streams -= 1

    async def after(self, number: int) -> list[RowMapping]:
        """Returns events after `number`, at most a few hundred at once; waits up to 15 seconds if there are none."""
        if number >= self._last:
            with suppress(TimeoutError):
                async with asyncio.timeout(_COMMENT_SECONDS), self._news:
                    await self._news.wait_for(lambda: self._last > number or self._gateway.stopping.is_set())
        if number >= self._last:
            return []
        if self._recent and self._recent[0]["number"] <= number + 1:
            return [event for event in self._recent if event["number"] > number][:_AT_ONCE]
        return await run_in_threadpool(self._read, number)

    def _newest(self) -> int:
        with self._gateway.database.read() as connection:
            return last_event(connection)

    def _read(self, number: int) -> list[RowMapping]:
        with self._gateway.database.read() as connection:
            return list(events_after(connection, number, _AT_ONCE))

    async def _follow(self) -> None:
        while self._streams and not self._gateway.stopping.is_set():
            await asyncio.sleep(_POLL_SECONDS)
            try:
                found = await run_in_threadpool(self._read, self._last)
            except TransientError as error:
                logger.warning("events wait: %s", error)
                continue
            if found:
                self._recent.extend(found)
                async with self._news:
                    self._last = found[-1]["number"]
                    self._news.notify_all()
        async with self._news:
            self._news.notify_all()


@router.get("/events", response_class=StreamingResponse)
async def get_events(
    request: Request,
    key: Reader,
    since: Annotated[int | None, Query(ge=0, le=2**62)] = None,
    everything: Annotated[bool, Query(alias="all")] = False,
) -> Response:
    """Follow this key's jobs; with `all`, administrators follow the jobs of all keys, and the workers."""
    owner = None if everything and key.role is Role.ADMIN else key.id
    return await _stream(request, _since(request, since), owner=owner, job=None)


@router.get("/jobs/{job_id}/events", response_class=StreamingResponse)
async def get_job_events(
    request: Request, key: Reader, job_id: UUID, since: Annotated[int | None, Query(ge=0, le=2**62)] = None
) -> Response:
    """Follow what happens to a job."""
    gateway = gateway_of(request)

    def check() -> None:
        with gateway.database.read() as connection:
            allowed_job(connection, job_id, key)

    await run_in_threadpool(check)
    return await _stream(request, _since(request, since), owner=None, job=str(job_id))


def _since(request: Request, since: int | None) -> int | None:
    text = request.headers.get("last-event-id", "")
    return int(text) if text.isascii() and text.isdigit() and len(text) < 19 else since


async def _stream(request: Request, since: int | None, *, owner: str | None, job: str | None) -> Response:
    headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
    pieces = _pieces(gateway_of(request), request.app.state.hub, since, owner=owner, job=job)
    return StreamingResponse(pieces, media_type="text/event-stream", headers=headers)


async def _pieces(
    gateway: Gateway, hub: EventHub, since: int | None, *, owner: str | None, job: str | None
) -> AsyncIterator[bytes]:
    newest = await hub.enter()
    try:
        yield b"retry: 3000\n\n"
        number = newest if since is None else since
        if since is not None and (since > newest or await run_in_threadpool(_is_forgotten, gateway, since)):
            number = newest
            yield b"event: reset\nid: %d\ndata: {}\n\n" % newest
        while not gateway.stopping.is_set():
            found = await hub.after(number)
            if not found:
                yield b": \n\n"
                continue
            number = found[-1]["number"]
            wanted = _wanted(found, owner, job)
            if wanted:
                yield b"".join(_told(event) for event in wanted)
    finally:
        hub.leave()


def _is_forgotten(gateway: Gateway, since: int) -> bool:
    """Returns whether events after `since` are no longer kept."""
    with gateway.database.read() as connection:
        first = first_event(connection)
    return bool(first) and since < first - 1


def _wanted(found: Iterable[RowMapping], owner: str | None, job: str | None) -> list[RowMapping]:
    return [event for event in found if (job is None or event["job"] == job) and owner in {None, event["owner"]}]


def _told(event: RowMapping) -> bytes:
    data = json.dumps(event["data"])
    return f"id: {event['number']}\nevent: {event['kind']}\ndata: {data}\n\n".encode()
