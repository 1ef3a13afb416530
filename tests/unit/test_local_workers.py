"""What a machine's own workers report about themselves."""

from __future__ import annotations

from datetime import timedelta

from pero_worker.coordinators.memory import MemoryCoordinator
from pero_worker.testing import StandingClock
from pero_worker.work import WorkerStatus


def test_since_when_a_worker_does_what_it_does() -> None:
    clock = StandingClock()
    coordinator, began = MemoryCoordinator((), clock), clock.now()
    coordinator.report("w1", WorkerStatus.IDLE)
    clock.sleep(5)
    coordinator.report("w1", WorkerStatus.IDLE, "still")
    assert coordinator.reports()["w1"].since == began
    coordinator.report("w1", WorkerStatus.PROCESSING)
    assert coordinator.reports()["w1"].since == began + timedelta(seconds=5)
    coordinator.forget("w1")
    coordinator.report("w1", WorkerStatus.STARTING)
    assert coordinator.reports()["w1"].since == clock.now()
