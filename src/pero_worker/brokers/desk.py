"""Queues over a connection: counts what is in them, creates and removes them. For the connection's thread only."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pika.exceptions as amqp
from pika.adapters.blocking_connection import BlockingChannel

from pero_worker.errors import TransientError, UsageError
from pero_worker.wire import queues as wire
from pero_worker.work import QueueKind, QueueState

_NOT_FOUND, _OTHER_ARGUMENTS = 404, 406
_ON_A_NODE_THAT_IS_DOWN = ("down or inaccessible", "process is stopped")
"""RabbitMQ reports such a queue as not found, too."""


class QueueDesk:
    """Manages queues over one connection."""

    def __init__(self, open_channel: Callable[[], BlockingChannel]) -> None:
        self._open_channel = open_channel
        # Asking for a queue that does not exist closes the channel.
        self._asking = open_channel()

    def state(self, queue: str) -> QueueState | None:
        """Returns None if there is no such queue. Raises `TransientError` if it is on a node that is down."""
        if not self._asking.is_open:
            self._asking = self._open_channel()
        try:
            method: Any = self._asking.queue_declare(queue, passive=True).method
        except amqp.ChannelClosedByBroker as error:
            if error.reply_code != _NOT_FOUND:
                raise
            if any(words in error.reply_text for words in _ON_A_NODE_THAT_IS_DOWN):
                raise TransientError(f"the queue {queue!r} is on a node of RabbitMQ that is down") from None
            return None
        return QueueState(messages=method.message_count, consumers=method.consumer_count)

    def declare(self, queue: str, expires: int, kind: QueueKind) -> None:
        """As in `ports.Queues`."""
        # An existing queue is left alone, whatever its arguments: a second declaration could be refused.
        if self.state(queue) is None:
            self._declare(queue, wire.arguments_of(kind, expires))

    def convert(self, queue: str, kind: QueueKind) -> None:
        """As in `ports.Queues`."""
        if self._is_or_becomes(queue, kind):
            return
        # Only a classic queue can be removed on the condition that nothing would be lost.
        if kind is QueueKind.CLASSIC or not self._is_or_becomes(queue, QueueKind.CLASSIC):
            raise UsageError(
                f"the queue {queue} is of another kind, which RabbitMQ cannot change into {kind}: when it is empty and "
                f"no worker runs, remove it with: pero-worker stage remove {queue} --keep-config"
            )
        try:
            self._temporary(lambda channel: channel.queue_delete(queue, if_unused=True, if_empty=True))
        except amqp.ChannelClosedByBroker as error:
            raise UsageError(
                f"the queue {queue} can become {kind} when it is empty and neither a worker nor a download takes pages "
                f"from it: {error.reply_text}"
            ) from error
        self._declare(queue, wire.arguments_of(kind))

    def delete(self, queue: str) -> None:
        """Deletes the queue with everything in it."""
        self._temporary(lambda channel: channel.queue_delete(queue))

    def _is_or_becomes(self, queue: str, kind: QueueKind) -> bool:
        """Creates the queue if needed; returns whether it is of that kind, False if it is of another."""
        try:
            self._declare(queue, wire.arguments_of(kind))
        except amqp.ChannelClosedByBroker as error:
            if error.reply_code != _OTHER_ARGUMENTS:
                raise
            return False
        return True

    def _declare(self, queue: str, arguments: dict[str, object]) -> None:
        self._temporary(lambda channel: channel.queue_declare(queue, durable=True, arguments=arguments))

    def _temporary(self, action: Callable[[BlockingChannel], object]) -> None:
        """Runs `action` on a channel of its own: when RabbitMQ refuses something, it closes the channel."""
        channel = self._open_channel()
        try:
            action(channel)
        finally:
            if channel.is_open:
                channel.close()
