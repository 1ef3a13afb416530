"""`pero-worker workers`: lists the workers of a cluster and controls them."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Annotated

import typer

from pero_worker.cli.access import cluster_command
from pero_worker.cli.examples import examples
from pero_worker.cli.listing import print_list
from pero_worker.cli.say import say
from pero_worker.cluster.registry import workers as registered
from pero_worker.cluster.registry.stages import read_record
from pero_worker.cluster.settings import ConnectionOptions, cluster_access
from pero_worker.coordinators.session import session

app = typer.Typer(help="Workers: who they are, and what they should do.", no_args_is_help=True)
Worker = Annotated[str, typer.Argument(metavar="WORKER")]


@app.command("list", epilog=examples("pero-worker workers list", "pero-worker workers list --json"))
@cluster_command
def list_(
    connection: ConnectionOptions, as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False
) -> None:
    """List the workers with status, stage, host, pages done and last error."""
    with session(cluster_access(connection).zookeeper) as client:
        states = registered.read_workers(client)
    if as_json:
        typer.echo(json.dumps([asdict(state) for state in states], default=str))
        return
    print_list(
        ("worker", "status", "stages", "host", "pages", "last error"),
        [
            (
                state.name,
                state.status,
                ", ".join(state.stages),
                state.facts.get("host", ""),
                state.facts.get("pages", ""),
                state.last_error,
            )
            for state in states
        ],
        empty="there are no workers: start one with pero-worker worker",
    )


@app.command(epilog=examples("pero-worker workers stop gpu-room-1 gpu-room-2"))
@cluster_command
def stop(connection: ConnectionOptions, workers: Annotated[list[str], typer.Argument(metavar="WORKER...")]) -> None:
    """Make workers end after the page in hand."""
    with session(cluster_access(connection).zookeeper) as client:
        for worker in workers:
            registered.stop(client, worker)
            say(f"worker {worker} was told to end after the page in hand: see pero-worker workers list")


@app.command(epilog=examples("pero-worker workers remove gpu-room-1"))
@cluster_command
def remove(connection: ConnectionOptions, workers: Annotated[list[str], typer.Argument(metavar="WORKER...")]) -> None:
    """Forget workers that are gone."""
    with session(cluster_access(connection).zookeeper) as client:
        for worker in workers:
            registered.remove(client, worker)
            say(f"worker {worker} is forgotten")


@app.command(epilog=examples("pero-worker workers assign gpu-room-1 ocr"))
@cluster_command
def assign(
    connection: ConnectionOptions, worker: Worker, stage: Annotated[str, typer.Argument(metavar="STAGE")]
) -> None:
    """Assign a stage to a worker; a running watchdog may move it later."""
    with session(cluster_access(connection).zookeeper) as client:
        read_record(client, stage)
        registered.assign(client, worker, stage)
    say(f"worker {worker} was told to serve {stage}")
