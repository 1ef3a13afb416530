"""The code that runs inside a worker process."""

from __future__ import annotations

import faulthandler
import os
import sys
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path

from pero_worker.clock import SystemClock
from pero_worker.coordinators.null import NoSuspects
from pero_worker.errors import ExitCode, StageError
from pero_worker.local.pipe import RemoteBroker, RemoteCoordinator
from pero_worker.processes import RECYCLED, Lifetime, OnSignal
from pero_worker.stage import Stage
from pero_worker.worker.energy import MachineMeter
from pero_worker.worker.loop import Worker, WorkerSettings
from pero_worker.worker.payloads import ImageReader
from pero_worker.worker.steps import StageRunner


@dataclass(frozen=True, slots=True, kw_only=True)
class ProcessSettings:
    """Settings that a worker process is started with."""

    name: str
    """The worker's name."""
    device: str
    """The device, as engines take it: 'cpu', 'cuda:0'."""
    max_pixels: int
    """Pixels of the largest page; larger ones are refused before they are decoded."""
    max_attempts: int
    """Tries of a page in one stage before it is given up."""
    time_limit: float
    """Seconds that a page may take in a stage that does not set a limit; 0 = no limit."""
    log_file: Path
    """File for standard output and standard error."""
    rotate: bool = True
    """Whether pages that lie sideways or upside down are turned."""


class StagesOnDisk:
    """`ports.ModelStore` for stages whose files are already on this machine."""

    def directory(self, stage: Stage) -> Path:
        if stage.directory is None:
            raise StageError(f"stage {stage.name} has no model folder on this machine")
        return stage.directory


def run_worker(connection: Connection, settings: ProcessSettings) -> None:
    """Entry point of the process. Ctrl-C is handled by the parent; SIGTERM ends the process at once, which is safe
    because only the parent writes results."""
    Lifetime(grace=0.0, status=ExitCode.BUG, on_signal=OnSignal.LEAVE_TO_PARENT, with_parent=True).begin()
    _log_to(settings.log_file)
    clock = SystemClock()
    runner = StageRunner(
        host=settings.name,
        images=ImageReader(max_pixels=settings.max_pixels, local_files=True),
        clock=clock,
        max_attempts=settings.max_attempts,
        rotate=settings.rotate,
        energy=MachineMeter(settings.device),
    )
    coordinator = RemoteCoordinator(connection)
    worker = Worker(
        settings.name,
        broker=RemoteBroker(connection),
        assignments=coordinator,
        reports=coordinator,
        suspects=NoSuspects(),
        models=StagesOnDisk(),
        runner=runner,
        settings=WorkerSettings(device=settings.device, time_limit=settings.time_limit),
    )
    worker.run(should_stop=lambda: False)
    if worker.has_lost_device:
        raise SystemExit(RECYCLED)


def _log_to(path: Path) -> None:
    """Sends whatever libraries print, and the traceback of a crash, to a file: the terminal belongs to the parent."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    if sys.stdout is not None:
        sys.stdout.flush()
    os.dup2(descriptor, 1)
    os.dup2(descriptor, 2)
    os.close(descriptor)
    faulthandler.enable()
