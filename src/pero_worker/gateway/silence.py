"""When pages that went to a cluster are lost: nothing waits, nobody works, and they do not come back. Pure."""

from __future__ import annotations

_QUIET_SECONDS = 15.0
_ON_THEIR_WAY_SECONDS = 5.0
"""A page that was sent just before is with a worker that has not said so yet."""


class Silence:
    """Told now and then whether all queues are empty and all workers idle."""

    def __init__(self) -> None:
        self._since: float | None = None

    def look(self, now: float, *, quiet: bool) -> float | None:
        """Times are seconds. Pages that were sent before the returned time, and have not come back, are lost; None:
        none are, as far as one can tell."""
        if not quiet:
            self._since = None
            return None
        if self._since is None:
            self._since = now
        if now - self._since < _QUIET_SECONDS:
            return None
        lost_before, self._since = self._since - _ON_THEIR_WAY_SECONDS, now
        return lost_before
