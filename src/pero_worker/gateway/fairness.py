"""Whose page is next: start-time fair queueing over keys, in seconds of workers' time. Pure."""

from __future__ import annotations

from collections.abc import Sequence

_FIRST_GUESS = 2.0
_WEIGHT_OF_NEWS = 0.1


class FairShare:
    """Every key has a clock that runs on with the worker-seconds it used, slower the larger its share; the key whose
    clock is behind is next. A key that had nothing to do does not save time up."""

    def __init__(self) -> None:
        self._used: dict[str, float] = {}
        self._now = 0.0
        self._guess = _FIRST_GUESS
        self._charged: dict[str, tuple[str, float, float]] = {}

    def next(self, waiting: Sequence[tuple[str, float]]) -> str:
        """One of these (key, share), which must not be empty."""
        for owner, _ in waiting:
            self._used[owner] = max(self._used.get(owner, 0.0), self._now)
        chosen = min(waiting, key=lambda one: self._used[one[0]])[0]
        self._now = max(self._now, self._used[chosen])
        return chosen

    def charge(self, page: str, owner: str, share: float) -> None:
        """The page goes to a worker; what it will take is guessed."""
        self._charged[page] = (owner, share, self._guess)
        self._used[owner] = self._used.get(owner, self._now) + self._guess / max(share, 0.001)

    def settle(self, page: str, seconds: float | None) -> None:
        """The page is done and took `seconds`; None: it was not done, nothing is charged for it."""
        found = self._charged.pop(page, None)
        if found is None:
            return
        owner, share, guessed = found
        self._used[owner] += ((seconds or 0.0) - guessed) / max(share, 0.001)
        if seconds:
            self._guess += _WEIGHT_OF_NEWS * (seconds - self._guess)

    def forget(self, waiting: Sequence[tuple[str, float]]) -> None:
        """Keys without pages whose clocks are behind need not be remembered."""
        named = {owner for owner, _ in waiting} | {owner for owner, _, _ in self._charged.values()}
        self._used = {owner: used for owner, used in self._used.items() if owner in named or used > self._now}
