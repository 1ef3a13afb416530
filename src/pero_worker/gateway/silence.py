"""Pure: detects when pages sent to a cluster are lost: nothing waits, nobody works, and they do not come back."""

from __future__ import annotations

_QUIET_SECONDS = 15.0
_ON_THEIR_WAY_SECONDS = 5.0
"""How recently a page may have been sent so that it may be with a worker that has not reported it yet."""


class Silence:
    """Is told now and then whether all queues are empty and all workers idle."""

    def __init__(self) -> None:
        self._since: float | None = None

    def look(self, now: float, *, quiet: bool) -> float | None:
        """Returns a time in seconds: pages sent before it that have not come back are lost; None if none seem to be
        lost."""
        if not quiet:
            self._since = None
            return None
        if self._since is None:
            self._since = now
        if now - self._since < _QUIET_SECONDS:
            return None
        lost_before, self._since = self._since - _ON_THEIR_WAY_SECONDS, now
        return lost_before
