"""RabbitMQ as a `ports.Broker`: messages, over the connection that `connection.py` keeps."""

from __future__ import annotations

import logging
import queue
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import count
from typing import Any

from pero_worker.brokers.access import BrokerAccess
from pero_worker.brokers.link import Link
from pero_worker.brokers.queues import RabbitQueues
from pero_worker.errors import TransientError
from pero_worker.wire import queues as wire
from pero_worker.work import Delivery

logger = logging.getLogger(__name__)
_LOST = "the connection was lost while the page was in hand: RabbitMQ gives it to another worker"
_MAX_REASON_LENGTH = 4000
"""Characters of why a message was set aside."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Arrival:
    connection: int
    delivery: Delivery


class RabbitBroker(RabbitQueues):
    """Threads may share it; each call blocks the caller alone."""

    def __init__(self, access: BrokerAccess, *, prefetch: int = 1) -> None:
        """Without servers it waits for `use`. `prefetch`: messages that may be in hand."""
        self._arrived: queue.SimpleQueue[_Arrival | None] = queue.SimpleQueue()
        self._held: dict[int, tuple[int, int]] = {}
        """By the number of a delivery: its connection, and its tag there."""
        self._numbers = count(1)
        super().__init__(access, prefetch=prefetch)

    def get(self, queues: Sequence[str], consumer: str, timeout: float) -> Delivery | None:
        """TransientError when RabbitMQ is away, or one of the queues."""
        deadline = time.monotonic() + timeout
        dropped = self._serve(tuple(queues), consumer, timeout)
        while True:
            left = 0.0 if dropped else deadline - time.monotonic()
            try:
                arrival = self._arrived.get(timeout=max(left, 0.0))
            except queue.Empty:
                if not dropped:
                    return None
                # What had arrived for a queue that is not served any more is given back by now.
                dropped = False
                continue
            if arrival is None:
                return None
            if not self._is_current(arrival.connection):
                continue
            if arrival.delivery.queue in queues:
                return arrival.delivery
            self.give_back(arrival.delivery)

    def publish(self, queue: str, body: bytes, priority: int = 0) -> None:
        """Waits for the broker's confirmation. RequestError: no such queue, or too large; TransientError: try again."""
        self._connection.call(lambda link: link.publish(queue, body, priority))

    def hand_on(self, delivery: Delivery, queue: str, body: bytes, priority: int = 0) -> None:
        def publish_first(link: Link) -> None:
            self._tag(link, delivery)
            link.publish(queue, body, priority)

        self._settle(delivery, lambda link, tag: link.consuming.basic_ack(tag), publish_first)

    def ack(self, delivery: Delivery) -> None:
        self._settle(delivery, lambda link, tag: link.consuming.basic_ack(tag))

    def give_back(self, delivery: Delivery) -> None:
        """A lost connection gave it back already."""
        try:
            self._settle(delivery, lambda link, tag: link.consuming.basic_nack(tag, requeue=True))
        except TransientError as error:
            logger.debug("page was given back by itself: %s", error)

    def set_aside(self, delivery: Delivery, reason: str) -> None:
        def publish_first(link: Link) -> None:
            self._tag(link, delivery)
            link.declare(wire.DEAD_LETTERS)
            headers = {wire.REASON: reason[:_MAX_REASON_LENGTH], wire.ORIGIN: delivery.queue}
            link.publish(wire.DEAD_LETTERS, delivery.body, 0, headers)

        self._settle(delivery, lambda link, tag: link.consuming.basic_ack(tag), publish_first)

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

    def _serve(self, queues: tuple[str, ...], consumer: str, timeout: float) -> bool:
        """Whether a queue that was served is not any more."""
        link = self._connection.link
        if link is not None and link.serves(queues):
            return False
        return self._connection.call(lambda link: link.consume(queues, consumer), wait=timeout)

    def _begin_connection(self) -> None:
        self._held.clear()

    def _arrive(self, link: Link, queue: str, tag: int, body: bytes, redelivered: bool) -> None:
        delivery = self._delivery(link, queue, tag, body, redelivered)
        self._arrived.put(_Arrival(connection=link.number, delivery=delivery))

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

        if self._connection.link is None:
            raise TransientError(_LOST)
        self._connection.call(run)

    def _tag(self, link: Link, delivery: Delivery) -> int:
        """The delivery's tag on this connection: one that came over an earlier connection is not ours any more."""
        connection, tag = self._held.get(delivery.tag, (0, 0))
        if connection != link.number:
            raise TransientError(_LOST)
        return tag
