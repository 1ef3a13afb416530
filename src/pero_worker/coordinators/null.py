"""Ports that do nothing: a worker on one machine has nobody to report to."""

from __future__ import annotations

from collections.abc import Mapping

from pero_worker.work import WorkerStatus


class NoReports:
    """`ports.Reports` that nobody reads: nothing is planned, and the results show what failed."""

    def report(self, worker: str, status: WorkerStatus, message: str = "") -> None:
        pass

    def report_stages(self, worker: str, held: Mapping[str, str], refused: Mapping[str, str]) -> None:
        pass

    def record_time(self, stage: str, seconds: float, onward: str) -> None:
        pass

    def record_load(self, stage: str, seconds: float, memory: int) -> None:
        pass

    def record_failure(self, text: str) -> None:
        pass


class NoSuspects:
    """`ports.Suspects` for a broker that counts deaths itself."""

    def begin_suspect(self, page: str) -> int:
        return 0

    def end_suspect(self, page: str, *, survived: bool) -> None:
        pass
