"""RabbitMQ as a `ports.Broker`: messages, over the connection that `connection.py` maintains."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from itertools import count
from typing import Any

from pero_worker.brokers.access import BrokerAccess
from pero_worker.brokers.ahead import LOOK_SECONDS, Ahead
from pero_worker.brokers.arrivals import Arrivals
from pero_worker.brokers.link import LOST, Link
from pero_worker.brokers.queues import RabbitQueues
from pero_worker.brokers.window import Done, Sending
from pero_worker.errors import PeroWorkerError, TransientError
from pero_worker.wire import queues as wire
from pero_worker.work import Delivery

logger = logging.getLogger(__name__)
_MAX_REASON_LENGTH = 4000
"""Characters kept of the reason why a message was set aside."""


class RabbitBroker(RabbitQueues):
    """Threads may share it; a call blocks only its caller."""

    def __init__(
        self,
        access: BrokerAccess,
        *,
        prefetch: int = 1,
        ahead: Ahead | None = None,
        expect: Callable[[str, bytes], int] = lambda _queue, _body: 0,
    ) -> None:
        """Without servers it waits for `use`. `prefetch` is the number of messages that may be in hand; with `ahead`,
        that decides the number by how long the caller works on them, and only one thread may `get`. `expect` is called
        by the connection's thread with queue and body of each message that arrives, and returns the bytes that belong
        to it elsewhere."""
        self._expect = expect
        self._arrivals = Arrivals(ahead, limit=self._limit, give_back=self._give_back_untaken)
        self._held: dict[int, tuple[int, int]] = {}
        """Connection and tag of each delivery, by its number."""
        self._numbers = count(1)
        self._on_way = 0
        """Messages that `hand_on_soon` has started and that are not settled yet."""
        self._settled = threading.Condition(threading.Lock())
        super().__init__(access, prefetch=prefetch)

    def get(self, queues: Sequence[str], consumer: str, timeout: float) -> Delivery | None:
        """Raises `TransientError` if RabbitMQ, or one of the queues, is unavailable."""
        allowed = self._arrivals.end()
        if allowed is not None:
            self.fetch_ahead(allowed)
        deadline = time.monotonic() + timeout
        self._serve(tuple(queues), consumer, timeout)
        self._connection.tell_if_blocked()
        while (arrival := self._arrivals.take(max(deadline - time.monotonic(), 0.0))) is not None:
            if not self._is_current(arrival.connection):
                continue
            if arrival.delivery.queue in queues:
                if self._on_way and self._arrivals.is_risky(arrival.delivery):
                    self._wait_until_settled()
                self._arrivals.begin(arrival.delivery)
                return arrival.delivery
            self.give_back(arrival.delivery)
        return None

    def publish(self, queue: str, body: bytes, priority: int = 0, traceparent: str = "") -> None:
        """Publishes a message and waits for the broker's confirmation. Raises `RequestError` if there is no such queue
        or the message is too large, `TransientError` if another attempt may succeed."""
        headers = wire.headers_of(traceparent)
        self._into(queue, lambda: self._connection.call(lambda link: link.publish(queue, body, priority, headers)))

    def hand_on(self, delivery: Delivery, queue: str, body: bytes, priority: int = 0) -> None:
        def publish_first(link: Link) -> None:
            self._tag(link, delivery)
            link.publish(queue, body, priority, wire.headers_of(delivery.traceparent))

        self._into(queue, lambda: self._acknowledge_after(publish_first, delivery))

    def hand_on_soon(self, delivery: Delivery, queue: str, body: bytes, priority: int, done: Done) -> None:
        """Like `hand_on`, without waiting. `done` is called by the connection's thread: it must be quick and must not
        call the broker."""

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
                trace = delivery.traceparent
                link.send(
                    Sending(queue=queue, body=body, priority=priority, traceparent=trace, answers=tag, done=finished)
                )

        with self._settled:
            self._on_way += 1
        self._post(begin, finished)

    def publish_soon(self, queue: str, body: bytes, priority: int, done: Done) -> None:
        """Like `publish`, without waiting; the rules for `done` are those of `hand_on_soon`."""
        self._post(lambda link: link.send(Sending(queue=queue, body=body, priority=priority, done=done)), done)

    def ack(self, delivery: Delivery) -> None:
        self._acknowledge_after(lambda _link: None, delivery)

    def give_back(self, delivery: Delivery) -> None:
        """Gives the message back; a lost connection has done so already."""
        try:
            self._settle(delivery, lambda link, tag: link.intake.give_back(tag))
        except TransientError as error:
            logger.debug("page was given back by itself: %s", error)

    def set_aside(self, delivery: Delivery, reason: str) -> None:
        if self.restored(wire.DEAD_LETTERS) is None:
            self.declare(wire.DEAD_LETTERS)

        def publish_first(link: Link) -> None:
            self._tag(link, delivery)
            why = {wire.REASON: reason[:_MAX_REASON_LENGTH], wire.ORIGIN: delivery.queue}
            link.publish(wire.DEAD_LETTERS, delivery.body, 0, wire.headers_of(delivery.traceparent, why))

        self._acknowledge_after(publish_first, delivery)

    def fetch_ahead(self, messages: int) -> None:
        """Sets how many messages may be in hand or on their way to us at a time, on this and later connections."""
        self._connection.fetch_ahead(messages)

    def take(self, queue: str) -> tuple[Delivery, dict[str, Any]] | None:
        """Returns one message and its headers without waiting, None if the queue is empty. Raises `RequestError` if
        there is no such queue."""
        return self._connection.call(lambda link: self._take(link, queue))

    @property
    def has_arrivals(self) -> bool:
        """Whether `get` would return at once."""
        return not self._arrivals.is_empty

    def wake(self) -> None:
        """Ends the wait of a thread in `get`."""
        self._arrivals.wake()

    def close(self) -> None:
        """Closes the connection; messages in hand return to their queues."""
        self.wake()
        super().close()

    def _serve(self, queues: tuple[str, ...], consumer: str, timeout: float) -> None:
        link = self._connection.link
        if link is not None and link.serves(queues):
            return

        def consume(link: Link) -> list[str]:
            dropped, missing = link.consume(queues, consumer)
            if dropped:
                self._arrivals.return_all(link, queues)
            return missing

        if self._some_are_quorum(queues):
            self._connection.limit_by_consumer()
        if self._restore_some(self._connection.call(consume, wait=timeout), queues):
            self._connection.call(consume, wait=timeout)

    def _wait_until_settled(self) -> None:
        """Returns when everything on its way has arrived and what it answers has been acknowledged."""
        while not self._settled_within(LOOK_SECONDS):
            self._connection.tell_if_blocked()
        with suppress(TransientError):  # A lost connection has settled everything.
            self._connection.call(lambda link: link.flush())

    def _settled_within(self, seconds: float) -> bool:
        with self._settled:
            return self._settled.wait_for(lambda: not self._on_way, seconds)

    def _begin_connection(self) -> None:
        self._held.clear()
        self._arrivals.begin_connection()

    def _arrive(self, link: Link, queue: str, tag: int, body: bytes, redelivered: bool, traceparent: str) -> None:
        beside = self._expect(queue, body)
        self._arrivals.add(link, self._delivery(link, queue, tag, body, traceparent, redelivered, beside))

    def _limit(self, link: Link, messages: int) -> None:
        self._connection.limit(link, messages)

    def _give_back_untaken(self, link: Link, delivery: Delivery) -> None:
        connection, tag = self._held.pop(delivery.tag, (0, 0))
        if connection == link.number:
            link.intake.give_back(tag)

    def _delivery(
        self, link: Link, queue: str, tag: int, body: bytes, trace: str, again: bool = False, beside: int = 0
    ) -> Delivery:
        number = next(self._numbers)
        self._held[number] = (link.number, tag)
        return Delivery(tag=number, queue=queue, body=body, redelivered=again, traceparent=trace, bytes_beside=beside)

    def _take(self, link: Link, queue: str) -> tuple[Delivery, dict[str, Any]] | None:
        if (found := link.take(queue)) is None:
            return None
        tag, headers, body = found
        return self._delivery(link, queue, tag, body, wire.traceparent_of(headers)), headers

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
        """Returns the delivery's tag on this connection: one that came over an earlier connection is no longer ours."""
        connection, tag = self._held.get(delivery.tag, (0, 0))
        if connection != link.number:
            raise TransientError(LOST)
        return tag
