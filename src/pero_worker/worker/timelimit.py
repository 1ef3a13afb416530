"""Ends a page that takes too long: an engine that hangs cannot be stopped, only left behind with its process."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from pero_worker.errors import StageError
from pero_worker.stage import Stage

_POLL_SECONDS = 1.0


@contextmanager
def time_limit(seconds: float, expired: Callable[[], None]) -> Iterator[None]:
    """Calls `expired` from another thread when the block takes longer than `seconds` (0 = no limit).

    `expired` must end the process: once it is called, the block never returns.
    """
    if not seconds:
        yield
        return
    lock = threading.Lock()
    done = threading.Event()
    fired = threading.Event()

    def watch() -> None:
        left = seconds
        while left > 0:
            step = min(left, _POLL_SECONDS)
            if done.wait(step):
                return
            # Not elapsed time: a process that is stopped, or a machine that sleeps, does nothing for the page.
            left -= step
        with lock:
            if done.is_set():
                return
            fired.set()
        expired()

    threading.Thread(target=watch, name="time limit", daemon=True).start()
    try:
        yield
    finally:
        with lock:
            done.set()
        if fired.is_set():
            threading.Event().wait()


def limit_of(stage: Stage) -> float:
    """Returns the seconds from `[WORKER] TIME_LIMIT`, 0 if it is not set. Raises `StageError` if it is not a number."""
    text = stage.parsed().get("WORKER", "TIME_LIMIT", fallback="0", raw=True)
    try:
        seconds = float(text)
    except ValueError:
        seconds = math.nan
    if not 0 <= seconds < math.inf:
        raise StageError(f"stage {stage.name}: TIME_LIMIT = {text} is not a number of seconds")
    return seconds
