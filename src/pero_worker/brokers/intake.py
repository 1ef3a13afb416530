"""Messages that come over a connection, and their acknowledgements. Nothing here waits.

For the connection's thread only.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from itertools import count
from typing import Any

from pika import spec
from pika.channel import Channel

from pero_worker.wire.queues import traceparent_of

_TAG_BYTES = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class _Consumer:
    tag: str
    messages: int
    """Messages that may be in its hands, if each consumer has a limit of its own."""


class Intake:
    """Receives messages on an open channel of its own.

    The limit on messages in hand applies to all queues together or, with `by_consumer`, to each: quorum queues support
    nothing else, nor can RabbitMQ 4 be relied on to. In that case a consumer keeps the limit that it started with, and
    raising it takes another consumer next to it. A consumer with messages in hand is not ended needlessly: what a
    quorum queue gave to an ended consumer is stuck if the node that it was connected to dies, until that is back.
    """

    def __init__(
        self,
        channel: Channel,
        number: int,
        arrive: Callable[[str, int, bytes, bool, str], None],
        *,
        by_consumer: bool = False,
    ) -> None:
        """`number` is that of the connection; `arrive` is called with queue, tag, body, whether the message was
        delivered before, and its place in a trace."""
        self.channel = channel
        self._number = number
        self._arrive = arrive
        self._by_consumer = by_consumer
        self._messages = 1
        self._consumed: dict[str, tuple[_Consumer, ...]] = {}
        self._name = ""
        """Name of the consumer, for people."""
        self._tags = count(1)
        self._in_hand: dict[int, str] = {}
        """Delivery tags in the order in which they came, with the tags of their consumers."""
        channel.add_on_cancel_callback(self._cancelled)

    def fetch_ahead(self, messages: int) -> None:
        """Sets how many messages may be in hand or on their way at a time."""
        self._messages = messages
        if not self._by_consumer:
            self.channel.basic_qos(prefetch_count=messages, global_qos=True)
            return
        for queue in self.consumed:
            self._fit(queue)

    def limit_by_consumer(self) -> None:
        """Switches to `by_consumer`, as described above."""
        if not self._by_consumer:
            self._by_consumer = True
            self.channel.basic_qos(prefetch_count=0, global_qos=True)
            for queue in self.consumed:  # Those already running have no limit of their own.
                self.end(queue)
                self._fit(queue)

    def hold_back(self, messages: int) -> None:
        """Like `fetch_ahead`, while a message takes longer than was foreseen; to be followed by `let_go`."""
        self._messages = messages
        if not self._by_consumer:
            self.fetch_ahead(messages)

    def let_go(self) -> None:
        """Ends consumers after messages that were not taken went back. If each has a limit of its own, the messages
        would return at once otherwise; now none come until they are asked for again."""
        if self._by_consumer:
            working = set(self._in_hand.values())
            for queue, consumers in self._consumed.items():
                self._keep(queue, [one for one in consumers if one.tag in working and one.messages == self._messages])

    @property
    def most(self) -> int:
        """Number of messages that may be in hand."""
        return self._messages * (len(self._consumed) if self._by_consumer else 1)

    def takes_turns(self, queues: int) -> bool:
        """Whether more messages than may be in hand would come if this many queues were all consumed."""
        return self._by_consumer and self._messages == 1 and queues > 1

    @property
    def consumed(self) -> frozenset[str]:
        """Queues that are consumed; may be read from any thread."""
        return frozenset(self._consumed)

    def begin(self, queue: str, consumer: str) -> None:
        """Starts consuming the queue; `consumer` is the name that RabbitMQ shows."""
        self._name = consumer
        if self._by_consumer:
            self._fit(queue)
        else:
            self._consume(queue, 0)

    def end(self, queue: str) -> None:
        """Stops consuming the queue; what is still on its way from it goes back by itself."""
        self._keep(queue, [])

    def take(self, queue: str, found: Callable[[tuple[int, dict[str, Any], bytes] | None], None]) -> None:
        """Calls `found` with one message (tag, headers, body), or None if there is none. The queue must exist."""

        def got(method: Any, properties: Any, body: bytes) -> None:
            self._in_hand[method.delivery_tag] = ""
            found((method.delivery_tag, properties.headers or {}, body))

        self._get(queue, got, lambda: found(None))

    def deliver_one(self, queue: str, done: Callable[[bool], None]) -> None:
        """Delivers one message as if it had been consumed, and calls `done` with whether there was one. The queue must
        exist."""

        def got(method: Any, properties: Any, body: bytes) -> None:
            self._in_hand[method.delivery_tag] = ""
            traceparent = traceparent_of(properties.headers)
            self._arrive(queue, method.delivery_tag, body, method.redelivered, traceparent)
            done(True)

        self._get(queue, got, lambda: done(False))

    def acknowledge(self, tags: list[int]) -> None:
        """Acknowledges messages; those that came first with a single command."""
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

    def _get(self, queue: str, got: Callable[[Any, Any, bytes], None], nothing: Callable[[], None]) -> None:
        def empty(_frame: object) -> None:
            nothing()

        def came(_channel: Channel, method: Any, properties: Any, body: bytes) -> None:
            self.channel.callbacks.remove(str(self.channel.channel_number), spec.Basic.GetEmpty, empty)
            got(method, properties, body)

        self.channel.add_callback(empty, [spec.Basic.GetEmpty])
        self.channel.basic_get(queue, came)

    def _fit(self, queue: str) -> None:
        """Makes the limits of the queue's consumers add up to what may be in hand, as far as that can be done without
        ending one that has messages in hand."""
        kept, total = [], 0
        working = set(self._in_hand.values())
        for consumer in self._consumed.get(queue, ()):
            if consumer.tag in working or consumer.messages <= self._messages - total:
                kept.append(consumer)
                total += consumer.messages
        self._keep(queue, kept)
        if total < self._messages:
            self.channel.basic_qos(prefetch_count=self._messages - total)
            self._consume(queue, self._messages - total)

    def _consume(self, queue: str, messages: int) -> None:
        # AMQP allows 255 bytes for it; it is unique on the connection, and shows people whose it is.
        tag = f"{self._number}.{next(self._tags)}.{self._name}".encode()[:_TAG_BYTES].decode("utf-8", "ignore")
        self.channel.basic_consume(queue, partial(self._received, queue), consumer_tag=tag)
        consumers = (*self._consumed.get(queue, ()), _Consumer(tag=tag, messages=messages))
        self._consumed = {**self._consumed, queue: consumers}

    def _keep(self, queue: str, kept: list[_Consumer]) -> None:
        """Ends the queue's other consumers."""
        ended = [consumer for consumer in self._consumed.get(queue, ()) if consumer not in kept]
        others = {name: consumers for name, consumers in self._consumed.items() if name != queue}
        self._consumed = {**others, queue: tuple(kept)} if kept else others
        for consumer in ended:
            # pika's own method would give back what is still on its way, even if another consumer of the queue goes on.
            reply = (spec.Basic.CancelOk, {"consumer_tag": consumer.tag})
            self.channel._rpc(spec.Basic.Cancel(consumer_tag=consumer.tag), self.channel._on_cancelok, [reply])

    def _received(self, queue: str, _channel: object, method: Any, properties: Any, body: bytes) -> None:
        if queue not in self._consumed:
            self.give_back(method.delivery_tag)
            return
        self._in_hand[method.delivery_tag] = method.consumer_tag
        self._arrive(queue, method.delivery_tag, body, method.redelivered, traceparent_of(properties.headers))

    def _cancelled(self, method: Any) -> None:
        """Forgets a consumer that RabbitMQ ended because its queue was deleted or the queue's node went down."""
        ended = method.method.consumer_tag
        left = {name: tuple(one for one in all_ if one.tag != ended) for name, all_ in self._consumed.items()}
        self._consumed = {name: consumers for name, consumers in left.items() if consumers}
