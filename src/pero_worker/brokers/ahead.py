"""How many messages a worker takes ahead: enough never to wait for the next, no more than is fair. Pure.

What one worker has taken, another cannot do, so it takes no more than it can do in a moment. It takes fewer messages if
they are large, as each is held in memory.
"""

from __future__ import annotations

AHEAD_SECONDS = 0.1
"""Messages taken ahead should be done within about this time."""
MOST_MESSAGES = 64
"""Messages in hand and on their way, in and out."""
MOST_BYTES = 32_000_000
"""Size of all of them together, as far as it can be foreseen."""
LOOK_SECONDS = 0.25
"""If a message takes longer than this, those taken ahead go back rather than wait for it."""
_FETCHED_AHEAD_SECONDS = 1.0
"""If contents are fetched from a store, one more message is taken ahead when a page takes no longer than this: fetching
takes part of such a time, and is done while the page before is processed."""
_MEASURE_SECONDS = 0.05
"""Pages are timed together until they add up to this time: a single one may have been held up by anything."""


class Ahead:
    """Decides how many messages to take ahead by how long the previous ones took."""

    def __init__(self) -> None:
        self.messages = 1
        """Messages that may be in hand or on their way."""
        self.patience = LOOK_SECONDS
        """Seconds that a message may take before those behind it go back."""
        self._seconds = 0.0
        self._pages = 0
        self._largest = 0
        self._largest_before = 0

    def took(self, seconds: float, size: int, *, fetched: bool = False) -> None:
        """Notes that a message of `size` bytes took `seconds`; `fetched`: some of its contents came from elsewhere."""
        self._seconds += seconds
        self._pages += 1
        self._largest = max(self._largest, size)
        if self._seconds >= _MEASURE_SECONDS:
            mean = self._seconds / self._pages
            by_time = 1 + round(AHEAD_SECONDS / mean)
            self.patience = LOOK_SECONDS
            if fetched and mean <= _FETCHED_AHEAD_SECONDS:
                by_time = max(by_time, 2)
                self.patience = max(LOOK_SECONDS, 2 * mean)
            self._allow(min(by_time, MOST_MESSAGES, self._by_size()))
            self._largest_before, self._largest = self._largest, size
            self._seconds, self._pages = 0.0, 0
        elif self.messages > self._by_size():
            self.messages = self._by_size()

    def hold_back(self) -> None:
        """Takes nothing ahead for now: what is in hand takes longer, or is larger, than was foreseen."""
        self.messages = 1

    def _by_size(self) -> int:
        return max(1, MOST_BYTES // max(self._largest, self._largest_before, 1))

    def _allow(self, wanted: int) -> None:
        """Lowers the number at once, but raises it only when it can be doubled: the broker need not hear of every small
        change."""
        if wanted < self.messages or wanted >= 2 * self.messages or wanted == MOST_MESSAGES:
            self.messages = wanted
