"""Pure: whose page is next, by start-time fair queueing over keys, in seconds of worker time."""

from __future__ import annotations

from collections.abc import Sequence

_FIRST_GUESS = 2.0
_WEIGHT_OF_NEWS = 0.1


class FairShare:
    """Gives every key a clock that advances with the worker seconds it uses, more slowly the larger its share; the key
    whose clock is furthest behind is next. A key that was idle does not save up time."""

    def __init__(self) -> None:
        self._used: dict[str, float] = {}
        self._now = 0.0
        self._guess = _FIRST_GUESS
        self._charged: dict[str, tuple[str, float, float]] = {}

    def next(self, waiting: Sequence[tuple[str, float]]) -> str:
        """Returns whose turn it is among these (key, share) pairs, of which there must be at least one."""
        for owner, _ in waiting:
            self._used[owner] = max(self._used.get(owner, 0.0), self._now)
        chosen = min(waiting, key=lambda one: self._used[one[0]])[0]
        self._now = max(self._now, self._used[chosen])
        return chosen

    def charge(self, page: str, owner: str, share: float) -> None:
        """Charges the key for a page that goes to a worker, by a guess of how long it will take."""
        self._charged[page] = (owner, share, self._guess)
        self._used[owner] = self._used.get(owner, self._now) + self._guess / max(share, 0.001)

    def settle(self, page: str, seconds: float | None) -> None:
        """Replaces the guess with the `seconds` that the page took; None if it was not done, so that nothing is
        charged."""
        found = self._charged.pop(page, None)
        if found is None:
            return
        owner, share, guessed = found
        self._used[owner] += ((seconds or 0.0) - guessed) / max(share, 0.001)
        if seconds:
            self._guess += _WEIGHT_OF_NEWS * (seconds - self._guess)

    def forget(self, waiting: Sequence[tuple[str, float]]) -> None:
        """Forgets keys that have no pages and whose clocks are behind."""
        named = {owner for owner, _ in waiting} | {owner for owner, _, _ in self._charged.values()}
        self._used = {owner: used for owner, used in self._used.items() if owner in named or used > self._now}
