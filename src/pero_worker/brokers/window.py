"""Messages on their way to RabbitMQ, several at once: each is done when it is confirmed. Nothing here waits.

For the connection's thread only. What a message answers is acknowledged after its confirmation, never before.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from itertools import takewhile
from typing import Any

import pika
import pika.exceptions as amqp
from pika import spec
from pika.channel import Channel

from pero_worker.errors import NoQueueError, PeroWorkerError, RequestError, TransientError
from pero_worker.wire import queues as wire

Done = Callable[[PeroWorkerError | None], None]
"""Called with the error that a message met, or None once the broker has it for good."""

LARGE_BYTES = 4_000_000
"""A larger message goes alone: if RabbitMQ refuses it for its size, it closes the channel, and what became of others on
their way would be unknown."""
REFUSED_BY_SIZE = frozenset({406, 501})


@dataclass(slots=True, kw_only=True)
class Sending:
    """A message on its way."""

    queue: str
    """Queue that it goes to."""
    body: bytes
    """Body of the message, as it is sent."""
    priority: int = 0
    """Priority; messages with a higher one are delivered first."""
    traceparent: str = ""
    """Place of the message in a trace; '' = none."""
    answers: int = 0
    """Tag of the delivery that is acknowledged once this is confirmed; 0 = none."""
    done: Done
    """Called when it is confirmed or has come back."""
    refusal: PeroWorkerError | None = None
    """Why it came back, if it did."""


class Window:
    """Sends messages on a channel of its own, which is opened again when RabbitMQ closes it."""

    def __init__(
        self, open_channel: Callable[[Callable[[Channel], None]], object], acknowledge: Callable[[list[int]], None]
    ) -> None:
        """`open_channel` calls back when the channel is open; `acknowledge` is called with tags of deliveries."""
        self._open_channel = open_channel
        self._acknowledge = acknowledge
        self._channel: Channel | None = None
        self._waiting: deque[Sending] = deque()
        self._on_way: dict[int, Sending] = {}
        """Messages on their way by their numbers on the channel, from 1, in order."""
        self._sent = 0
        self._alone = False
        self._properties: dict[int, pika.BasicProperties] = {}

    def send(self, sending: Sending) -> None:
        self._waiting.append(sending)
        self._go_on()

    def opened(self, channel: Channel) -> None:
        """Uses this channel from now on."""
        self._channel = channel
        self._sent = 0
        self._alone = False
        channel.add_on_close_callback(self._closed)
        channel.add_on_return_callback(self._returned)
        channel.confirm_delivery(self._confirmed)
        self._go_on()

    def fail(self, error: PeroWorkerError) -> None:
        """Fails all messages because the connection is lost: whether those on their way arrived is unknown."""
        self._channel = None
        lost = [*self._on_way.values(), *self._waiting]
        self._on_way.clear()
        self._waiting.clear()
        for sending in lost:
            sending.done(error)

    def _go_on(self) -> None:
        channel = self._channel
        while channel is not None and channel.is_open and self._waiting:
            large = len(self._waiting[0].body) > LARGE_BYTES
            if self._on_way and (large or self._alone):
                return
            sending = self._waiting.popleft()
            self._sent += 1
            self._on_way[self._sent] = sending
            self._alone = large
            channel.basic_publish("", sending.queue, sending.body, self._of(sending), mandatory=True)

    def _of(self, sending: Sending) -> pika.BasicProperties:
        if sending.traceparent:
            return wire_properties(sending.priority, wire.headers_of(sending.traceparent))
        if sending.priority not in self._properties:
            self._properties[sending.priority] = wire_properties(sending.priority)
        return self._properties[sending.priority]

    def _confirmed(self, frame: Any) -> None:
        method = frame.method
        last: int = method.delivery_tag
        numbers = list(takewhile(lambda number: number <= last, self._on_way)) if method.multiple else [last]
        settled = [sending for number in numbers if (sending := self._on_way.pop(number, None))]
        if isinstance(method, spec.Basic.Nack):
            for sending in settled:
                sending.refusal = TransientError(f"RabbitMQ cannot take a message for {sending.queue!r} now")
        self._acknowledge([sending.answers for sending in settled if sending.answers and not sending.refusal])
        for sending in settled:
            sending.done(sending.refusal)
        if self._waiting:
            self._go_on()

    def _returned(self, _channel: Channel, method: Any, _properties: object, body: bytes) -> None:
        """Notes that a message came back. Those that no queue gets come back before they are confirmed, in order, and
        do not say which they are."""
        for sending in self._on_way.values():
            if sending.queue == method.routing_key and not sending.refusal and sending.body == body:
                sending.refusal = NoQueueError(f"there is no queue {sending.queue!r}")
                return

    def _closed(self, _channel: Channel, reason: Exception) -> None:
        if not isinstance(reason, amqp.ChannelClosedByBroker):
            return
        lost, self._on_way = list(self._on_way.values()), {}
        self._channel = None
        for sending in lost:
            sending.done(refused(reason, sending.body, certain=len(lost) == 1))
        self._open_channel(self.opened)


def wire_properties(priority: int, headers: dict[str, str] | None = None) -> pika.BasicProperties:
    """Returns the properties of a message, as upstream sets them."""
    return pika.BasicProperties(delivery_mode=wire.PERSISTENT, priority=wire.priority(priority), headers=headers)


def refused(reason: amqp.ChannelClosedByBroker, body: bytes, *, certain: bool = True) -> PeroWorkerError:
    """Returns the error for a message when RabbitMQ closed its channel; `certain`: this message was the cause."""
    if certain and reason.reply_code in REFUSED_BY_SIZE:
        return RequestError(
            f"RabbitMQ refuses a message of {len(body)} bytes ({reason.reply_text}): set max_message_size = "
            f"{wire.MAX_MESSAGE_BYTES} in its rabbitmq.conf, or send a smaller image"
        )
    return TransientError(f"RabbitMQ refused: {reason.reply_text}")
