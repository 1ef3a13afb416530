"""Messages that came from RabbitMQ and wait to be taken: how many there may be, and when they go back for other workers
to take."""

from __future__ import annotations

import queue
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from pero_worker.brokers.ahead import LOOK_SECONDS, MOST_BYTES, Ahead
from pero_worker.brokers.link import Link
from pero_worker.work import Delivery

_SHORT_MESSAGES = 8
"""If fewer are taken ahead, messages take so long that waiting for a confirmation between two of them costs little; and
no other page is on its way, to be done again, when a page kills the process."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Arrival:
    """A message that has arrived."""

    connection: int
    """Number of the connection that it came over."""
    delivery: Delivery
    """The message."""


class Arrivals:
    """A queue of messages: the connection's thread adds them, another one takes them."""

    def __init__(
        self,
        ahead: Ahead | None,
        *,
        limit: Callable[[Link, int], None],
        give_back: Callable[[Link, Delivery], None],
    ) -> None:
        """`ahead` decides how many messages may come, None if the caller does; `limit` tells the broker how many may be
        in hand; `give_back` is called by the connection's thread with a message that was not taken."""
        self._ahead = ahead
        self._limit = limit
        self._give_back = give_back
        self._waiting: queue.SimpleQueue[Arrival | None] = queue.SimpleQueue()
        self._working: tuple[float, int, bool] | None = None
        """When work began on the last message taken, its weight, and whether some of its contents are elsewhere."""
        self._bytes_added = 0
        self._bytes_returned = 0
        self._bytes_taken = 0
        """Each of these counters is written by one thread only."""
        self._looking = False

    # -- by the thread that takes --------------------------------------------------------------------------------

    def take(self, timeout: float) -> Arrival | None:
        """Returns the next message; None if there was none within `timeout` seconds or `wake` was called."""
        try:
            # Usually a message is waiting already.
            arrival = self._waiting.get(timeout=timeout)
        except queue.Empty:
            return None
        if arrival is not None:
            self._bytes_taken += arrival.delivery.weight
        return arrival

    def begin(self, delivery: Delivery) -> None:
        """Notes that work on the message begins."""
        self._working = (time.monotonic(), delivery.weight, delivery.bytes_beside > 0)

    def end(self) -> int | None:
        """Notes that this work has ended. Returns how many may be in hand from now on, None for as many as before."""
        working, self._working = self._working, None
        if working is None or self._ahead is None:
            return None
        before = self._ahead.messages
        self._ahead.took(time.monotonic() - working[0], working[1], fetched=working[2])
        return self._ahead.messages if self._ahead.messages != before else None

    def is_risky(self, delivery: Delivery) -> bool:
        """Whether the message may well kill this process, or takes so long that a moment more does not matter."""
        return delivery.redelivered or (self._ahead is not None and self._ahead.messages < _SHORT_MESSAGES)

    # -- by any ----------------------------------------------------------------------------------------------------

    @property
    def is_empty(self) -> bool:
        return self._waiting.empty()

    def wake(self) -> None:
        """Wakes the thread that is waiting to take."""
        self._waiting.put(None)

    # -- by the connection's thread --------------------------------------------------------------------------------

    def begin_connection(self) -> None:
        """Forgets the timer of the previous connection, which will not fire any more."""
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
        """Gives back what has not been taken yet, except what came from the queues `but`."""
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
        """Checks, from time to time while messages wait, whether the one in hand takes too long."""
        self._looking = False
        if self._waiting.empty():
            return
        working = self._working
        if working is not None and time.monotonic() - working[0] > ahead.patience:
            self._hold_back(link, ahead)
        else:
            self._look_later(link, ahead)

    def _hold_back(self, link: Link, ahead: Ahead) -> None:
        """Leaves what was taken ahead to other workers."""
        ahead.hold_back()
        self._limit(link, ahead.messages)
        self.return_all(link)
        link.intake.let_go()
