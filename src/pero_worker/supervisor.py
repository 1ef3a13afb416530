"""Keeps processes alive: one that dies is replaced, at once or after a pause."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from multiprocessing.connection import wait
from multiprocessing.process import BaseProcess

from pero_worker.ports import Clock
from pero_worker.processes import RECYCLED, without_main

# One torch, BLAS and OpenMP thread per process: on the same cores, processes are far faster than threads
# (docs/benchmarks.md).
_ONE_THREAD: Mapping[str, str] = {
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "NUMBA_NUM_THREADS": "1",
}
_KILL_TIMEOUT_SECONDS = 5.0


@dataclass(frozen=True, slots=True, kw_only=True)
class BackOff:
    """How long to wait before a process that died is replaced."""

    first: float = 0.5
    """Seconds to wait after the first death; doubled after each further one."""
    max: float = 30.0
    """Longest wait, in seconds."""
    stable_after: float = 20.0
    """Seconds after which a process is considered stable: its death starts the waits from the first one again."""


NO_BACK_OFF = BackOff(first=0.0, max=0.0)


class Place:
    """A slot for one process at a time."""

    def __init__(self, back_off: BackOff) -> None:
        self.process: BaseProcess | None = None
        self.begun = 0.0
        """When the process was started, on the monotonic clock."""
        self.due = 0.0
        """When the next process is due to start, on the monotonic clock."""
        self.abandoned = False
        self._back_off = back_off
        self._pause = back_off.first

    def put_off(self, status: int, now: float) -> None:
        """Sets when the next process starts; one that keeps dying is started later and later."""
        if now - self.begun > self._back_off.stable_after:
            self._pause = self._back_off.first
        self.due = now
        if status != RECYCLED:
            self.due += self._pause
            self._pause = min(2 * self._pause, self._back_off.max)


class Supervisor:
    """Keeps a process running in each of `number` places, numbered from 0, until `stop`."""

    def __init__(
        self,
        number: int,
        *,
        start: Callable[[int], BaseProcess],
        on_death: Callable[[int, int], bool],
        clock: Clock,
        back_off: BackOff = NO_BACK_OFF,
    ) -> None:
        """Starts nothing yet; `check` does.

        `start` starts the process of a place. `on_death` gets the place and the exit status of a process that ended by
        itself, and returns whether to replace it.
        """
        self._places = [Place(back_off) for _ in range(number)]
        self._start = start
        self._on_death = on_death
        self._clock = clock

    @property
    def running(self) -> bool:
        """Whether a process is alive or will be started."""
        return not all(place.abandoned for place in self._places)

    @property
    def process_ids(self) -> tuple[int, ...]:
        return tuple(place.process.pid for place in self._places if place.process and place.process.pid)

    def check(self) -> None:
        """Handles processes that died, and starts those that are due. Whatever `on_death` raises is passed on."""
        for number, place in enumerate(self._places):
            if place.process is not None and not place.process.is_alive():
                status = place.process.exitcode or 0
                place.process.close()
                # First of all: whatever `on_death` raises, `stop` must find only living processes.
                place.process = None
                place.put_off(status, self._clock.monotonic())
                place.abandoned = True
                place.abandoned = not self._on_death(number, status)
            if place.process is None and not place.abandoned and place.due <= self._clock.monotonic():
                place.process = self._start(number)
                place.begun = self._clock.monotonic()

    def wait(self, timeout: float) -> None:
        """Waits until a process ends, for at most `timeout` seconds."""
        wait([place.process.sentinel for place in self._places if place.process is not None], timeout)

    def stop(self, grace: float) -> None:
        """Ends the processes: they are asked to stop, and killed if still alive `grace` seconds later."""
        living = [place.process for place in self._places if place.process is not None]
        for process in living:
            process.terminate()
        deadline = self._clock.monotonic() + grace
        for process in living:
            process.join(max(deadline - self._clock.monotonic(), 0.0))
            if process.is_alive():
                process.kill()
                process.join(_KILL_TIMEOUT_SECONDS)
        for place in self._places:
            place.process = None
            place.abandoned = True


def spawn(target: Callable[..., None], *arguments: object, name: str, device: str) -> BaseProcess:
    """Starts a process. It uses one thread on a CPU, and as many as it likes next to a GPU."""
    # Not a daemon: engines may start processes of their own, which daemons are not allowed to do.
    process = multiprocessing.get_context("spawn").Process(target=target, args=arguments, name=name, daemon=False)
    with _single_threaded(device), without_main():
        process.start()
    return process


@contextlib.contextmanager
def _single_threaded(device: str) -> Iterator[None]:
    """Makes processes that are started in the block use one thread."""
    values = _ONE_THREAD if device == "cpu" else {}
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
