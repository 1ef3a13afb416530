"""Several workers of a cluster on one machine: a process each, replaced when one dies."""

from __future__ import annotations

import logging
import multiprocessing
import os
import signal
import sys
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from multiprocessing.connection import wait
from multiprocessing.process import BaseProcess
from multiprocessing.synchronize import Event

from pero_worker.cluster.access import ClusterAccess
from pero_worker.cluster.workers.worker import ClusterWorkerSettings, run_worker
from pero_worker.errors import ExitCode, PeroWorkerError
from pero_worker.local.worker_processes import single_threaded
from pero_worker.stores.location import StoreAccess
from pero_worker.worker.timelimit import RECYCLED

logger = logging.getLogger(__name__)
_POLL_SECONDS = 0.2
"""Seconds between two looks whether to stop."""
_FORCE_AFTER_SHARE = 0.8
"""Part of the grace after which a worker process ends by force."""
_FIRST_PAUSE_SECONDS = 0.5
_MAX_PAUSE_SECONDS = 30.0
_STABLE_AFTER_SECONDS = 20.0
"""Seconds: a process that lived so long was not broken from the beginning."""


@dataclass(slots=True)
class Member:
    """`begun` is when the process was started; without one it is started at `due`."""

    settings: ClusterWorkerSettings
    process: BaseProcess | None = None
    begun: float = 0.0
    due: float = 0.0
    pause: float = _FIRST_PAUSE_SECONDS

    def put_off(self, status: int, now: float) -> None:
        """A process that dies again and again is started ever later."""
        self.process = None
        if now - self.begun > _STABLE_AFTER_SECONDS:
            self.pause = _FIRST_PAUSE_SECONDS
        self.due = now if status == RECYCLED else now + self.pause
        self.pause = self.pause if status == RECYCLED else min(2 * self.pause, _MAX_PAUSE_SECONDS)


def run_pool(
    settings: Sequence[ClusterWorkerSettings], access: ClusterAccess, store: StoreAccess, stopped: threading.Event
) -> int:
    """Until `stopped`, until every worker was stopped from afar, or one cannot even begin; its exit status then."""
    context = multiprocessing.get_context("spawn")
    joined = context.Event()
    members = [Member(one) for one in settings]

    def start(member: Member) -> None:
        member.begun = time.monotonic()
        member.process = context.Process(target=_run, args=(member.settings, access, store, joined))
        with single_threaded(member.settings.device):
            member.process.start()

    running = list(members)
    while running and not stopped.is_set():
        for member in [m for m in running if m.process is None and m.due <= time.monotonic()]:
            start(member)
        wait([member.process.sentinel for member in running if member.process], timeout=_POLL_SECONDS)
        for member in [m for m in running if m.process and not m.process.is_alive()]:
            status = (member.process and member.process.exitcode) or 0
            if status == ExitCode.OK:
                running.remove(member)
            elif not joined.is_set() and status in {ExitCode.USAGE, ExitCode.UNAVAILABLE}:
                _end(members)
                return status
            else:
                logger.warning("worker %s ended (%d) and is started anew", member.settings.name, status)
                member.put_off(status, time.monotonic())
    _end(members)
    return ExitCode.OK


def _end(members: Sequence[Member]) -> None:
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


def exit_after(stopped: threading.Event, seconds: float = 4.0) -> None:
    """Ends the process so soon after `stopped`, whatever holds it up: a server that does not answer, or a model that is
    being loaded. What is in hand goes back by itself."""

    def end() -> None:
        stopped.wait()
        time.sleep(seconds)
        os._exit(ExitCode.OK)

    threading.Thread(target=end, daemon=True).start()


def log_to_stderr(level: int) -> None:
    """What is at least `level`; a log queue is told more."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setLevel(level)
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
    logging.getLogger().addHandler(handler)
    logging.getLogger("pero_worker").setLevel(min(level, logging.INFO))


def _run(settings: ClusterWorkerSettings, access: ClusterAccess, store: StoreAccess, joined: Event) -> None:
    stopped = threading.Event()
    stop_on_signals(stopped)
    threading.Thread(target=_stop_without_parent, args=(stopped,), daemon=True).start()
    # What is left of the grace is for the supervisor to notice.
    exit_after(stopped, max(_FORCE_AFTER_SHARE * settings.grace, 1.0))
    log_to_stderr(settings.log_level)

    def begin() -> None:
        joined.set()
        _say(f"worker {settings.name} has joined the cluster at {', '.join(access.zookeeper.servers)}")

    try:
        again = run_worker(settings, access, store, stopped, begin)
    except PeroWorkerError as error:
        _say(f"pero-worker: {settings.name}: {error}")
        raise SystemExit(error.exit_code) from error
    raise SystemExit(RECYCLED if again else ExitCode.OK)


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)  # noqa: T201 - to whoever started the worker


def _stop_without_parent(stopped: threading.Event) -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        wait([parent.sentinel])
        stopped.set()
