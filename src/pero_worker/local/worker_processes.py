"""Keeps the worker processes of one machine alive."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from multiprocessing.process import BaseProcess

from pero_worker.brokers.memory import MemoryBroker
from pero_worker.coordinators.memory import MemoryCoordinator
from pero_worker.errors import StageError
from pero_worker.jobs.workforce import DeathListener
from pero_worker.local.pipe import serve
from pero_worker.local.process import ProcessSettings, run_worker
from pero_worker.ports import WorkerStatus
from pero_worker.worker.timelimit import RECYCLED

_IDLE_DEATHS_ALLOWED = 3
# One torch, BLAS and OpenMP thread a process: on the same cores, processes beat threads by far (docs/benchmarks.md).
_ONE_THREAD: Mapping[str, str] = {
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "NUMBA_NUM_THREADS": "1",
}


@dataclass(slots=True)
class _Member:
    settings: ProcessSettings
    process: BaseProcess


class WorkerProcesses:
    """A fixed number of worker processes; one that dies gives its page back and is replaced."""

    def __init__(
        self, broker: MemoryBroker, coordinator: MemoryCoordinator, settings: Sequence[ProcessSettings]
    ) -> None:
        self._broker = broker
        self._coordinator = coordinator
        self._idle_deaths = 0
        self._started = 0
        self._members = [_Member(one, self._start(one)) for one in settings]

    def check(self, gone: DeathListener) -> None:
        """Replaces dead processes. StageError: the pipeline cannot be loaded, or processes die before any page."""
        for report in self._coordinator.reports().values():
            if report.status is WorkerStatus.CONFIGURATION_FAILED:
                raise StageError(report.message)
        for member in self._members:
            if member.process.is_alive():
                continue
            pages = self._broker.release(member.settings.name)
            self._coordinator.forget(member.settings.name)
            exit_code = member.process.exitcode or 0
            member.process.close()
            gone(exit_code, pages)
            if exit_code != RECYCLED:
                self._idle_deaths = 0 if pages else self._idle_deaths + 1
            if self._idle_deaths >= _IDLE_DEATHS_ALLOWED:
                raise StageError(
                    f"worker processes die before they take a page (exit code {exit_code}); "
                    f"see {member.settings.log_file}"
                )
            self._started += 1
            member.settings = replace(member.settings, name=f"{member.settings.name.split('.')[0]}.{self._started}")
            member.process = self._start(member.settings)

    def process_ids(self) -> tuple[int, ...]:
        return tuple(member.process.pid for member in self._members if member.process.pid is not None)

    def stop(self) -> None:
        """Ends the processes at once; pages in hand stay unfinished."""
        for member in self._members:
            member.process.terminate()
        for member in self._members:
            member.process.join(0.5)
            if member.process.is_alive():
                member.process.kill()
                member.process.join()

    def _start(self, settings: ProcessSettings) -> BaseProcess:
        context = multiprocessing.get_context("spawn")
        ours, theirs = context.Pipe()
        # Not a daemon: engines may start processes of their own, which daemons are not allowed to.
        process = context.Process(target=run_worker, args=(theirs, settings), name=settings.name, daemon=False)
        with single_threaded(settings.device):
            process.start()
        theirs.close()
        serve(ours, self._broker, self._coordinator)
        return process


@contextlib.contextmanager
def single_threaded(device: str) -> Iterator[None]:
    """What starts meanwhile uses one thread a process on a CPU, and as many as it likes beside a GPU."""
    values = _ONE_THREAD if device == "cpu" else {}
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
