"""Estimates, from what was seen, how many pages per second enter a stage from outside. Pure: times are passed in."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import exp

_FAST_SECONDS, _SLOW_SECONDS = 60.0, 600.0
"""A rate is believed when both the last minute and the last ten show it, so that a batch published at once is not
mistaken for a steady rate, and a rate that has ended is soon forgotten."""


@dataclass(slots=True, kw_only=True)
class _Seen:
    at: float
    waiting: int
    fast: float = 0.0
    slow: float = 0.0


class Flow:
    """The flow of pages into a cluster. `seen` is called every now and then with the current figures."""

    def __init__(self) -> None:
        self._stages: dict[str, _Seen] = {}
        self._since: dict[str, float] = {}

    def seen(
        self,
        now: float,
        waiting: Mapping[str, int],
        working: Mapping[str, float],
        onward: Mapping[str, Mapping[str, float]],
    ) -> None:
        """Updates the estimates. `now` is in seconds; `waiting`: pages that wait, by stage; `working`: pages per second
        that its workers are doing at this moment, by stage; `onward`: see `StageView`."""
        done: dict[str, float] = {}
        for name in waiting:
            old = self._stages.get(name)
            done[name] = working.get(name, 0.0) * (now - old.at) if old else 0.0
        fed: dict[str, float] = {}
        for name, pages in done.items():
            for after, share in onward.get(name, {}).items():
                fed[after] = fed.get(after, 0.0) + share * pages
        for name, pages in waiting.items():
            old = self._stages.get(name)
            if old is None:
                self._stages[name] = _Seen(at=now, waiting=pages)
                continue
            span = now - old.at
            if span <= 0:
                continue
            # Arrivals are the growth of the queue and the pages done, less those that earlier stages passed on.
            rate = (pages - old.waiting + done[name] - fed.get(name, 0.0)) / span
            old.fast += (rate - old.fast) * (1 - exp(-span / _FAST_SECONDS))
            old.slow += (rate - old.slow) * (1 - exp(-span / _SLOW_SECONDS))
            old.at, old.waiting = now, pages

    def arrivals(self, stage: str) -> float:
        """Returns how many pages per second come from outside."""
        seen = self._stages.get(stage)
        return max(0.0, min(seen.fast, seen.slow)) if seen else 0.0

    def unserved(self, now: float, stage: str, waits: bool) -> float:
        """Returns the seconds since the stage began to wait for a worker; `waits`: whether it is waiting now."""
        if not waits:
            self._since.pop(stage, None)
            return 0.0
        return now - self._since.setdefault(stage, now)
