"""The stages that a worker holds: loads and drops them as assigned, and reports what they cost."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable
from dataclasses import dataclass

from pero_worker.engines import load_engine
from pero_worker.errors import PeroWorkerError, StageError, TransientError
from pero_worker.ports import Assignments, Clock, ModelStore, Reports
from pero_worker.stage import Stage
from pero_worker.work import Assignment, WorkerStatus
from pero_worker.worker.steps import LoadedStage
from pero_worker.worker.timelimit import limit_of

logger = logging.getLogger(__name__)
_AWAY_RETRY_SECONDS = 3.0
"""A stage that could not be fetched is tried again after this time; meanwhile the worker serves its others."""
_AWAY_RETRY_IN_TRIES = 2.0
"""The wait is at least this multiple of the time that the last try took."""
_REFUSED_RETRY_SECONDS = (10.0, 30.0)
"""A stage that cannot be loaded is tried again after the first of these, and from then on after the second: what it
lacked may be available by then."""
_REFUSED_RETRY_IN_TRIES = 10.0
"""The wait is at least this multiple of the time that the last try took, so that a worker does more than retry."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Refused:
    """A stage that could not be loaded."""

    version: str
    reason: str
    due: float
    """When it is tried again, on the monotonic clock."""


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
        """`time_limit`: seconds that a page may take in stages that do not set a limit, 0 = no limit; `before_loading`
        is called when the worker is about to take no messages for a while; `memory_in_use` returns the bytes of device
        memory that this process uses; `report` reports the worker's status."""
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
        self._told: tuple[dict[str, str], dict[str, str]] = ({}, {})

    @property
    def failed(self) -> bool:
        """Whether stages are assigned but none could be loaded."""
        return bool(self._refused) and not self.loaded

    def follow(self, assignment: Assignment) -> None:
        """Loads and drops stages until the assigned ones are held in their current version, if that can be loaded: the
        version that works is kept until the new one does. A stage that failed is tried again after a while, and at once
        when its version changes or a new assignment asks for it.

        Raises `TransientError` if a stage could not be fetched and no other can be served meanwhile.
        """
        if assignment.revision != self._revision:
            self._revision = assignment.revision
            self._refused.clear()
            self._later.clear()
            # A command, even one that changes nothing, is also a reason to start afresh with the broker.
            self._before_loading()
        for name in [name for name in self.loaded if name not in assignment.stages]:
            self._drop(name)
        for name in [name for name in self._refused if name not in assignment.stages]:
            del self._refused[name]
        away: TransientError | None = None
        for name in assignment.stages:
            begun = self._clock.monotonic()
            if begun < self._later.get(name, -math.inf):
                continue
            try:
                self._hold(name, begun)
            except TransientError as error:
                away = error
                now = self._clock.monotonic()
                self._later[name] = now + max(_AWAY_RETRY_SECONDS, _AWAY_RETRY_IN_TRIES * (now - begun))
                if self.loaded:
                    logger.warning("stage %s is loaded later: %s", name, error)
        self._report_stages()
        if away is not None and not self.loaded:
            # The caller waits, and then all of them are tried again.
            self._later.clear()
            raise away

    def close(self) -> None:
        for name in list(self.loaded):
            self._drop(name)

    def _hold(self, name: str, now: float) -> None:
        """Loads the stage's current version unless it is held. Any error but a `TransientError` makes the worker refuse
        this stage, and no other."""
        try:
            stage = self._assignments.stage(name)
        except StageError as error:
            self._drop(name)
            self._refuse(name, "", str(error), now)
            return
        held, refused = self.loaded.get(name), self._refused.get(name)
        if held and held.stage.version == stage.version:
            self._refused.pop(name, None)
            return
        if refused and refused.version == stage.version and now < refused.due:
            return
        self._before_loading()
        self._report(WorkerStatus.CONFIGURING, "")
        try:
            loaded = self._load_beside(stage, held)
        except TransientError:
            raise
        except Exception as error:  # plugins, archives and configurations may raise anything
            reason = str(error) if isinstance(error, PeroWorkerError) else f"{type(error).__name__}: {error}"
            self._refuse(name, stage.version, reason, now)
        else:
            self._drop(name)
            self._refused.pop(name, None)
            self._later.pop(name, None)
            self.loaded[name] = loaded

    def _load_beside(self, stage: Stage, held: LoadedStage | None) -> LoadedStage:
        """Loads the stage; `held`, another version of it, stays loaded meanwhile if there is room for both."""
        try:
            return self._load(stage)
        except Exception as error:
            if held is None or not _is_out_of_memory(error):
                raise
        # The device has no room for both.
        self._drop(stage.name)
        try:
            return self._load(stage)
        except Exception:
            self._load_again(held.stage)
            raise

    def _load_again(self, stage: Stage) -> None:
        try:
            self.loaded[stage.name] = self._load(stage)
        except Exception as error:
            logger.warning("version %s of stage %s cannot be loaded any more: %s", stage.version, stage.name, error)

    def _load(self, stage: Stage) -> LoadedStage:
        # The cheap check comes first: a typo is reported at once.
        limit = limit_of(stage) or self._time_limit
        begun, before = self._clock.monotonic(), self._memory_in_use()
        engine = load_engine(stage, self._models.directory(stage), self._device)
        taken = max(0, self._memory_in_use() - before)
        self._reports.record_load(stage.name, self._clock.monotonic() - begun, taken)
        return LoadedStage(stage=stage, engine=engine, time_limit=limit)

    def _drop(self, name: str) -> None:
        held = self.loaded.pop(name, None)
        if held is None:
            return
        try:
            held.engine.close()
        except Exception as error:  # a plugin may raise anything
            logger.warning("stage %s: %s: %s", name, type(error).__name__, error)

    def _refuse(self, name: str, version: str, reason: str, begun: float) -> None:
        now = self._clock.monotonic()
        old = self._refused.get(name)
        known = old is not None and old.version == version
        pause = max(_REFUSED_RETRY_SECONDS[known], _REFUSED_RETRY_IN_TRIES * (now - begun))
        self._refused[name] = _Refused(version=version, reason=reason, due=now + pause)
        self._report(WorkerStatus.CONFIGURATION_FAILED, reason)
        if old is None or not known or old.reason != reason:
            kept = self.loaded.get(name)
            instead = f"; version {kept.stage.version} is kept" if kept else ""
            logger.error("stage %s, version %s, cannot be loaded: %s%s", name, version or "-", reason, instead)

    def _report_stages(self) -> None:
        told = (
            {name: held.stage.version for name, held in self.loaded.items()},
            {name: refused.reason for name, refused in self._refused.items()},
        )
        if told != self._told:
            self._told = told
            self._reports.report_stages(self._worker, *told)


def _is_out_of_memory(error: BaseException | None) -> bool:
    """Whether this machine or a GPU ran out of memory, however the error is wrapped."""
    while error is not None:
        if isinstance(error, MemoryError) or "out of memory" in str(error).lower():
            return True
        error = error.__cause__
    return False
