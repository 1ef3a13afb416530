"""The stages that a worker holds: loads and drops them as assigned, and reports what they cost."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass

from pero_worker.engines import load_engine
from pero_worker.errors import StageError, TransientError
from pero_worker.ports import Assignments, Clock, Engine, ModelStore, Reports
from pero_worker.stage import Stage
from pero_worker.work import Assignment, WorkerStatus
from pero_worker.worker.steps import LoadedStage
from pero_worker.worker.timelimit import limit_of

logger = logging.getLogger(__name__)
_RETRY_AFTER_SECONDS = 5.0
"""A stage that could not be fetched is tried again then, while the worker serves its others."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Refused:
    """A stage that could not be loaded."""

    version: str
    reason: str


class Holding:
    """What a worker has loaded, and what it could not load."""

    def __init__(
        self,
        worker: str,
        *,
        assignments: Assignments,
        reports: Reports,
        models: ModelStore,
        clock: Clock,
        device: str,
        time_limit: float,
        memory_in_use: Callable[[], int],
        before_loading: Callable[[], None],
        report: Callable[[WorkerStatus, str], None],
    ) -> None:
        """`time_limit`: seconds that a page may take in stages that do not set one, 0 = no limit; `before_loading` is
        called when the worker will not take messages for a while; `memory_in_use`: bytes of the device that this
        process has; `report` tells the worker's status."""
        self.loaded: dict[str, LoadedStage] = {}
        self._worker = worker
        self._assignments = assignments
        self._reports = reports
        self._models = models
        self._clock = clock
        self._device = device
        self._time_limit = time_limit
        self._memory_in_use = memory_in_use
        self._before_loading = before_loading
        self._report = report
        self._refused: dict[str, _Refused] = {}
        self._later: dict[str, float] = {}
        self._revision = 0
        self._told: tuple[tuple[str, ...], dict[str, str]] = ((), {})

    @property
    def failed(self) -> bool:
        """Whether stages are assigned, and none could be loaded."""
        return bool(self._refused) and not self.loaded

    def follow(self, assignment: Assignment) -> None:
        """Loads and drops stages until exactly those assigned are held, in their present version. A stage that failed
        is not tried again before its version changes or a new assignment asks for it.

        TransientError: a stage could not be fetched, and no other can be served meanwhile.
        """
        if assignment.revision != self._revision:
            self._revision = assignment.revision
            self._refused.clear()
            self._later.clear()
        for name in [name for name in self.loaded if name not in assignment.stages]:
            self._drop(name)
        for name in [name for name in self._refused if name not in assignment.stages]:
            del self._refused[name]
        for name in assignment.stages:
            if self._clock.monotonic() >= self._later.get(name, float("-inf")):
                self._hold(name)
        self._report_stages()

    def close(self) -> None:
        for name in list(self.loaded):
            self._drop(name)

    def _hold(self, name: str) -> None:
        version: str | None = None
        try:
            stage = self._assignments.stage(name)
            version = stage.version
            held, refused = self.loaded.get(name), self._refused.get(name)
            if (held and held.stage.version == version) or (refused and refused.version == version):
                return
            self._drop(name)
            self._before_loading()
            self._report(WorkerStatus.CONFIGURING, "")
            engine = self._load(stage)
        except StageError as error:
            self._drop(name)
            self._refuse(name, _Refused(version=version or "", reason=str(error)))
        except TransientError as error:
            if not self.loaded:
                raise
            logger.warning("stage %s is loaded later: %s", name, error)
            self._later[name] = self._clock.monotonic() + _RETRY_AFTER_SECONDS
        else:
            self._refused.pop(name, None)
            self._later.pop(name, None)
            self.loaded[name] = LoadedStage(stage=stage, engine=engine, time_limit=limit_of(stage) or self._time_limit)

    def _load(self, stage: Stage) -> Engine:
        begun, before = self._clock.monotonic(), self._memory_in_use()
        engine = load_engine(stage, self._models.directory(stage), self._device)
        taken = max(0, self._memory_in_use() - before)
        self._reports.record_load(stage.name, self._clock.monotonic() - begun, taken)
        return engine

    def _drop(self, name: str) -> None:
        if held := self.loaded.pop(name, None):
            held.engine.close()

    def _refuse(self, name: str, refused: _Refused) -> None:
        old = self._refused.get(name)
        if old is None or old.version != refused.version:
            self._report(WorkerStatus.CONFIGURATION_FAILED, refused.reason)
            logger.error("stage %s cannot be loaded: %s", name, refused.reason)
        self._refused[name] = refused

    def _report_stages(self) -> None:
        told = (tuple(self.loaded), {name: refused.reason for name, refused in self._refused.items()})
        if told != self._told:
            self._told = told
            self._reports.report_stages(self._worker, *told)
