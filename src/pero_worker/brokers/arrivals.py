"""Messages that came from RabbitMQ and wait to be taken: how many that may be, and when they go back to the others."""

from __future__ import annotations

import queue
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from pero_worker.brokers.ahead import LOOK_SECONDS, MOST_BYTES, Ahead
from pero_worker.brokers.link import Link
from pero_worker.work import Delivery

_SHORT_MESSAGES = 8
"""With fewer taken ahead, messages take so long that waiting for a confirmation between two costs little; and then a
page that kills the process finds no other on its way, which would be done again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Arrival:
    """A message that came."""

    connection: int
    """The number of the connection that it came over."""
    delivery: Delivery
    """The message."""


class Arrivals:
    """The connection's thread adds, another one takes."""

    def __init__(
        self,
        ahead: Ahead | None,
        *,
        limit: Callable[[Link, int], None],
        give_back: Callable[[Link, Delivery], None],
    ) -> None:
        """`ahead` None: somebody else says how many may come. `limit` tells the broker how many may be in hand;
        `give_back` is called, by the connection's thread, with a message that nobody has taken."""
        self._ahead = ahead
        self._limit = limit
        self._give_back = give_back
        self._waiting: queue.SimpleQueue[Arrival | None] = queue.SimpleQueue()
        self._working: tuple[float, int, bool] | None = None
        """Since when on the message that was taken last, its weight, and whether something belongs to it elsewhere."""
        self._bytes_added = 0
        self._bytes_returned = 0
        self._bytes_taken = 0
        """Each is counted by one thread."""
        self._looking = False

    # -- by the thread that takes --------------------------------------------------------------------------------

    def take(self, timeout: float) -> Arrival | None:
        """The next one; None: there was none in `timeout` seconds, or somebody called `wake`."""
        try:
            # Most of the time there is something.
            arrival = self._waiting.get(timeout=timeout)
        except queue.Empty:
            return None
        if arrival is not None:
            self._bytes_taken += arrival.delivery.weight
        return arrival

    def begin(self, delivery: Delivery) -> None:
        """Work on the message begins."""
        self._working = (time.monotonic(), delivery.weight, delivery.bytes_beside > 0)

    def end(self) -> int | None:
        """What was begun is done with; how many may be in hand from now on, None: as many as before."""
        working, self._working = self._working, None
        if working is None or self._ahead is None:
            return None
        before = self._ahead.messages
        self._ahead.took(time.monotonic() - working[0], working[1], fetched=working[2])
        return self._ahead.messages if self._ahead.messages != before else None

    def is_risky(self, delivery: Delivery) -> bool:
        """Whether it may well kill this process, or takes so long that a moment more does not matter."""
        return delivery.redelivered or (self._ahead is not None and self._ahead.messages < _SHORT_MESSAGES)

    # -- by any ----------------------------------------------------------------------------------------------------

    @property
    def is_empty(self) -> bool:
        return self._waiting.empty()

    def wake(self) -> None:
        """Ends the wait of the thread that takes."""
        self._waiting.put(None)

    # -- by the connection's thread --------------------------------------------------------------------------------

    def begin_connection(self) -> None:
        """What was asked of the connection before this one is not done any more."""
        self._looking = False

    def add(self, link: Link, delivery: Delivery) -> None:
        self._bytes_added += delivery.weight
        self._waiting.put(Arrival(connection=link.number, delivery=delivery))
        if self._ahead is None or link.intake.most <= 1:
            return
        if self._bytes_added - self._bytes_returned - self._bytes_taken > 2 * MOST_BYTES:
            self._hold_back(link, self._ahead)
        elif not self._looking:
            self._look_later(link, self._ahead)

    def return_all(self, link: Link, but: Sequence[str] = ()) -> None:
        """Gives back what nobody has taken yet, but what came from the queues `but`."""
        kept: list[Arrival | None] = []
        while True:
            try:
                arrival = self._waiting.get_nowait()
            except queue.Empty:
                break
            if arrival is None or arrival.delivery.queue in but:
                kept.append(arrival)
                continue
            self._bytes_returned += arrival.delivery.weight
            self._give_back(link, arrival.delivery)
        for arrival in kept:
            self._waiting.put(arrival)

    def _look_later(self, link: Link, ahead: Ahead) -> None:
        self._looking = True
        link.later(LOOK_SECONDS, lambda: self._look(link, ahead))

    def _look(self, link: Link, ahead: Ahead) -> None:
        """From time to time while messages were taken ahead."""
        self._looking = False
        if self._waiting.empty():
            return
        working = self._working
        if working is not None and time.monotonic() - working[0] > ahead.patience:
            self._hold_back(link, ahead)
        else:
            self._look_later(link, ahead)

    def _hold_back(self, link: Link, ahead: Ahead) -> None:
        """Lets others have what was taken ahead."""
        ahead.hold_back()
        self._limit(link, ahead.messages)
        self.return_all(link)
        link.intake.let_go()
