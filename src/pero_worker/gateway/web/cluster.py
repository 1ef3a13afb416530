"""The cluster page: what is wrong, who does what, how fast; dead letters for operators. On one machine, its workers."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from typing import Any

from fastapi import APIRouter
from starlette.concurrency import run_in_threadpool
from starlette.responses import JSONResponse, Response, StreamingResponse

from pero_worker.cluster.pages.dead import DeadLetter
from pero_worker.cluster.registry.moves import MAX_MOVES
from pero_worker.cluster.state import ClusterState
from pero_worker.cluster.telling import STAGE_HEADINGS, WORKER_HEADINGS, age, stage_rows, worker_rows
from pero_worker.errors import TransientError, UsageError
from pero_worker.gateway.core import Gateway
from pero_worker.gateway.errors import ApiError
from pero_worker.gateway.store.listing import pages_by_minute
from pero_worker.gateway.web.forms import read_form
from pero_worker.gateway.web.render import HEADERS, go_to, show
from pero_worker.gateway.web.visit import Anyone, Operator, Visit

router = APIRouter(prefix="/web/cluster", include_in_schema=False)
_SHOWN = 200
"""How many workers, and stages, are shown; any more are counted."""
_HOUR = 3600
_LOOK_SECONDS = 2.0
_REPEAT_LOOKS = 6
"""After how many looks the page is redrawn even if nothing has changed, because the times shown grow."""


@router.get("")
def get_cluster(visit: Anyone) -> Response:
    values = _seen(visit)
    if visit.wants_part:
        return show(visit, "parts/cluster.html", **values)
    letters, fault = _letters(visit)
    return show(visit, "cluster.html", **values, letters=letters, letters_fault=fault)


def _seen(visit: Visit) -> dict[str, Any]:
    state, when, fault = visit.gateway.watching.state()
    look = state.look if state else None
    problems = [(problem, age(problem.since, when)) for problem in state.problems] if state else []
    return {
        "is_cluster": visit.gateway.watching.overview.is_cluster,
        "fault": fault,
        "when": when,
        "problems": problems,
        "stage_headings": STAGE_HEADINGS,
        "stages": stage_rows(look)[:_SHOWN] if look else [],
        "worker_headings": WORKER_HEADINGS,
        "workers": worker_rows(look, when)[:_SHOWN] if look else [],
        "worker_count": len(look.workers) if look else 0,
        "leader": look.leader if look else None,
        "moves": [(move, age(move.when, when)) for move in reversed(look.moves[-MAX_MOVES:])] if look else [],
        "reads_here": bool(look and look.stages) or visit.gateway.watching.overview.is_cluster,
    }


def _letters(visit: Visit) -> tuple[Sequence[DeadLetter], str]:
    """Returns the dead letters, to operators only: they may hold other users' pages."""
    overview = visit.gateway.watching.overview
    if not visit.is_operator or not overview.is_cluster:
        return (), ""
    try:
        return overview.letters(), ""
    except TransientError as error:
        return (), str(error)


@router.get("/letters")
def get_letters(visit: Operator) -> Response:
    letters, fault = _letters(visit)
    return show(visit, "parts/letters.html", letters=letters, letters_fault=fault)


@router.post("/letters")
async def post_letters(visit: Operator) -> Response:
    """Replays or drops dead letters; the fields are the letters' numbers, and `replay` or `drop`."""
    form = await read_form(visit.request)
    numbers = {int(name) for name in form if name.isascii() and name.isdigit() and len(name) < 10}
    action = form.get("action", "")
    if action not in {"replay", "drop"}:
        raise ApiError(422, "REQUEST_VALIDATION_ERROR", visit.words("error.other"))

    def act() -> str:
        try:
            visit.gateway.watching.overview.settle(numbers, again=action == "replay")
        except (TransientError, UsageError) as error:
            return str(error)
        return ""

    fault = await run_in_threadpool(act) if numbers else visit.words("cluster.letters_choose")
    if not visit.wants_part:
        return go_to(visit, "/web/cluster#letters")
    letters, unseen = await run_in_threadpool(_letters, visit)
    return await run_in_threadpool(
        lambda: show(visit, "parts/letters.html", letters=letters, letters_fault=fault or unseen)
    )


@router.get("/rates")
def get_rates(visit: Anyone) -> Response:
    """Returns how many pages were done and failed in each minute of the last hour."""
    gateway = visit.gateway
    now = int(gateway.now()) // 60
    with gateway.database.read() as connection:
        rows = pages_by_minute(connection, (now - 59) * 60, sqlite=gateway.database.is_sqlite)
    found = {minute: (done, failed) for minute, done, failed in rows}
    minutes = range(now - 59, now + 1)
    return JSONResponse(
        {
            "times": [minute * 60 for minute in minutes],
            "done": [found.get(minute, (0, 0))[0] for minute in minutes],
            "failed": [found.get(minute, (0, 0))[1] for minute in minutes],
        },
        headers=HEADERS,
    )


@router.get("/events")
async def get_events(visit: Anyone) -> Response:
    """Sends an event whenever the page should be redrawn."""
    headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
    return StreamingResponse(_events(visit.gateway), media_type="text/event-stream", headers=headers)


async def _events(gateway: Gateway) -> AsyncIterator[bytes]:
    """Shares each look among all streams (`Watching`); a slow reader gets fewer events, and holds nothing up."""
    yield b"retry: 3000\n\n"
    last, quiet = b"", 0
    while not gateway.stopping.is_set():
        state, _, fault = await run_in_threadpool(gateway.watching.state)
        digest = hashlib.sha256(repr((_without_times(state), fault)).encode("utf-8", "replace")).digest()
        quiet = 0 if digest != last else quiet + 1
        if quiet % _REPEAT_LOOKS == 0:
            yield b"event: look\ndata: {}\n\n"
        last = digest
        await asyncio.sleep(_LOOK_SECONDS)


def _without_times(state: ClusterState | None) -> object:
    if state is None:
        return None
    look = state.look
    stages = tuple(replace(stage, last_page=None, mean_seconds=None) for stage in look.stages)
    return replace(look, stages=stages), state.problems
