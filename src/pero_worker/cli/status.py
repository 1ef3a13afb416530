"""`pero-worker status`: what runs, how long still, what failed."""

from __future__ import annotations

import json
from contextlib import suppress
from dataclasses import asdict
from datetime import timedelta
from typing import Annotated

import typer
from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from pero_worker.cli.access import cluster_command
from pero_worker.cli.late import command_app
from pero_worker.clock import SystemClock
from pero_worker.cluster.access import open_cluster
from pero_worker.cluster.settings import ConnectionOptions, cluster_access
from pero_worker.cluster.status import ClusterState, look
from pero_worker.errors import TransientError

EPILOG = "[bold]Examples[/bold]\n\n  pero-worker status --watch\n\n  pero-worker status --json | jq .stages"


def status(
    connection: ConnectionOptions,
    watch: Annotated[bool, typer.Option("-w", "--watch", help="Keep showing it, until Ctrl-C.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="For programs.")] = False,
) -> None:
    """Stages with their queues, workers with what they do, and who leads."""
    with open_cluster(cluster_access(connection)) as cluster:
        if as_json:
            typer.echo(as_json_text(look(cluster)))
        elif watch:
            with (
                suppress(KeyboardInterrupt),
                Live(shown(look(cluster)), console=Console(), refresh_per_second=4) as live,
            ):
                while True:
                    SystemClock().sleep(1)
                    try:
                        live.update(shown(look(cluster)))
                    except TransientError as error:
                        live.update(Text(f"waiting: {error}"))
        else:
            Console(highlight=False).print(shown(look(cluster)))


def as_json_text(state: ClusterState) -> str:
    stages = [{**asdict(stage), "rate": stage.rate, "seconds_left": stage.seconds_left} for stage in state.stages]
    return json.dumps({**asdict(state), "stages": stages}, default=str)


def shown(state: ClusterState) -> Group:
    stages = Table("stage", "waiting", "workers", "s/page", "pages/s", "left", "version", box=None, pad_edge=False)
    for stage in state.stages:
        waiting = "no queue" if stage.messages is None else str(stage.messages)
        left = "" if stage.seconds_left is None else str(timedelta(seconds=round(stage.seconds_left)))
        mean = "" if stage.mean_seconds is None else f"{stage.mean_seconds:.2f}"
        rate = "" if stage.rate is None else f"{stage.rate:.2f}"
        name = f"{stage.name} (disabled)" if stage.disabled else stage.name
        stages.add_row(*map(Text, (name, waiting, str(stage.workers), mean, rate, left, stage.version)))
    workers = Table("worker", "status", "stage", "host", "pages", "failed", "last error", box=None, pad_edge=False)
    for worker in state.workers:
        host, pages = str(worker.facts.get("host", "")), str(worker.facts.get("pages", ""))
        failed = str(worker.failures or "")
        holds = ", ".join(worker.stages)
        workers.add_row(*map(Text, (worker.name, worker.status, holds, host, pages, failed, worker.last_error)))
    lead = f"watchdog: {state.leader}" if state.leader else "watchdog: none leads (pero-worker watchdog)"
    dead = f"{state.dead_letters} unusable messages in pero.dead" if state.dead_letters else ""
    return Group(stages, Text(), workers, Text(), Text(lead), Text(dead))


app = command_app("status", cluster_command(status), EPILOG)
