"""`pero-worker status`: what is wrong, what runs, how long still."""

from __future__ import annotations

import json
from contextlib import suppress
from dataclasses import asdict
from datetime import datetime, timedelta
from typing import Annotated

import typer
from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from pero_worker.clock import SystemClock
from pero_worker.cluster.settings import ConnectionOptions, cluster_access
from pero_worker.cluster.state import ClusterState, Problem, Severity
from pero_worker.cluster.status import ClusterWatcher
from pero_worker.errors import TransientError

EPILOG = """[bold]Examples[/bold]

  pero-worker status --watch

  pero-worker status --check          (for monitoring: one line; 0 well, 1 warning, 2 critical, 3 unknown)

  pero-worker status --json | jq .problems
"""
_LAST_COLUMN = 60
"""Characters of an error or a version that are shown at most."""
_COLOURS = {Severity.CRITICAL: "bold red", Severity.WARNING: "yellow"}


def status(
    given: ConnectionOptions,
    watch: Annotated[bool, typer.Option("-w", "--watch", help="Keep showing it, until Ctrl-C.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="For programs.")] = False,
    check: Annotated[
        bool, typer.Option("--check", help="One line, and the exit status that monitoring programs expect.")
    ] = False,
) -> None:
    """What is wrong and what to do, then stages with their queues, workers with what they do, and who leads."""
    clock = SystemClock()
    watcher = ClusterWatcher(cluster_access(given), clock.now)
    if check:
        _check(watcher)
    with watcher:
        if as_json:
            typer.echo(as_json_text(watcher.look()))
        elif watch:
            _watch(watcher)
        else:
            state = watcher.look()
            Console(highlight=False).print(shown(state, clock.now()))
            if state.look.away:
                raise typer.Exit(TransientError.exit_code)


def _watch(watcher: ClusterWatcher) -> None:
    """What was seen last stays on the screen while ZooKeeper is away."""
    clock = SystemClock()
    last = watcher.look()
    with (
        suppress(KeyboardInterrupt),
        Live(shown(last, clock.now()), console=Console(), refresh_per_second=4) as live,
    ):
        while True:
            clock.sleep(1)
            try:
                last = watcher.look()
                live.update(shown(last, clock.now()))
            except TransientError as error:
                live.update(Group(Text(f"ZooKeeper: {error}. Last seen:", "bold red"), shown(last, clock.now())))


def _check(watcher: ClusterWatcher) -> None:
    """Prints one line and ends with the exit status of the worst problem."""
    try:
        with watcher:
            state = watcher.look()
    except TransientError as error:
        typer.echo(f"{Severity.UNKNOWN.name}: {error}")
        raise typer.Exit(Severity.UNKNOWN) from None
    told = "; ".join(f"{problem.subject}: {problem.text}" for problem in state.problems)
    look = state.look
    there = sum(not worker.dead for worker in look.workers)
    waiting = sum(stage.messages or 0 for stage in look.stages)
    typer.echo(f"{state.severity.name}: {told or 'all is well'} | waiting={waiting} workers={there}")
    raise typer.Exit(state.severity)


def as_json_text(state: ClusterState) -> str:
    """One object: what was seen, the problems, and the word for the worst of them."""
    look = state.look
    stages = [{**asdict(stage), "rate": stage.rate, "seconds_left": stage.seconds_left} for stage in look.stages]
    problems = [{**asdict(problem), "severity": problem.severity.name} for problem in state.problems]
    found = {**asdict(look), "stages": stages, "problems": problems, "severity": state.severity.name}
    return json.dumps(found, default=_plain)


def _plain(value: object) -> str:
    return value.isoformat() if isinstance(value, datetime) else str(value)


def shown(state: ClusterState, now: datetime) -> Group:
    """Problems first; in a narrow terminal the last columns give way."""
    look = state.look
    stages = _table("stage", "waiting", "workers", "s/page", "pages/s", "left", "version")
    for stage in look.stages:
        waiting = "?" if stage.messages is None else str(stage.messages)
        left = "" if stage.seconds_left is None else str(timedelta(seconds=round(stage.seconds_left)))
        mean = "" if stage.mean_seconds is None else f"{stage.mean_seconds:.2f}"
        rate = "" if stage.rate is None else f"{stage.rate:.2f}"
        name = f"{stage.name} (disabled)" if stage.disabled else stage.name
        stages.add_row(*map(Text, (name, waiting, str(stage.workers), mean, rate, left, stage.version)))
    for name, waiting_there in look.outputs.items():
        stages.add_row(*map(Text, (name, str(waiting_there), "", "", "", "", "(queue)")))
    workers = _table("worker", "status", "since", "stage", "host", "pages", "failed", "last error")
    for worker in look.workers:
        host, pages = str(worker.facts.get("host", "")), str(worker.facts.get("pages", ""))
        failed = str(worker.failures or "")
        holds = ", ".join(worker.stages)
        row = (worker.name, worker.word, _age(worker.since, now), holds, host, pages, failed)
        workers.add_row(*map(Text, row), Text(worker.last_error))
    lead = f"watchdog: {look.leader}" if look.leader else "watchdog: none leads"
    return Group(
        *(_told(problem, now) for problem in state.problems), Text(), stages, Text(), workers, Text(), Text(lead)
    )


def _table(*columns: str) -> Table:
    """In a narrow terminal the last column gives way, so that names and numbers can be read."""
    table = Table(box=None, pad_edge=False)
    for column in columns[:-1]:
        table.add_column(column, no_wrap=True, overflow="ellipsis", ratio=None, min_width=len(column))
    table.add_column(columns[-1], no_wrap=True, overflow="ellipsis", max_width=_LAST_COLUMN, ratio=1)
    return table


def _told(problem: Problem, now: datetime) -> Text:
    since = f" (for {_age(problem.since, now)})" if problem.since else ""
    text = Text(f"{problem.severity.name} {problem.subject}: ", _COLOURS[problem.severity])
    return text.append(f"{problem.text}{since}. ", "default").append(f"To do: {problem.remedy}", "dim")


def _age(moment: datetime | None, now: datetime) -> str:
    """In the largest unit that says it: `12 s`, `3 min`, `5 h`, `2 d`."""
    if moment is None:
        return ""
    seconds = max(0, round((now - moment).total_seconds()))
    for size, unit in ((86_400, "d"), (3600, "h"), (60, "min")):
        if seconds >= 2 * size or (seconds >= size and unit == "d"):
            return f"{seconds // size} {unit}"
    return f"{seconds} s"
