"""How fast requests are sent to a host, and how long to wait after it refused one."""

from __future__ import annotations

import random
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from email.utils import parsedate_to_datetime

from pero_worker.ports import Clock

MAX_TRIES = 5
"""Attempts at one address."""
LONGEST_PAUSE_SECONDS = 120.0
"""A server that asks for a longer pause is left alone."""
_FIRST_PAUSE_SECONDS = 0.5


def pause_before_try(attempt: int, retry_after: float | None, chance: random.Random) -> float:
    """Returns how many seconds to wait after attempt number `attempt` (from 1) failed.

    It is what the server asks for, else twice as long each time, and not the same for every client.
    """
    growing = _FIRST_PAUSE_SECONDS * 2 ** (attempt - 1)
    return retry_after if retry_after is not None else growing * chance.uniform(0.75, 1.25)


def retry_after_of(header: str | None, now: datetime) -> float | None:
    """Reads the seconds to wait from a Retry-After header with seconds or a date; None if it makes no sense."""
    text = (header or "").strip()
    if text.isascii() and text.isdigit():
        return float(text[:9])
    try:
        until = parsedate_to_datetime(text)
        return max(0.0, (until - now).total_seconds())
    except (TypeError, ValueError, IndexError, OverflowError):
        return None


class HostPace:
    """Allows at most `connections` requests to a host at a time, and `rate` per second."""

    def __init__(self, rate: float, connections: int, clock: Clock) -> None:
        self._rate = rate
        self._clock = clock
        self._free = threading.Semaphore(connections)
        self._lock = threading.Lock()
        self._next = 0.0

    @contextmanager
    def turn(self) -> Iterator[None]:
        """Waits until a request may be sent."""
        with self._free:
            with self._lock:
                now = self._clock.monotonic()
                mine = max(now, self._next)
                self._next = mine + 1 / self._rate
            if mine > now:
                self._clock.sleep(mine - now)
            yield

    def hold_off(self, seconds: float) -> None:
        """Delays all requests to the host, because it asked to be left alone."""
        with self._lock:
            self._next = max(self._next, self._clock.monotonic() + seconds)
