"""Several workers of a cluster on one machine: a process each, replaced when one dies."""

from __future__ import annotations

import logging
import multiprocessing
import sys
import threading
from collections.abc import Sequence
from multiprocessing.process import BaseProcess
from multiprocessing.synchronize import Event

from pero_worker.clock import SystemClock
from pero_worker.cluster.access import ClusterAccess
from pero_worker.cluster.logs.stderr import log_to_stderr
from pero_worker.cluster.workers.footprint import keep_freed_memory
from pero_worker.cluster.workers.worker import ClusterWorkerSettings, run_worker
from pero_worker.errors import ExitCode, PeroWorkerError
from pero_worker.processes import RECYCLED, Lifetime
from pero_worker.stores.location import StoreAccess
from pero_worker.supervisor import BackOff, Supervisor, spawn

logger = logging.getLogger(__name__)
_POLL_SECONDS = 0.2
"""Seconds between two looks whether to stop."""
_FORCE_AFTER_SHARE = 0.8
"""Part of the grace after which a worker process ends by force; the rest is for the supervisor to notice."""
_MIN_FORCE_AFTER_SECONDS = 1.0
_KILL_AFTER_GRACE_SECONDS = 5.0


def run_pool(
    settings: Sequence[ClusterWorkerSettings], access: ClusterAccess, store: StoreAccess, stop: threading.Event
) -> int:
    """Until `stop`, until every worker was stopped from afar, or one cannot even begin; its exit status then."""
    joined = multiprocessing.get_context("spawn").Event()
    hopeless: list[int] = []

    def start(place: int) -> BaseProcess:
        one = settings[place]
        return spawn(_run, one, access, store, joined, name=one.name, device=one.device)

    def on_death(place: int, status: int) -> bool:
        if status == ExitCode.OK:
            return False
        if not joined.is_set() and status in {ExitCode.USAGE, ExitCode.UNAVAILABLE}:
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
        supervisor.stop(max(one.grace for one in settings) + _KILL_AFTER_GRACE_SECONDS)
    return hopeless[0] if hopeless else ExitCode.OK


def _run(settings: ClusterWorkerSettings, access: ClusterAccess, store: StoreAccess, joined: Event) -> None:
    lifetime = Lifetime(grace=max(_FORCE_AFTER_SHARE * settings.grace, _MIN_FORCE_AFTER_SECONDS), with_parent=True)
    lifetime.begin()
    keep_freed_memory()
    log_to_stderr(settings.log_level)

    def begin() -> None:
        joined.set()
        _print(f"worker {settings.name} has joined the cluster at {', '.join(access.zookeeper.servers)}")

    try:
        again = run_worker(settings, access, store, lifetime, begin)
    except PeroWorkerError as error:
        _print(f"pero-worker: {settings.name}: {error}")
        raise SystemExit(error.exit_code) from error
    raise SystemExit(RECYCLED if again else ExitCode.OK)


def _print(text: str) -> None:
    print(text, file=sys.stderr, flush=True)  # noqa: T201 - to whoever started the worker
