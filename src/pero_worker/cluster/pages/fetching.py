"""How many finished pages are prefetched: many small ones or few large ones."""

from __future__ import annotations

from contextlib import suppress

from pero_worker.brokers.rabbitmq import RabbitBroker
from pero_worker.errors import TransientError

_MOST = 128
"""Limit in pages: while half of them are committed to disk together, the other half arrives."""
_BYTES = 64_000_000


class FetchAhead:
    """Keeps what `broker` may prefetch near `_BYTES`, judging by the sizes of the pages so far."""

    def __init__(self, broker: RabbitBroker) -> None:
        self._broker = broker
        self.pages = 1

    def saw(self, size: int) -> None:
        """Notes a page of `size` bytes. The prefetch number goes down at once, and up only when it can at least
        double."""
        wanted = max(1, min(_MOST, _BYTES // max(size, 1)))
        if wanted < self.pages or wanted >= 2 * self.pages:
            with suppress(TransientError):  # The page in hand matters more; the next one tries again.
                self._broker.fetch_ahead(wanted)
                self.pages = wanted
