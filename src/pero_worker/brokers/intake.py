"""Messages that come over a connection, and their acknowledgements. Nothing here waits.

By the thread of the connection only.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from itertools import count
from typing import Any

from pika import spec
from pika.channel import Channel

from pero_worker.wire.queues import traceparent_of

_TAG_BYTES = 200


class Intake:
    """On an open channel of its own."""

    def __init__(self, channel: Channel, number: int, arrive: Callable[[str, int, bytes, bool, str], None]) -> None:
        """`number`: of the connection; `arrive` is called with queue, tag, body, whether somebody had it before, and
        its place in a trace."""
        self.channel = channel
        self._number = number
        self._arrive = arrive
        self._consumed: dict[str, str] = {}
        self._tags = count(1)
        self._in_hand: dict[int, None] = {}
        """In the order in which they came."""
        channel.add_on_cancel_callback(self._cancelled)

    def fetch_ahead(self, messages: int) -> None:
        """So many may be in hand or on their way at a time."""
        # Over all consumers of the channel: a worker with several stages still holds no more than its share.
        # RabbitMQ 4.3 (or `deprecated_features.permit.global_qos = false`) takes it as a limit for each consumer that
        # begins later: then one page of every stage may be held.
        self.channel.basic_qos(prefetch_count=messages, global_qos=True)

    @property
    def consumed(self) -> frozenset[str]:
        """Queues whose messages come; may be asked from any thread."""
        return frozenset(self._consumed)

    def begin(self, queue: str, consumer: str) -> None:
        # AMQP has 255 bytes for it; it is unique on the connection, and tells people who it is.
        tag = f"{self._number}.{next(self._tags)}.{consumer}".encode()[:_TAG_BYTES].decode("utf-8", "ignore")
        self.channel.basic_consume(queue, partial(self._received, queue), consumer_tag=tag)
        self._consumed = {**self._consumed, queue: tag}

    def end(self, queue: str) -> None:
        """What is still on its way from `queue` goes back by itself."""
        tag = self._consumed[queue]
        self._consumed = {name: other for name, other in self._consumed.items() if name != queue}
        # With a callback pika gives back what comes meanwhile; without, it drops that.
        self.channel.basic_cancel(tag, callback=lambda _frame: None)

    def take(self, queue: str, found: Callable[[tuple[int, dict[str, Any], bytes] | None], None]) -> None:
        """One message: tag, headers, body; None: there is none. The queue is there."""

        def got(_channel: Channel, method: Any, properties: Any, body: bytes) -> None:
            self.channel.callbacks.remove(str(self.channel.channel_number), spec.Basic.GetEmpty, empty)
            self._in_hand[method.delivery_tag] = None
            found((method.delivery_tag, properties.headers or {}, body))

        def empty(_frame: object) -> None:
            found(None)

        self.channel.add_callback(empty, [spec.Basic.GetEmpty])
        self.channel.basic_get(queue, got)

    def acknowledge(self, tags: list[int]) -> None:
        """Those that came first with one word."""
        done = set(tags)
        first: list[int] = []
        for tag in self._in_hand:
            if tag not in done:
                break
            first.append(tag)
        if len(first) > 1:
            self.channel.basic_ack(first[-1], multiple=True)
            for tag in first:
                del self._in_hand[tag]
            tags = [tag for tag in tags if tag in self._in_hand]
        for tag in tags:
            self._in_hand.pop(tag, None)
            self.channel.basic_ack(tag)

    def give_back(self, tag: int) -> None:
        self._in_hand.pop(tag, None)
        self.channel.basic_nack(tag, requeue=True)

    def _received(self, queue: str, _channel: object, method: Any, properties: Any, body: bytes) -> None:
        self._in_hand[method.delivery_tag] = None
        self._arrive(queue, method.delivery_tag, body, method.redelivered, traceparent_of(properties.headers))

    def _cancelled(self, method: Any) -> None:
        """RabbitMQ ends a consumer when its queue is deleted."""
        ended = method.method.consumer_tag
        self._consumed = {name: tag for name, tag in self._consumed.items() if tag != ended}
