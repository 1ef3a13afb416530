"""The plan: which worker should serve which stage. Pure: no I/O, no clock, no randomness.

A worker without work is sent where the most work waits per worker, workers on their way counted. A worker that has
work is taken away only for a stage that nobody serves and that has waited for long enough to be worth a change.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

UNKNOWN_SECONDS = 1.0
"""Assumed of a page of a stage that nobody has measured."""
PAGES_A_TURN = 10
SHORTEST_TURN = timedelta(seconds=10)
"""A worker serves a stage for the time of ten pages, and for ten seconds, before it is taken away (as upstream)."""


@dataclass(frozen=True, slots=True)
class StageView:
    """A stage as the policy sees it: `messages` wait in its queue."""

    name: str
    messages: int
    seconds: float | None = None
    priority: int = 0
    disabled: bool = False
    waiting_since: datetime | None = None


@dataclass(frozen=True, slots=True)
class WorkerView:
    """A worker that can be told something. `failed`: it could not load its stage; `sleeps`: it is one of the newest
    upstream's, has ended its turn with its queue, and begins another only when it is told."""

    name: str
    stage: str = ""
    busy: bool = False
    loading: bool = False
    failed: bool = False
    sleeps: bool = False
    unlock_time: datetime | None = None


@dataclass(frozen=True, slots=True)
class Move:
    worker: str
    stage: str
    reason: str


@dataclass(frozen=True, slots=True)
class Plan:
    """`waiting_since` holds the changes: a time when a stage begins to wait, None when it is served again."""

    moves: tuple[Move, ...]
    waiting_since: tuple[tuple[str, datetime | None], ...]


def plan(stages: Sequence[StageView], workers: Sequence[WorkerView], now: datetime) -> Plan:
    by_name = {stage.name: stage for stage in stages}
    serving = Counter(worker.stage for worker in workers if worker.stage and not worker.failed)
    refused = {(worker.stage, worker.name) for worker in workers if worker.failed}
    moves: list[Move] = []

    def score(stage: StageView) -> float:
        waiting = 0.0 if serving[stage.name] or not stage.waiting_since else _seconds(now - stage.waiting_since)
        return work(stage) / (serving[stage.name] + 1) + waiting * (stage.priority + 1)

    def send(worker: WorkerView, stage: StageView, reason: str) -> None:
        if not worker.failed:
            serving[worker.stage] -= 1
        serving[stage.name] += 1
        moves.append(Move(worker.name, stage.name, reason))

    for worker in sorted(workers, key=lambda worker: worker.name):
        if not _free(worker, by_name):
            continue
        candidates = [stage for stage in stages if work(stage) and (stage.name, worker.name) not in refused]
        if candidates:
            best = max(candidates, key=lambda stage: (score(stage), stage.name))
            send(worker, best, f"it is free; {best.messages} pages wait for {best.name}")
    if not moves:
        starving = [stage for stage in stages if work(stage) and not serving[stage.name] and stage.waiting_since]
        for stage in sorted(starving, key=score, reverse=True):
            if donor := _donor(workers, by_name, serving, now):
                send(donor, stage, f"nobody serves {stage.name}, {stage.messages} pages wait")
                break
    changes: list[tuple[str, datetime | None]] = []
    for stage in stages:
        waits = bool(work(stage)) and serving[stage.name] <= 0
        if waits and stage.waiting_since is None:
            changes.append((stage.name, now))
        elif not waits and stage.waiting_since is not None:
            changes.append((stage.name, None))
    return Plan(tuple(moves), tuple(changes))


def work(stage: StageView) -> float:
    """Seconds of one worker that wait in the queue."""
    return 0.0 if stage.disabled else stage.messages * max(stage.seconds or UNKNOWN_SECONDS, 1e-6)


def unlock_time(stage: StageView, now: datetime) -> datetime:
    """Until when a worker sent to `stage` now should stay there."""
    return now + timedelta(seconds=PAGES_A_TURN * (stage.seconds or UNKNOWN_SECONDS)) + SHORTEST_TURN


def _free(worker: WorkerView, stages: dict[str, StageView]) -> bool:
    if worker.loading or worker.busy:
        return False
    own = stages.get(worker.stage)
    return worker.failed or own is None or not work(own)


def _donor(
    workers: Sequence[WorkerView], stages: dict[str, StageView], serving: Counter[str], now: datetime
) -> WorkerView | None:
    """Of the workers whose turn is over, one from the stage that has the least work left for each of its workers."""
    ready = [
        worker
        for worker in workers
        if not worker.loading and worker.stage in stages and (worker.unlock_time is None or worker.unlock_time <= now)
    ]
    return min(
        ready,
        key=lambda worker: (work(stages[worker.stage]) / max(serving[worker.stage], 1), worker.name),
        default=None,
    )


def _seconds(span: timedelta) -> float:
    return max(span.total_seconds(), 0.0)
