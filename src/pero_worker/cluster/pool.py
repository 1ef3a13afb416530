"""Several workers of a cluster on one machine: a process each, replaced when one dies."""

from __future__ import annotations

import multiprocessing
import signal
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from multiprocessing.connection import wait
from multiprocessing.process import BaseProcess

from pero_worker.cluster.access import ClusterAccess
from pero_worker.cluster.worker import ClusterWorkerSettings, run_worker
from pero_worker.errors import ExitCode, PeroWorkerError
from pero_worker.local.farm import single_threaded
from pero_worker.models.location import StoreAccess

_LONGEST_PAUSE = 30.0


@dataclass(slots=True)
class _Member:
    settings: ClusterWorkerSettings
    process: BaseProcess | None = None
    pause: float = 0.5


def run_pool(
    settings: Sequence[ClusterWorkerSettings], access: ClusterAccess, store: StoreAccess, stopped: threading.Event
) -> None:
    """Until `stopped`, or until every worker was stopped from afar."""
    members = [_Member(one) for one in settings]
    for member in members:
        member.process = _start(member.settings, access, store)
    running = list(members)
    while running and not stopped.is_set():
        wait([member.process.sentinel for member in running if member.process], timeout=0.5)
        for member in [m for m in running if m.process and not m.process.is_alive()]:
            if member.process and member.process.exitcode == ExitCode.OK:
                running.remove(member)
            elif not stopped.wait(member.pause):
                member.pause = min(2 * member.pause, _LONGEST_PAUSE)
                member.process = _start(member.settings, access, store)
    for member in members:
        if member.process and member.process.is_alive():
            member.process.terminate()
    for member in members:
        if member.process:
            member.process.join(member.settings.grace + 5)
            member.process.kill()


def stop_on_signals(stopped: threading.Event) -> None:
    """SIGTERM and Ctrl-C end the program after the page in hand."""
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stopped.set())


def _start(settings: ClusterWorkerSettings, access: ClusterAccess, store: StoreAccess) -> BaseProcess:
    process = multiprocessing.get_context("spawn").Process(target=_member, args=(settings, access, store))
    with single_threaded(settings.device):
        process.start()
    return process


def _member(settings: ClusterWorkerSettings, access: ClusterAccess, store: StoreAccess) -> None:
    stopped = threading.Event()
    stop_on_signals(stopped)
    try:
        run_worker(settings, access, store, stopped)
    except PeroWorkerError as error:
        print(f"pero-worker: {settings.name}: {error}", flush=True)  # noqa: T201 - the process's own last word
        raise SystemExit(error.exit_code) from error
