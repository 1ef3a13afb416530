"""RabbitMQ as a `ports.Broker`: messages, over the connection that `connection.py` keeps."""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import count
from typing import Any

from pero_worker.brokers.access import BrokerAccess
from pero_worker.brokers.ahead import MOST_BYTES, Ahead
from pero_worker.brokers.link import LOST, Link
from pero_worker.brokers.queues import RabbitQueues
from pero_worker.brokers.window import Done, Sending
from pero_worker.errors import PeroWorkerError, TransientError
from pero_worker.wire import queues as wire
from pero_worker.work import Delivery

logger = logging.getLogger(__name__)
_LOOK_SECONDS = 0.25
"""A message that is worked on for longer does not hold up those that were taken ahead: they go back."""
_SHORT_MESSAGES = 8
"""With fewer taken ahead, messages take so long that waiting for a confirmation between two costs little; and then a
page that kills the process finds no other on its way, which would be done again."""
_MAX_REASON_LENGTH = 4000
"""Characters of why a message was set aside."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Arrival:
    connection: int
    delivery: Delivery


class RabbitBroker(RabbitQueues):
    """Threads may share it; each call blocks the caller alone."""

    def __init__(self, access: BrokerAccess, *, prefetch: int = 1, ahead: Ahead | None = None) -> None:
        """Without servers it waits for `use`. `prefetch`: messages that may be in hand; with `ahead` as many as that
        says, by how long the caller works on them: then one thread alone may `get`."""
        self._arrived: queue.SimpleQueue[_Arrival | None] = queue.SimpleQueue()
        self._held: dict[int, tuple[int, int]] = {}
        """By the number of a delivery: its connection, and its tag there."""
        self._numbers = count(1)
        self._ahead = ahead
        self._working: tuple[float, int] | None = None
        """Since when on the message that `get` gave, and its size."""
        self._on_way = 0
        """Of those that `hand_on_soon` began with."""
        self._settled = threading.Condition(threading.Lock())
        self._bytes_arrived = 0
        self._bytes_returned = 0
        self._bytes_taken = 0
        """Each is counted by one thread."""
        self._looking = False
        super().__init__(access, prefetch=prefetch)

    def get(self, queues: Sequence[str], consumer: str, timeout: float) -> Delivery | None:
        """TransientError when RabbitMQ is away, or one of the queues."""
        if self._ahead is not None:
            self._measure(self._ahead)
        deadline = time.monotonic() + timeout
        self._serve(tuple(queues), consumer, timeout)
        self._connection.tell_if_blocked()
        while True:
            try:
                # Most of the time there is something.
                arrival = self._arrived.get(timeout=max(deadline - time.monotonic(), 0.0))
            except queue.Empty:
                return None
            if arrival is None:
                return None
            self._bytes_taken += len(arrival.delivery.body)
            if not self._is_current(arrival.connection):
                continue
            if arrival.delivery.queue in queues:
                if self._on_way and self._is_risky(arrival.delivery):
                    self._wait_until_settled()
                self._working = (time.monotonic(), len(arrival.delivery.body))
                return arrival.delivery
            self.give_back(arrival.delivery)

    def publish(self, queue: str, body: bytes, priority: int = 0) -> None:
        """Waits for the broker's confirmation. RequestError: no such queue, or too large; TransientError: try again."""
        self._into(queue, lambda: self._connection.call(lambda link: link.publish(queue, body, priority)))

    def hand_on(self, delivery: Delivery, queue: str, body: bytes, priority: int = 0) -> None:
        def publish_first(link: Link) -> None:
            self._tag(link, delivery)
            link.publish(queue, body, priority)

        self._into(queue, lambda: self._acknowledge_after(publish_first, delivery))

    def hand_on_soon(self, delivery: Delivery, queue: str, body: bytes, priority: int, done: Done) -> None:
        """`done` is called by the connection's thread: it must be quick, and ask nothing of the broker."""

        def finished(error: PeroWorkerError | None) -> None:
            if error is None:
                self._held.pop(delivery.tag, None)
            with self._settled:
                self._on_way -= 1
                if not self._on_way:
                    self._settled.notify_all()
            done(error)

        def begin(link: Link) -> None:
            try:
                tag = self._tag(link, delivery)
            except TransientError as error:
                finished(error)
            else:
                link.send(Sending(queue=queue, body=body, priority=priority, answers=tag, done=finished))

        with self._settled:
            self._on_way += 1
        self._post(begin, finished)

    def publish_soon(self, queue: str, body: bytes, priority: int, done: Done) -> None:
        """`publish` without waiting; of `done` the same holds as in `hand_on_soon`."""
        self._post(lambda link: link.send(Sending(queue=queue, body=body, priority=priority, done=done)), done)

    def ack(self, delivery: Delivery) -> None:
        self._acknowledge_after(lambda _link: None, delivery)

    def give_back(self, delivery: Delivery) -> None:
        """A lost connection gave it back already."""
        try:
            self._settle(delivery, lambda link, tag: link.intake.give_back(tag))
        except TransientError as error:
            logger.debug("page was given back by itself: %s", error)

    def set_aside(self, delivery: Delivery, reason: str) -> None:
        if self.restored(wire.DEAD_LETTERS) is None:
            self.declare(wire.DEAD_LETTERS)

        def publish_first(link: Link) -> None:
            self._tag(link, delivery)
            headers = {wire.REASON: reason[:_MAX_REASON_LENGTH], wire.ORIGIN: delivery.queue}
            link.publish(wire.DEAD_LETTERS, delivery.body, 0, headers)

        self._acknowledge_after(publish_first, delivery)

    def fetch_ahead(self, messages: int) -> None:
        """So many may be in hand, or on their way to us, at a time; also over connections to come."""
        self._connection.fetch_ahead(messages)

    def take(self, queue: str) -> tuple[Delivery, dict[str, Any]] | None:
        """One message and its headers without waiting; None when the queue is empty. RequestError: no such queue."""
        return self._connection.call(lambda link: self._take(link, queue))

    @property
    def has_arrivals(self) -> bool:
        """Whether `get` would return at once."""
        return not self._arrived.empty()

    def wake(self) -> None:
        """Ends the wait of a thread in `get`."""
        self._arrived.put(None)

    def close(self) -> None:
        """Messages in hand return to their queues."""
        self.wake()
        super().close()

    # -- the inside --------------------------------------------------------------------------------------------

    def _serve(self, queues: tuple[str, ...], consumer: str, timeout: float) -> None:
        link = self._connection.link
        if link is not None and link.serves(queues):
            return

        def consume(link: Link) -> list[str]:
            dropped, missing = link.consume(queues, consumer)
            if dropped:
                self._return_arrived(link, queues)
            return missing

        if self._restore_some(self._connection.call(consume, wait=timeout), queues):
            self._connection.call(consume, wait=timeout)

    def _is_risky(self, delivery: Delivery) -> bool:
        """Whether it may well kill this process, or takes so long that a moment more does not matter."""
        return delivery.redelivered or (self._ahead is not None and self._ahead.messages < _SHORT_MESSAGES)

    def _wait_until_settled(self) -> None:
        """Returns when what is on its way has arrived, and RabbitMQ has been told what that answers."""
        while not self._settled_within(_LOOK_SECONDS):
            self._connection.tell_if_blocked()
        with suppress(TransientError):  # A connection that is lost has settled everything.
            self._connection.call(lambda link: link.flush())

    def _settled_within(self, seconds: float) -> bool:
        with self._settled:
            return self._settled.wait_for(lambda: not self._on_way, seconds)

    def _measure(self, ahead: Ahead) -> None:
        """What the caller had is done with."""
        working, self._working = self._working, None
        if working is None:
            return
        before = ahead.messages
        ahead.took(time.monotonic() - working[0], working[1])
        if ahead.messages != before:
            self.fetch_ahead(ahead.messages)

    def _begin_connection(self) -> None:
        self._held.clear()
        self._looking = False

    def _arrive(self, link: Link, queue: str, tag: int, body: bytes, redelivered: bool) -> None:
        delivery = self._delivery(link, queue, tag, body, redelivered)
        self._bytes_arrived += len(body)
        self._arrived.put(_Arrival(connection=link.number, delivery=delivery))
        if self._ahead is None or self._ahead.messages == 1:
            return
        if self._bytes_arrived - self._bytes_returned - self._bytes_taken > 2 * MOST_BYTES:
            self._hold_back(link, self._ahead)
        elif not self._looking:
            self._looking = True
            link.later(_LOOK_SECONDS, lambda: self._look(link))

    def _look(self, link: Link) -> None:
        """From time to time while messages were taken ahead."""
        self._looking = False
        if self._ahead is None or self._arrived.empty():
            return
        working = self._working
        if working is not None and time.monotonic() - working[0] > _LOOK_SECONDS:
            self._hold_back(link, self._ahead)
        else:
            self._looking = True
            link.later(_LOOK_SECONDS, lambda: self._look(link))

    def _hold_back(self, link: Link, ahead: Ahead) -> None:
        """Lets others have what was taken ahead."""
        ahead.hold_back()
        self._connection.limit(link, ahead.messages)
        self._return_arrived(link)

    def _return_arrived(self, link: Link, but: Sequence[str] = ()) -> None:
        """Gives back what nobody has taken yet, but what came from the queues `but`; by the connection's thread."""
        kept: list[_Arrival | None] = []
        while True:
            try:
                arrival = self._arrived.get_nowait()
            except queue.Empty:
                break
            if arrival is None or arrival.delivery.queue in but:
                kept.append(arrival)
                continue
            self._bytes_returned += len(arrival.delivery.body)
            connection, tag = self._held.pop(arrival.delivery.tag, (0, 0))
            if connection == link.number:
                link.intake.give_back(tag)
        for arrival in kept:
            self._arrived.put(arrival)

    def _delivery(self, link: Link, queue: str, tag: int, body: bytes, redelivered: bool = False) -> Delivery:
        number = next(self._numbers)
        self._held[number] = (link.number, tag)
        return Delivery(tag=number, queue=queue, body=body, redelivered=redelivered)

    def _take(self, link: Link, queue: str) -> tuple[Delivery, dict[str, Any]] | None:
        found = link.take(queue)
        if found is None:
            return None
        tag, headers, body = found
        return self._delivery(link, queue, tag, body), headers

    def _is_current(self, connection: int) -> bool:
        link = self._connection.link
        return link is not None and link.number == connection

    def _post(self, begin: Callable[[Link], None], done: Done) -> None:
        link = self._connection.link
        if link is None:
            done(TransientError(LOST))
        else:
            link.post(begin, done)

    def _acknowledge_after(self, before: Callable[[Link], None], delivery: Delivery) -> None:
        self._settle(delivery, lambda link, tag: link.intake.acknowledge([tag]), before)

    def _settle(
        self,
        delivery: Delivery,
        settle: Callable[[Link, int], None],
        before: Callable[[Link], None] = lambda _link: None,
    ) -> None:
        def run(link: Link) -> None:
            before(link)
            settle(link, self._tag(link, delivery))
            del self._held[delivery.tag]
            link.flush()

        if self._connection.link is None:
            raise TransientError(LOST)
        self._connection.call(run)

    def _tag(self, link: Link, delivery: Delivery) -> int:
        """The delivery's tag on this connection: one that came over an earlier connection is not ours any more."""
        connection, tag = self._held.get(delivery.tag, (0, 0))
        if connection != link.number:
            raise TransientError(LOST)
        return tag
