"""Runs several workers of a cluster on one machine, one process each, and replaces those that die."""

from __future__ import annotations

import logging
import multiprocessing
import os
import signal
import sys
import threading
from collections.abc import Sequence
from contextlib import suppress
from multiprocessing.process import BaseProcess
from multiprocessing.synchronize import Event

from pero_worker.clock import SystemClock
from pero_worker.cluster.access import ClusterAccess
from pero_worker.cluster.logs.stderr import log_to_stderr
from pero_worker.cluster.workers.footprint import keep_freed_memory
from pero_worker.cluster.workers.settings import END_SECONDS, ClusterWorkerSettings
from pero_worker.errors import ExitCode, PeroWorkerError
from pero_worker.processes import RECYCLED, Lifetime
from pero_worker.stores.location import StoreAccess
from pero_worker.supervisor import BackOff, Supervisor, spawn
from pero_worker.text import one_line

logger = logging.getLogger(__name__)
_POLL_SECONDS = 0.2
"""How often to check whether to stop, in seconds."""
_FORCE_AFTER_SECONDS = 4.0
"""After this time, a worker process without a page in hand is ended by force."""


def run_pool(
    settings: Sequence[ClusterWorkerSettings],
    access: ClusterAccess,
    store: StoreAccess,
    stop: threading.Event,
    hurry: threading.Event,
) -> int:
    """Runs workers until `stop`, until all of them were stopped remotely, or until one can never work, whose exit
    status is returned then. Once `hurry` is set, pages in hand are given back at once."""
    joined = multiprocessing.get_context("spawn").Event()
    hopeless: list[int] = []

    def start(place: int) -> BaseProcess:
        one = settings[place]
        return spawn(_run, one, access, store, joined, name=one.name, device=one.device)

    def on_death(place: int, status: int) -> bool:
        if status == ExitCode.OK:
            return False
        # Once a worker has joined, its device may come back, and is waited for.
        if not joined.is_set() and status in {ExitCode.PIPELINE, ExitCode.USAGE, ExitCode.UNAVAILABLE}:
            hopeless.append(status)
            return False
        logger.warning("worker %s ended (%d) and is started anew", settings[place].name, status)
        return True

    supervisor = Supervisor(len(settings), start=start, on_death=on_death, clock=SystemClock(), back_off=BackOff())
    try:
        while supervisor.running and not hopeless and not stop.is_set():
            supervisor.check()
            supervisor.wait(_POLL_SECONDS)
    finally:
        threading.Thread(target=_pass_on, args=(hurry, supervisor.process_ids), name="hurry", daemon=True).start()
        supervisor.stop(max(one.grace for one in settings) + 2 * END_SECONDS)
    return hopeless[0] if hopeless else ExitCode.OK


def _run(settings: ClusterWorkerSettings, access: ClusterAccess, store: StoreAccess, joined: Event) -> None:
    lifetime = Lifetime(grace=_FORCE_AFTER_SECONDS, with_parent=True)
    lifetime.begin()
    # Not imported by the parent process, which has no use for it and would hold the memory all the time.
    from pero_worker.cluster.workers.worker import check_worker, run_worker  # noqa: PLC0415

    keep_freed_memory()
    log_to_stderr(settings.log_level)

    def begin() -> None:
        joined.set()
        _print(f"worker {settings.name} has joined the cluster at {', '.join(access.zookeeper.servers)}")

    try:
        check_worker(settings)
        again = run_worker(settings, access, store, lifetime, begin)
    except PeroWorkerError as error:
        _print(f"pero-worker: {settings.name}: {error}")
        raise SystemExit(error.exit_code) from error
    raise SystemExit(RECYCLED if again else ExitCode.OK)


def _pass_on(hurry: threading.Event, processes: Sequence[int]) -> None:
    """Asks the worker processes, which have been asked once, to stop again."""
    hurry.wait()
    for process in processes:
        with suppress(ProcessLookupError):
            os.kill(process, signal.SIGTERM)


def _print(text: str) -> None:
    print(one_line(text), file=sys.stderr, flush=True)  # noqa: T201 - to whoever started the worker
