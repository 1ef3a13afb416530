"""How fast a host is asked, and how long to wait after it refused."""

from __future__ import annotations

import random
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from email.utils import parsedate_to_datetime

from pero_worker.ports import Clock

MAX_TRIES = 5
"""Of one address."""
LONGEST_PAUSE_SECONDS = 120.0
"""A server that wants a longer one is left alone."""
_FIRST_PAUSE_SECONDS = 0.5


def pause_before_try(attempt: int, retry_after: float | None, chance: random.Random) -> float:
    """Seconds to wait after attempt number `attempt`, from 1, failed: what the server asks for, else twice as long
    each time, and not the same for everybody."""
    growing = _FIRST_PAUSE_SECONDS * 2 ** (attempt - 1)
    return retry_after if retry_after is not None else growing * chance.uniform(0.75, 1.25)


def retry_after_of(header: str | None, now: datetime) -> float | None:
    """Seconds, out of a Retry-After header with seconds or a date; None: it says nothing that can be understood."""
    text = (header or "").strip()
    if text.isascii() and text.isdigit():
        return float(text[:9])
    try:
        until = parsedate_to_datetime(text)
        return max(0.0, (until - now).total_seconds())
    except (TypeError, ValueError, IndexError, OverflowError):
        return None


class HostPace:
    """At most `connections` requests to a host at a time, and `rate` a second."""

    def __init__(self, rate: float, connections: int, clock: Clock) -> None:
        self._rate = rate
        self._clock = clock
        self._free = threading.Semaphore(connections)
        self._lock = threading.Lock()
        self._next = 0.0

    @contextmanager
    def turn(self) -> Iterator[None]:
        """Waits for it."""
        with self._free:
            with self._lock:
                now = self._clock.monotonic()
                mine = max(now, self._next)
                self._next = mine + 1 / self._rate
            if mine > now:
                self._clock.sleep(mine - now)
            yield

    def hold_off(self, seconds: float) -> None:
        """The host wants to be left alone by everybody here."""
        with self._lock:
            self._next = max(self._next, self._clock.monotonic() + seconds)
