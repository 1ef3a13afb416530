"""How many finished pages are on their way to us at a time: many small ones, few large ones."""

from __future__ import annotations

from contextlib import suppress

from pero_worker.brokers.rabbitmq import RabbitBroker
from pero_worker.errors import TransientError

_MOST = 128
"""Pages: while half of them are written to the disk together, the other half comes."""
_BYTES = 64_000_000


class FetchAhead:
    """Keeps what `broker` may send ahead near `_BYTES`, by the size of the pages that came."""

    def __init__(self, broker: RabbitBroker) -> None:
        self._broker = broker
        self.pages = 1

    def saw(self, size: int) -> None:
        """A page of `size` bytes came. The number goes down at once, and up when it can be doubled."""
        wanted = max(1, min(_MOST, _BYTES // max(size, 1)))
        if wanted < self.pages or wanted >= 2 * self.pages:
            with suppress(TransientError):  # The page in hand is more important; the next one tries again.
                self._broker.fetch_ahead(wanted)
                self.pages = wanted
