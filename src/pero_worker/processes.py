"""How a process of this program ends: when asked to, with its parent, or by force."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from enum import Enum, auto
from multiprocessing import parent_process
from types import ModuleType
from typing import NoReturn

from pero_worker.errors import ExitCode

RECYCLED = 75
"""Exit status of a worker process that wants to be started anew (EX_TEMPFAIL)."""
DEFAULT_GRACE_SECONDS = 4.0
_POLL_SECONDS = 0.2
"""Seconds after which it is noticed that the parent is gone."""


class OnSignal(Enum):
    """What SIGTERM and Ctrl-C do."""

    STOP = auto()
    """They set `Lifetime.stop`, and the program ends after what it has in hand."""
    INTERRUPT = auto()
    """The same, and they raise KeyboardInterrupt in the main thread."""
    LEAVE_TO_PARENT = auto()
    """Ctrl-C reaches the parent, too, and is its business; SIGTERM ends the process at once."""


class Lifetime:
    """When this process ends: `stop` asks it to, and what does not listen in time is ended by force.

    Nothing happens before `begin`.
    """

    def __init__(
        self,
        *,
        grace: float | None = DEFAULT_GRACE_SECONDS,
        status: int = ExitCode.OK,
        on_signal: OnSignal = OnSignal.STOP,
        with_parent: bool = False,
    ) -> None:
        """`grace`: seconds after `stop` until the process is ended with `status`, whatever holds it up: a server that
        does not answer, or a model that is being loaded; None = never by force. `with_parent`: the end of the parent
        process is a reason to stop, too, however deep in an engine this one is."""
        self.stop = threading.Event()
        self.hurry = threading.Event()
        """Set when it is asked a second time, by the same signal."""
        self._heard: set[int] = set()
        self._busy: Callable[[], bool] = lambda: False
        self._grace = grace
        self._status = status
        self._on_signal = on_signal
        self._with_parent = with_parent

    def begin(self) -> None:
        """Heeds signals and the parent from now on; from the main thread."""
        if self._on_signal is OnSignal.LEAVE_TO_PARENT:
            signal.signal(signal.SIGINT, signal.SIG_IGN)
        else:
            for number in (signal.SIGTERM, signal.SIGINT):
                signal.signal(number, self._signalled)
        if self._grace is not None or self._with_parent:
            threading.Thread(target=self._watch, name="lifetime", daemon=True).start()

    @contextmanager
    def guard(
        self,
        seconds: float,
        told: Callable[[], None],
        late: Callable[[], None],
        *,
        busy: Callable[[], bool] = lambda: False,
        busy_seconds: float = 0.0,
    ) -> Iterator[None]:
        """Around what should end soon after `stop`: `told` is called then; if the block is not left within `seconds`,
        `late` is, and the process ends. Both are called from another thread.

        While it is `busy` with what it has in hand it may take `busy_seconds` more, unless it is asked to `hurry`.
        """
        left = threading.Event()

        def watch() -> None:
            while not self.stop.wait(_POLL_SECONDS):
                if left.is_set():
                    return
            limit = time.monotonic() + busy_seconds
            # The watch over the whole process, see `begin`, is as patient.
            self._busy = lambda: busy() and not self.hurry.is_set() and time.monotonic() < limit
            told()
            if not _in_time(left, seconds, self._busy):
                late()
                end_now(self._status)

        threading.Thread(target=watch, name="guard", daemon=True).start()
        try:
            yield
        finally:
            left.set()
            self._busy = lambda: False

    def _signalled(self, number: int, _frame: object) -> None:
        if number in self._heard:
            self.hurry.set()
        self._heard.add(number)
        self.stop.set()
        if self._on_signal is OnSignal.INTERRUPT:
            raise KeyboardInterrupt

    def _is_busy(self) -> bool:
        return self._busy()

    def _watch(self) -> None:
        parent = parent_process() if self._with_parent else None
        while not self.stop.wait(_POLL_SECONDS):
            if parent is not None and not parent.is_alive():
                self.stop.set()
        if self._grace is not None:
            _in_time(threading.Event(), self._grace, self._is_busy)
            end_now(self._status)


def _in_time(done: threading.Event, seconds: float, busy: Callable[[], bool]) -> bool:
    """Whether it was done within `seconds`, those in which it was busy not counted."""
    deadline = time.monotonic() + seconds
    while not done.wait(max(0.0, min(_POLL_SECONDS, deadline - time.monotonic()))):
        if busy():
            deadline = time.monotonic() + seconds
        elif time.monotonic() >= deadline:
            return False
    return True


def end_now(status: int) -> NoReturn:
    """Ends the process whatever its threads, its atexit functions or a hanging engine are doing."""
    os._exit(status)


def leave(status: int) -> NoReturn:
    """`end_now` after what was printed has been written."""
    sys.stdout.flush()
    sys.stderr.flush()
    end_now(status)


@contextmanager
def without_main() -> Iterator[None]:
    """Processes that are spawned meanwhile do not run the program that starts them: a script of a user of ours need not
    ask whether it is `__main__`."""
    main = sys.modules["__main__"]
    sys.modules["__main__"] = ModuleType("__main__")
    try:
        yield
    finally:
        sys.modules["__main__"] = main
