"""`pero-worker watchdog replay`: replays a recorded day to see what other priorities would have done."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from pero_worker.errors import NoInputError, UsageError
from pero_worker.names import counted
from pero_worker.text import one_line
from pero_worker.watchdog.policy import PlanRule
from pero_worker.watchdog.reconstruct import scenario_from
from pero_worker.watchdog.scenario import Scenario, SimulationResult
from pero_worker.watchdog.simulate import Simulation
from pero_worker.watchdog.trace import read_trace

EPILOG = """
[bold]Examples[/bold]

  pero-worker watchdog replay trace.jsonl

  pero-worker watchdog replay trace.jsonl --priority ocr_fast=5 --priority ocr_old=-1

The trace is what `pero-worker watchdog --record FILE` wrote. The policy decides again, with simulated workers.
"""


def replay(
    trace: Annotated[Path, typer.Argument(help="File that watchdog --record wrote.", metavar="FILE")],
    priority: Annotated[
        list[str] | None, typer.Option(help="Changed priority; -1 disables the stage.", metavar="STAGE=N")
    ] = None,
    seed: Annotated[int, typer.Option(help="Random seed for the times that pages take.")] = 0,
) -> None:
    """Run a recorded trace through the policy, as it was and with other priorities."""
    frames = list(read_trace(trace))
    if not frames:
        raise NoInputError(f"{trace} holds no frame: nothing was recorded")
    scenario = scenario_from(frames)
    changes = dict(map(_change, priority or ()))
    runs = {"as it was": scenario}
    if changes:
        runs["with " + ", ".join(f"{name}={value}" for name, value in changes.items())] = _changed(scenario, changes)
    _show({title: Simulation(one, PlanRule(), seed=seed).run() for title, one in runs.items()}, len(scenario.pages))


def _change(said: str) -> tuple[str, int]:
    name, _, number = said.rpartition("=")
    if not name or not number.lstrip("-").isdigit() or int(number) < -1:
        raise UsageError(f"--priority {said}: write STAGE=N, where N is 0 or more, or -1 to disable the stage")
    return name, int(number)


def _changed(scenario: Scenario, changes: Mapping[str, int]) -> Scenario:
    known = {stage.name for stage in scenario.stages}
    for name in changes:
        if name not in known:
            raise UsageError(f"the trace has no stage {name!r}; it has: {', '.join(sorted(known))}")
    stages = [
        replace(stage, priority=max(changes[stage.name], 0), disabled=changes[stage.name] == -1)
        if stage.name in changes
        else stage
        for stage in scenario.stages
    ]
    return replace(scenario, stages=stages)


def _show(outcomes: Mapping[str, SimulationResult], pages: int) -> None:
    """Prints a row for each way through the stages, and the totals."""
    console = Console()
    for title, outcome in outcomes.items():
        table = Table(
            "stages", "pages", "mean s", "p95 s", "longest s", title=Text(title), box=None, title_justify="left"
        )
        for path in sorted({page.path for page in outcome.pages}):
            one = replace(outcome, pages=tuple(page for page in outcome.pages if page.path == path))
            figures = (one.mean, one.percentile(0.95), one.percentile(1.0))
            table.add_row(
                Text(one_line(" > ".join(path))), str(len(one.pages)), *(f"{figure:.1f}" for figure in figures)
            )
        console.print(table)
        left = f", {outcome.left} of {counted(pages, 'page')} not done" if outcome.left else ""
        loading = f"{outcome.loading:.1%} of the workers' time loading"
        console.print(f"{outcome.makespan:.0f} s, {outcome.moves} moves, {loading}{left}\n", markup=False)
