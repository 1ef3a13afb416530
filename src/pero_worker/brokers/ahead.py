"""How many messages a worker takes ahead: enough never to wait for the next, no more than is fair. Pure.

What one worker has taken, another cannot do: so it is no more than takes a moment. Large messages are fewer, as each is
held in memory.
"""

from __future__ import annotations

AHEAD_SECONDS = 0.1
"""What is taken ahead is done within about this time."""
MOST_MESSAGES = 64
"""In hand and on their way, in and out."""
MOST_BYTES = 32_000_000
"""Of all of them together, as far as sizes can be foreseen."""
LOOK_SECONDS = 0.25
"""A message that is worked on for longer does not hold up those that were taken ahead: they go back."""
_FETCHED_AHEAD_SECONDS = 1.0
"""Where contents are fetched from a store, one more is in hand when a page takes no longer than this: fetching takes a
part of such a time, and goes on beside the page before."""
_MEASURE_SECONDS = 0.05
"""Pages are timed together until they took so long: one alone may have been held up by anything."""


class Ahead:
    """By what the messages before took."""

    def __init__(self) -> None:
        self.messages = 1
        """That may be in hand or on their way."""
        self.patience = LOOK_SECONDS
        """Seconds that a message may take before those behind it go back."""
        self._seconds = 0.0
        self._pages = 0
        self._largest = 0
        self._largest_before = 0

    def took(self, seconds: float, size: int, *, fetched: bool = False) -> None:
        """One message of `size` bytes was worked on for `seconds`; `fetched`: contents of it came from elsewhere."""
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
        """What is in hand takes longer, or is larger, than was foreseen."""
        self.messages = 1

    def _by_size(self) -> int:
        return max(1, MOST_BYTES // max(self._largest, self._largest_before, 1))

    def _allow(self, wanted: int) -> None:
        """Down at once, up when it can be doubled: not every breath is worth a word to the broker."""
        if wanted < self.messages or wanted >= 2 * self.messages or wanted == MOST_MESSAGES:
            self.messages = wanted
