"""`pero-worker watchdog`: plans which worker serves which stage."""

from __future__ import annotations

import logging
import socket
import uuid
from contextlib import ExitStack
from pathlib import Path
from typing import Annotated

import typer

from pero_worker.cli import replay
from pero_worker.cli.access import cluster_command
from pero_worker.cli.say import say
from pero_worker.clock import SystemClock
from pero_worker.cluster.access import ClusterAccess
from pero_worker.cluster.logs.stderr import log_to_stderr
from pero_worker.cluster.opening import open_cluster
from pero_worker.cluster.settings import ConnectionOptions, cluster_access
from pero_worker.names import counted
from pero_worker.processes import Lifetime
from pero_worker.watchdog.mirror import Mirror
from pero_worker.watchdog.policy import PlanRule
from pero_worker.watchdog.service import Watchdog
from pero_worker.watchdog.snapshot import Rule, Snapshot
from pero_worker.watchdog.trace import Recorder

EPILOG = """
[bold]Examples[/bold]

  pero-worker watchdog -z zoo1.example.org

  pero-worker watchdog -z zoo1.example.org --dry-run

  pero-worker watchdog --record trace.jsonl     (then: pero-worker watchdog replay trace.jsonl)

Start it on two machines: one leads, the other takes over if that one fails.
"""

_INTERVAL_SECONDS = 0.25
"""Seconds between two looks at queues whose workers report nothing new."""

app = typer.Typer(invoke_without_command=True, epilog=EPILOG)


@app.callback(epilog=EPILOG)
@cluster_command
def watchdog(
    connection: ConnectionOptions,
    context: typer.Context,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print one plan and its reasons without changing anything.")
    ] = False,
    record: Annotated[
        Path | None, typer.Option(help="Append observations and decisions to this file.", metavar="FILE")
    ] = None,
    verbose: Annotated[bool, typer.Option("-v", "--verbose", help="Log what happens.")] = False,
) -> None:
    """Assign workers to stages, until told to stop."""
    if context.invoked_subcommand is None:
        log_to_stderr(logging.INFO if verbose else logging.WARNING)
        run_watchdog(cluster_access(connection), dry_run=dry_run, record=record)


app.command("replay", epilog=replay.EPILOG)(replay.replay)


def run_watchdog(access: ClusterAccess, *, dry_run: bool, record: Path | None = None) -> None:
    """Runs until SIGTERM or Ctrl-C, or for a single plan."""
    lifetime = Lifetime()
    lifetime.begin()
    clock = SystemClock()
    rule = PlanRule(interval=_INTERVAL_SECONDS)
    with ExitStack() as stack:
        cluster = stack.enter_context(open_cluster(access))
        if dry_run:
            _show(
                _take_snapshot(Watchdog(cluster.zookeeper, cluster.broker.lengths, clock, rule), cluster.zookeeper),
                rule,
            )
            return
        name = f"{socket.gethostname()}-{uuid.uuid4().hex[:8]}"
        if record is None:
            service = Watchdog(cluster.zookeeper, cluster.broker.lengths, clock, rule)
        else:
            recorder = stack.enter_context(Recorder(record, clock))
            service = Watchdog(cluster.zookeeper, cluster.broker.lengths, clock, rule, record=recorder)
        service.run(name, lifetime.stop)


def _take_snapshot(service: Watchdog, zookeeper: object) -> Snapshot:
    mirror = Mirror(zookeeper, lambda: None)
    try:
        mirror.wait(10)
        return service.take_snapshot(mirror)
    finally:
        mirror.close()


def _show(seen: Snapshot, rule: Rule) -> None:
    for stage in seen.stages:
        why_not = "disabled" if stage.disabled else stage.quarantine
        waiting, load = counted(stage.waiting, "page"), stage.load_seconds("")
        pages = f"{waiting} waiting, {stage.seconds(''):.2f} s each, {load:.1f} s to load"
        say(f"stage {stage.name}: {pages}" + (f"; not served: {why_not}" if why_not else ""))
    for worker in seen.workers:
        doing = "loading" if worker.loading else "busy" if worker.busy else "idle"
        say(f"worker {worker.name}: {doing}, holds {', '.join(worker.holds) or 'nothing'}")
    moves = rule.decide(0.0, seen)
    for move in moves:
        say(f"would have {move.worker} hold {', '.join(move.stages) or 'nothing'}: {move.reason}")
    if not moves:
        say("would change nothing")
