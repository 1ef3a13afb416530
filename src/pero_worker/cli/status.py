"""`pero-worker status`: shows what is wrong, what is running, and how long it will take."""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict
from datetime import datetime
from typing import Annotated

import typer
from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from pero_worker.cli.access import cluster_command
from pero_worker.cli.late import command_app
from pero_worker.cli.say import say
from pero_worker.clock import SystemClock
from pero_worker.cluster.settings import ConnectionOptions, cluster_access
from pero_worker.cluster.state import ClusterState, Problem, Severity
from pero_worker.cluster.status import ClusterWatcher
from pero_worker.cluster.telling import STAGE_HEADINGS, WORKER_HEADINGS, lead, moves, since, stage_rows, worker_rows
from pero_worker.errors import TransientError
from pero_worker.messages import to_plain
from pero_worker.text import one_line

EPILOG = """[bold]Examples[/bold]

  pero-worker status --watch

  pero-worker status --check          (for monitoring: one line; 0 fine, 1 warning, 2 critical, 3 unknown)

  pero-worker status --json | jq .problems
"""
_WIDE = 100
"""Width of a terminal, in columns, from which everything is shown."""
_ALWAYS = frozenset({"stage", "waiting", "workers", "left", "worker", "status", "last error"})
"""Columns that are shown however narrow the terminal is."""
_MOVES_SHOWN = 3
"""Number of the watchdog's latest moves to show."""
_GAP = 2
"""Spaces between two columns."""
_MAX_NAME = 24
"""Characters of a name that are shown however narrow the terminal is."""
_COLOURS = {Severity.CRITICAL: "bold red", Severity.WARNING: "yellow"}


def status(
    connection: ConnectionOptions,
    watch: Annotated[bool, typer.Option("-w", "--watch", help="Keep the display updated until Ctrl-C.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    check: Annotated[
        bool, typer.Option("--check", help="Print one line, with the exit status that monitoring programs expect.")
    ] = False,
) -> None:
    """Show problems with their remedies, then stages and queues, workers and what they do, and who leads."""
    clock = SystemClock()
    watcher = ClusterWatcher(cluster_access(connection), clock.now)
    if check:
        _check(watcher)
    with watcher:
        if as_json:
            typer.echo(as_json_text(watcher.look()))
        elif watch:
            _watch(watcher)
        else:
            state = watcher.look()
            console = Console(highlight=False)
            console.print(shown(state, clock.now(), console.width))
            if state.look.away:
                raise typer.Exit(TransientError.exit_code)


def _watch(watcher: ClusterWatcher) -> None:
    """Keeps showing the state; the last one stays on the screen while ZooKeeper is away."""
    clock = SystemClock()
    console = Console()
    last = watcher.look()
    with (
        suppress(KeyboardInterrupt),
        Live(shown(last, clock.now(), console.width), console=console, refresh_per_second=4) as live,
    ):
        while True:
            clock.sleep(1)
            try:
                last = watcher.look()
                live.update(shown(last, clock.now(), console.width))
            except TransientError as error:
                live.update(
                    Group(
                        Text(f"{one_line(str(error))}. Last seen:", "bold red"), shown(last, clock.now(), console.width)
                    )
                )


def _check(watcher: ClusterWatcher) -> None:
    """Prints one line and ends with the exit status of the worst problem."""
    try:
        with watcher:
            state = watcher.look()
    except TransientError as error:
        say(f"{Severity.UNKNOWN.name}: {error}")
        raise typer.Exit(Severity.UNKNOWN) from None
    told = "; ".join(f"{problem.subject}: {problem.text}" for problem in state.problems)
    look = state.look
    there = sum(not worker.dead for worker in look.workers)
    waiting = sum(stage.messages or 0 for stage in look.stages)
    say(f"{state.severity.name}: {told or 'all is well'} | waiting={waiting} workers={there}")
    raise typer.Exit(state.severity)


def as_json_text(state: ClusterState) -> str:
    """Returns a JSON object: the state, the problems, and the severity of the worst of them."""
    look = state.look
    stages = [{**asdict(stage), "rate": stage.rate, "seconds_left": stage.seconds_left} for stage in look.stages]
    problems = [
        {
            "severity": problem.severity.name,
            "kind": problem.what.kind,
            "subject": problem.subject,
            "text": problem.text,
            "remedy": problem.remedy,
            "since": problem.since,
        }
        for problem in state.problems
    ]
    moves = [{**asdict(move), "why": [to_plain(one) for one in move.why]} for move in look.moves]
    found = {**asdict(look), "moves": moves, "stages": stages, "problems": problems, "severity": state.severity.name}
    return json.dumps(found, default=_plain)


def _plain(value: object) -> str:
    return value.isoformat() if isinstance(value, datetime) else str(value)


def shown(state: ClusterState, now: datetime, width: int = 120) -> Group:
    """Returns the text to show, problems first; in a narrow terminal, less important columns are left out."""
    look, wide = state.look, width >= _WIDE
    stages = _Listing({heading: wide or heading in _ALWAYS for heading in STAGE_HEADINGS})
    for row in stage_rows(look):
        stages.add(*row)
    workers = _Listing({heading: wide or heading in _ALWAYS for heading in WORKER_HEADINGS})
    for row in worker_rows(look, now):
        workers.add(*row)
    told = [Text(f"  {one_line(line)}", "dim") for line in moves(look, now, _MOVES_SHOWN)]
    problems = [_told(problem, now) for problem in state.problems]
    return Group(*problems, Text(), stages.table(width), Text(), workers.table(width), Text(), Text(lead(look)), *told)


class _Listing:
    """Rows under headings. Names are shown in full; the last column is shortened."""

    def __init__(self, columns: Mapping[str, bool]) -> None:
        """`columns` maps each heading to whether it is shown."""
        self._columns = columns
        self._rows: list[list[str]] = []

    def add(self, *cells: object) -> None:
        """Adds a row; takes a cell for each column, shown or not."""
        shown = zip(cells, self._columns.values(), strict=True)
        self._rows.append([str(cell) for cell, visible in shown if visible])

    def table(self, width: int) -> Table:
        headings = [heading for heading, visible in self._columns.items() if visible]
        table = Table(box=None, pad_edge=False)
        left = width
        for number, heading in enumerate(headings):
            longest = max([len(heading), *(len(row[number]) for row in self._rows)])
            # The last column gets the width that the others leave.
            last = number == len(headings) - 1
            room = max(left, len(heading)) if last else min(longest, _MAX_NAME)
            table.add_column(heading, no_wrap=True, overflow="ellipsis", width=min(longest, room))
            left -= room + _GAP
        for row in self._rows:
            table.add_row(*(Text(one_line(cell)) for cell in row))
        return table


def _told(problem: Problem, now: datetime) -> Text:
    text = Text(f"{problem.severity.name} {one_line(problem.subject)}: ", _COLOURS[problem.severity])
    return text.append(f"{one_line(problem.text)}{since(problem, now)}. ", "default").append(
        f"To do: {one_line(problem.remedy)}", "dim"
    )


app = command_app("status", cluster_command(status), EPILOG)
