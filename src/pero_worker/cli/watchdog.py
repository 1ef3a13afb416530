"""`pero-worker watchdog`: plans which worker serves which stage."""

from __future__ import annotations

import logging
import socket
import threading
import uuid
from typing import Annotated

import typer

from pero_worker.clock import SystemClock
from pero_worker.cluster.access import ClusterAccess, open_farm
from pero_worker.cluster.pool import end_in_time, log_to_stderr, stop_on_signals
from pero_worker.cluster.settings import Given, cluster_access
from pero_worker.watchdog.mirror import Mirror
from pero_worker.watchdog.policy import plan, work
from pero_worker.watchdog.service import Watchdog

EPILOG = """
[bold]Examples[/bold]

  pero-worker watchdog -z zoo1.example.org

  pero-worker watchdog -z zoo1.example.org --dry-run

Start it on two machines: one leads, the other takes over when it goes.
"""


def watchdog(
    given: Given,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print one plan, change nothing.")] = False,
    verbose: Annotated[bool, typer.Option("-v", "--verbose", help="Say what happens.")] = False,
) -> None:
    """Assign workers to stages, until told to stop."""
    log_to_stderr(logging.INFO if verbose else logging.WARNING)
    run_watchdog(cluster_access(given), dry_run=dry_run)


def run_watchdog(access: ClusterAccess, *, dry_run: bool) -> None:
    """Until SIGTERM or Ctrl-C, or for one plan."""
    stopped = threading.Event()
    stop_on_signals(stopped)
    end_in_time(stopped)
    clock = SystemClock()
    with open_farm(access) as farm:

        def length(queue: str) -> int | None:
            state = farm.broker.state(queue)
            return None if state is None else state.messages

        service = Watchdog(farm.zookeeper, length, clock)
        if not dry_run:
            service.run(f"{socket.gethostname()}-{uuid.uuid4().hex[:8]}", stopped)
            return
        mirror = Mirror(farm.zookeeper, lambda: None)
        try:
            mirror.wait(10)
            seen = service.snapshot(mirror)
        finally:
            mirror.close()
        for stage in seen.stages:
            typer.echo(f"stage {stage.name}: {stage.messages} pages, {work(stage):.1f} s of work")
        for worker in seen.workers:
            typer.echo(f"worker {worker.name}: serves {worker.stage or 'nothing'}")
        decided = plan(seen.stages, seen.workers, clock.now())
        for move in decided.moves:
            typer.echo(f"would send {move.worker} to {move.stage}: {move.reason}")
        if not decided.moves:
            typer.echo("would change nothing")
