"""The state of a cluster in words for people: the same cells and phrases on a terminal and on a web page. Pure."""

from __future__ import annotations

from datetime import datetime, timedelta

from pero_worker.cluster.registry.workers import WorkerState
from pero_worker.cluster.state import Look, Problem

STAGE_HEADINGS = ("stage", "waiting", "workers", "s/page", "pages/s", "left", "version")
WORKER_HEADINGS = ("worker", "status", "since", "stage", "host", "pages", "failed", "last error")


def stage_rows(look: Look) -> list[tuple[str, ...]]:
    """Returns the cells under `STAGE_HEADINGS`: stages first, then other queues with messages in them."""
    rows: list[tuple[str, ...]] = []
    for stage in look.stages:
        left = "" if stage.seconds_left is None else str(timedelta(seconds=round(stage.seconds_left)))
        rows.append(
            (
                f"{stage.name} (disabled)" if stage.disabled else stage.name,
                "?" if stage.messages is None else str(stage.messages),
                str(stage.workers),
                "" if stage.mean_seconds is None else f"{stage.mean_seconds:.2f}",
                "" if stage.rate is None else f"{stage.rate:.2f}",
                left,
                stage.version,
            )
        )
    return rows + [(name, str(waiting), "", "", "", "", "") for name, waiting in look.outputs.items()]


def worker_rows(look: Look, now: datetime) -> list[tuple[str, ...]]:
    """Returns the cells under `WORKER_HEADINGS`."""
    return [
        (
            worker.name,
            worker.word,
            age(worker.since, now),
            ", ".join(worker.stages),
            str(worker.facts.get("host", "")),
            str(worker.facts.get("pages", "")),
            str(worker.failures or ""),
            _error(worker, now),
        )
        for worker in look.workers
    ]


def _error(worker: WorkerState, now: datetime) -> str:
    """Returns what keeps the worker from its work now, otherwise what failed last."""
    if worker.message:
        return worker.message.splitlines()[0]
    when, text = worker.failed
    return f"{age(when, now)} ago: {text}" if when and text else text


def lead(look: Look) -> str:
    """Returns a line that names the leading watchdog."""
    return f"watchdog: {look.leader}" if look.leader else "watchdog: none leads"


def moves(look: Look, now: datetime, number: int) -> list[str]:
    """Returns the watchdog's latest decisions and their reasons, the newest first: `12 s ago: w1 holds ocr: ...`."""
    return [
        f"{age(move.when, now)} ago: {move.worker} holds {', '.join(move.stages) or 'nothing'}: {move.reason}"
        for move in reversed(look.moves[-number:])
    ]


def since(problem: Problem, now: datetime) -> str:
    """Returns ` (for 3 min)`; '' if the start is unknown."""
    return f" (for {age(problem.since, now)})" if problem.since else ""


def age(moment: datetime | None, now: datetime) -> str:
    """Returns the age in the largest unit that expresses it: `12 s`, `3 min`, `5 h`, `2 d`."""
    if moment is None:
        return ""
    seconds = max(0, round((now - moment).total_seconds()))
    for size, unit in ((86_400, "d"), (3600, "h"), (60, "min")):
        if seconds >= 2 * size or (seconds >= size and unit == "d"):
            return f"{seconds // size} {unit}"
    return f"{seconds} s"
