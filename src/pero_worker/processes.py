"""How a process of this program ends: on request, with its parent, or by force."""

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
"""Exit status of a worker process that wants to be restarted (EX_TEMPFAIL)."""
DEFAULT_GRACE_SECONDS = 4.0
_POLL_SECONDS = 0.2
"""Seconds between checks for a stop or for a parent that is gone."""


class OnSignal(Enum):
    """What SIGTERM and Ctrl-C do."""

    STOP = auto()
    """They set `Lifetime.stop`; the program ends after the work in hand."""
    INTERRUPT = auto()
    """As STOP, and they raise KeyboardInterrupt in the main thread."""
    LEAVE_TO_PARENT = auto()
    """Ctrl-C is ignored, as it reaches the parent too, which handles it; SIGTERM ends the process at once."""


class Lifetime:
    """When this process ends: `stop` asks it to, and whatever does not react in time is ended by force.

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
        """Sets how the process ends.

        `grace` is the number of seconds after `stop` until the process is ended with `status`, whatever holds it up: a
        server that does not answer, or a model that is being loaded; None means never by force. `with_parent` makes the
        end of the parent process a reason to stop too, however deep in an engine this process is.
        """
        self.stop = threading.Event()
        self.hurry = threading.Event()
        """Set when the process is asked to stop a second time, by the same signal."""
        self._heard: set[int] = set()
        self._busy: Callable[[], bool] = lambda: False
        self._grace = grace
        self._status = status
        self._on_signal = on_signal
        self._with_parent = with_parent

    def begin(self) -> None:
        """Starts to heed signals and the parent; call it from the main thread."""
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
        """Guards a block that should end soon after `stop`.

        `told` is called on `stop`; if the block is not left within `seconds`, `late` is called and the process ends.
        Both are called from another thread. While `busy` says that work is in hand, the block may take `busy_seconds`
        more, unless the process is asked to `hurry`.
        """
        left = threading.Event()

        def watch() -> None:
            while not self.stop.wait(_POLL_SECONDS):
                if left.is_set():
                    return
            limit = time.monotonic() + busy_seconds
            # The watch over the whole process, see `begin`, is just as patient.
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
    """Returns whether `done` was set within `seconds`, not counting those in which it was busy."""
    deadline = time.monotonic() + seconds
    while not done.wait(max(0.0, min(_POLL_SECONDS, deadline - time.monotonic()))):
        if busy():
            deadline = time.monotonic() + seconds
        elif time.monotonic() >= deadline:
            return False
    return True


def end_now(status: int) -> NoReturn:
    """Ends the process, whatever its threads, atexit functions or a hanging engine are doing."""
    os._exit(status)


def leave(status: int) -> NoReturn:
    """Flushes the output, then ends the process as `end_now` does."""
    sys.stdout.flush()
    sys.stderr.flush()
    end_now(status)


@contextmanager
def without_main() -> Iterator[None]:
    """Keeps processes that are spawned in the block from running the program that starts them, so that a user's script
    need not check whether it is `__main__`."""
    main = sys.modules["__main__"]
    sys.modules["__main__"] = ModuleType("__main__")
    try:
        yield
    finally:
        sys.modules["__main__"] = main
