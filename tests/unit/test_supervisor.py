"""When a process that ended is restarted."""

from __future__ import annotations

import os
import signal
import sys
import time
from multiprocessing.process import BaseProcess

import pytest

from pero_worker.clock import SystemClock
from pero_worker.processes import RECYCLED
from pero_worker.supervisor import BackOff, Place, Supervisor, spawn


def put_off(place: Place, status: int, lived: float) -> float:
    """Returns how long the restart of a process is put off after it lived for `lived` seconds."""
    place.begun = 100.0
    place.put_off(status, 100.0 + lived)
    return place.due - (100.0 + lived)


def test_a_process_that_dies_at_once_is_started_ever_later_and_one_that_worked_soon() -> None:
    place = Place(BackOff())
    pauses = [put_off(place, -9, 1) for _ in range(9)]
    assert pauses == [0.5, 1, 2, 4, 8, 16, 30, 30, 30]
    assert put_off(place, -9, 60) == 0.5


def test_a_process_that_wants_to_be_started_anew_is_not_put_off() -> None:
    place = Place(BackOff())
    assert [put_off(place, RECYCLED, 1) for _ in range(3)] == [0, 0, 0]


def sleeper(_place: int) -> BaseProcess:
    return spawn(time.sleep, 600, name="sleeper", device="cpu")


def until_dead(supervisor: Supervisor, process: int) -> None:
    os.kill(process, signal.SIGKILL)
    supervisor.wait(30)


def test_whatever_the_news_of_a_death_raises_the_others_can_be_ended() -> None:
    def on_death(_place: int, status: int) -> bool:
        raise ValueError(f"{status}")

    supervisor = Supervisor(2, start=sleeper, on_death=on_death, clock=SystemClock())
    supervisor.check()
    first, second = supervisor.process_ids
    until_dead(supervisor, first)
    with pytest.raises(ValueError, match="-9"):
        while True:
            supervisor.check()
    assert supervisor.process_ids == (second,)
    supervisor.stop(30)
    assert supervisor.process_ids == () and not supervisor.running
    assert not alive(second)


@pytest.mark.parametrize(("replaced", "left"), [(True, 1), (False, 0)])
def test_a_dead_process_is_replaced_as_its_listener_says(replaced: bool, left: int) -> None:
    deaths = []

    def on_death(place: int, status: int) -> bool:
        deaths.append((place, status))
        return replaced

    supervisor = Supervisor(1, start=sleeper, on_death=on_death, clock=SystemClock())
    supervisor.check()
    until_dead(supervisor, supervisor.process_ids[0])
    # Its end is seen a moment before its exit status.
    while not deaths:
        supervisor.check()
    assert deaths == [(0, -signal.SIGKILL)]
    assert len(supervisor.process_ids) == left and supervisor.running == replaced
    supervisor.stop(30)


def test_a_process_that_does_not_listen_is_killed() -> None:
    supervisor = Supervisor(1, start=deaf, on_death=lambda *_: False, clock=SystemClock())
    supervisor.check()
    (process,) = supervisor.process_ids
    supervisor.stop(0.1)
    assert not alive(process)


def deaf(_place: int) -> BaseProcess:
    old = signal.signal(signal.SIGTERM, signal.SIG_IGN)
    try:
        # A process inherits the signals that are ignored.
        return spawn(time.sleep, 600, name="deaf", device="cpu")
    finally:
        signal.signal(signal.SIGTERM, old)


def alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    return True


@pytest.mark.parametrize(("device", "threads"), [("cpu", "1"), ("cuda:0", "None")])
def test_on_a_cpu_a_process_uses_one_thread(
    device: str, threads: str, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    process = spawn(print_threads, name="threads", device=device)
    process.join()
    assert capfd.readouterr().out == threads
    assert "OMP_NUM_THREADS" not in os.environ


def print_threads() -> None:
    sys.stdout.write(str(os.environ.get("OMP_NUM_THREADS")))
