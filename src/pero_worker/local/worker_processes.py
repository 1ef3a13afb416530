"""Keeps the worker processes of one machine alive."""

from __future__ import annotations

import multiprocessing
from collections.abc import Sequence
from dataclasses import replace
from multiprocessing.process import BaseProcess

from pero_worker.brokers.memory import MemoryBroker
from pero_worker.coordinators.memory import MemoryCoordinator
from pero_worker.errors import StageError
from pero_worker.jobs.workforce import DeathListener
from pero_worker.local.pipe import serve
from pero_worker.local.process import ProcessSettings, run_worker
from pero_worker.ports import Clock
from pero_worker.processes import RECYCLED
from pero_worker.supervisor import Supervisor, spawn
from pero_worker.work import WorkerStatus

_MAX_IDLE_DEATHS = 3
_STOP_GRACE_SECONDS = 0.5


class WorkerProcesses:
    """A fixed number of worker processes; one that dies gives its page back and is replaced."""

    def __init__(
        self,
        broker: MemoryBroker,
        coordinator: MemoryCoordinator,
        settings: Sequence[ProcessSettings],
        clock: Clock,
        on_death: DeathListener,
    ) -> None:
        self._broker = broker
        self._coordinator = coordinator
        self._settings = list(settings)
        self._tell_death = on_death
        self._idle_deaths = 0
        self._replaced = 0
        self._supervisor = Supervisor(len(settings), start=self._start, on_death=self._on_death, clock=clock)
        self._supervisor.check()

    def check(self) -> None:
        """Replaces processes that died. Raises `StageError` if the pipeline cannot be loaded, or if processes die
        before they take a page."""
        for report in self._coordinator.reports().values():
            if report.status is WorkerStatus.CONFIGURATION_FAILED:
                raise StageError(report.message)
        self._supervisor.check()

    @property
    def process_ids(self) -> tuple[int, ...]:
        """Ids of the processes that `stop` would end."""
        return self._supervisor.process_ids

    def stop(self) -> None:
        """Ends the processes at once; pages in hand remain unfinished."""
        self._supervisor.stop(_STOP_GRACE_SECONDS)

    def _on_death(self, place: int, exit_code: int) -> bool:
        dead = self._settings[place]
        pages = self._broker.release(dead.name)
        self._coordinator.forget(dead.name)
        self._tell_death(exit_code, pages)
        if exit_code != RECYCLED:
            self._idle_deaths = 0 if pages else self._idle_deaths + 1
        if self._idle_deaths >= _MAX_IDLE_DEATHS:
            raise StageError(
                f"worker processes die before they take a page (exit code {exit_code}); see {dead.log_file}"
            )
        self._replaced += 1
        self._settings[place] = replace(dead, name=f"{dead.name.split('.')[0]}.{self._replaced}")
        return True

    def _start(self, place: int) -> BaseProcess:
        settings = self._settings[place]
        ours, theirs = multiprocessing.Pipe()
        process = spawn(run_worker, theirs, settings, name=settings.name, device=settings.device)
        theirs.close()
        serve(ours, self._broker, self._coordinator)
        return process
