"""A coordinator in this process's memory: every worker holds every stage of the pipeline."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from pero_worker.errors import StageError
from pero_worker.ports import Assignment, WorkerStatus
from pero_worker.stage import Stage


@dataclass(frozen=True, slots=True)
class WorkerReport:
    status: WorkerStatus
    message: str = ""


class MemoryCoordinator:
    """`ports.Coordinator` for one machine. Thread-safe."""

    def __init__(self, stages: Sequence[Stage]) -> None:
        self._lock = threading.Lock()
        self._stages = {stage.name: stage for stage in stages}
        self._reports: dict[str, WorkerReport] = {}
        self._seconds: dict[str, tuple[float, int]] = {}

    def stage(self, name: str) -> Stage:
        try:
            return self._stages[name]
        except KeyError:
            raise StageError(f"there is no stage named {name!r}; known: {', '.join(self._stages)}") from None

    def assignment(self, worker: str) -> Assignment:
        return Assignment(tuple(self._stages))

    def report(self, worker: str, status: WorkerStatus, message: str = "") -> None:
        with self._lock:
            self._reports[worker] = WorkerReport(status, message)

    def begin_suspect(self, page: str) -> int:
        return 0  # The memory broker counts by itself.

    def end_suspect(self, page: str, *, survived: bool) -> None:
        pass

    def report_stages(self, worker: str, held: Sequence[str], refused: Mapping[str, str]) -> None:
        pass  # It is the same for all, and nobody plans.

    def record_load(self, stage: str, seconds: float, memory: int) -> None:
        pass

    def record_time(self, stage: str, seconds: float, onward: str) -> None:
        with self._lock:
            total, pages = self._seconds.get(stage, (0.0, 0))
            self._seconds[stage] = (total + seconds, pages + 1)

    def record_failure(self, text: str) -> None:
        pass  # Whoever collects the results sees it.

    def forget(self, worker: str) -> None:
        with self._lock:
            self._reports.pop(worker, None)

    def reports(self) -> dict[str, WorkerReport]:
        with self._lock:
            return dict(self._reports)

    def mean_time(self, stage: str) -> float | None:
        """Mean seconds a page of `stage`, None before the first."""
        with self._lock:
            total, pages = self._seconds.get(stage, (0.0, 0))
        return total / pages if pages else None
