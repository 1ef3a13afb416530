"""Where nobody listens: the ports of a worker on one machine, as far as they concern a cluster."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from pero_worker.work import WorkerStatus


class NoReports:
    """`ports.Reports` that nobody reads: nobody plans, and whoever collects the results sees what failed."""

    def report(self, worker: str, status: WorkerStatus, message: str = "") -> None:
        pass

    def report_stages(self, worker: str, held: Sequence[str], refused: Mapping[str, str]) -> None:
        pass

    def record_time(self, stage: str, seconds: float, onward: str) -> None:
        pass

    def record_load(self, stage: str, seconds: float, memory: int) -> None:
        pass

    def record_failure(self, text: str) -> None:
        pass


class NoSuspects:
    """`ports.Suspects` beside a broker that counts deaths by itself."""

    def begin_suspect(self, page: str) -> int:
        return 0

    def end_suspect(self, page: str, *, survived: bool) -> None:
        pass
