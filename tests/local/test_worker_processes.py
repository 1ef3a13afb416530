"""Worker processes that cannot even start."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from pero_worker.brokers.memory import MemoryBroker
from pero_worker.clock import SystemClock
from pero_worker.coordinators.memory import MemoryCoordinator
from pero_worker.errors import StageError
from pero_worker.local.process import ProcessSettings
from pero_worker.local.worker_processes import WorkerProcesses
from pero_worker.stage import Stage


def test_processes_that_die_idle_end_the_run_and_those_that_live_are_ended(tmp_path: Path) -> None:
    """One cannot write its log and dies at once, again and again; the other waits for pages."""
    broken, good = (
        ProcessSettings(name=name, device="cpu", max_pixels=1, max_attempts=3, time_limit=0, log_file=log)
        for name, log in (("broken", tmp_path / "nowhere/log"), ("good", tmp_path / "log"))
    )
    stage = Stage(name="s1", config="[WORKER]\nDUMMY = yes\n", version="1", directory=tmp_path)
    deaths: list[tuple[int, int]] = []
    processes = WorkerProcesses(
        MemoryBroker(["s1"]),
        MemoryCoordinator([stage]),
        [good, broken],
        SystemClock(),
        on_death=lambda exit_code, pages: deaths.append((exit_code, pages)),
    )
    try:
        with pytest.raises(StageError, match=r"die before they take a page \(exit code 1\); see .*nowhere/log"):
            until_it_raises(processes)
    finally:
        processes.stop()
    assert deaths == [(1, 0)] * 3
    assert processes.process_ids == ()


def until_it_raises(processes: WorkerProcesses) -> None:
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        processes.check()
        time.sleep(0.02)
