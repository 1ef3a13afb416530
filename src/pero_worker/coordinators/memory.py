"""A coordinator in this process's memory: every worker holds every stage of the pipeline."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from pero_worker.clock import SystemClock
from pero_worker.coordinators.null import NoReports
from pero_worker.errors import StageError
from pero_worker.ports import Clock
from pero_worker.stage import Stage
from pero_worker.work import Assignment, WorkerStatus


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerReport:
    """The last report of a worker."""

    status: WorkerStatus
    """What the worker is doing."""
    message: str = ""
    """What it says about that."""
    since: datetime | None = None
    """When it began to do that."""


class MemoryCoordinator(NoReports):
    """`ports.Assignments`, and the status part of `ports.Reports`, for one machine. Thread-safe."""

    def __init__(self, stages: Sequence[Stage], clock: Clock | None = None) -> None:
        self._now = (clock or SystemClock()).now
        self._lock = threading.Lock()
        self._stages = {stage.name: stage for stage in stages}
        self._reports: dict[str, WorkerReport] = {}

    def stage(self, name: str) -> Stage:
        try:
            return self._stages[name]
        except KeyError:
            raise StageError(f"there is no stage named {name!r}; known: {', '.join(self._stages)}") from None

    def assignment(self, worker: str) -> Assignment:
        return Assignment(stages=tuple(self._stages))

    def report(self, worker: str, status: WorkerStatus, message: str = "") -> None:
        with self._lock:
            before = self._reports.get(worker)
            since = before.since if before and before.status is status else self._now()
            self._reports[worker] = WorkerReport(status=status, message=message, since=since)

    def forget(self, worker: str) -> None:
        with self._lock:
            self._reports.pop(worker, None)

    def reports(self) -> dict[str, WorkerReport]:
        """Returns the last report of each worker, by name."""
        with self._lock:
            return dict(self._reports)
