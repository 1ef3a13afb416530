"""One connection to RabbitMQ, owned by one thread."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from concurrent.futures import Future
from functools import partial
from itertools import count
from typing import Any, TypeVar

import pika
import pika.exceptions as amqp
from pika.adapters.blocking_connection import BlockingChannel, BlockingConnection

from pero_worker.errors import RequestError, TransientError
from pero_worker.wire import queues as wire
from pero_worker.work import QueueState

logger = logging.getLogger(__name__)
# Problems with a connection are logged once, by us.
logging.getLogger("pika").setLevel(logging.CRITICAL)

T = TypeVar("T")
_TAG_BYTES = 200
_REFUSED_BY_SIZE = {406, 501}


class Link:
    """One connection, used by the broker's own thread only; `run` and `interrupt` may be called by all."""

    def __init__(
        self,
        connection: BlockingConnection,
        number: int,
        prefetch: int,
        arrive: Callable[[Link, str, int, bytes, bool], None],
    ) -> None:
        self.number = number
        self._connection = connection
        self._arrive = arrive
        self._waiting: set[Future[Any]] = set()
        self._lock = threading.Lock()
        self._ended = False
        self._consumed: dict[str, str] = {}
        self._tags = count(1)
        self.blocked = ""
        """Why RabbitMQ takes no messages, in its words; '' when it does. May be read from any thread."""
        # The blocking connection itself would tell only after the call that waits.
        connection._impl.add_on_connection_blocked_callback(self._block)
        connection._impl.add_on_connection_unblocked_callback(self._unblock)
        self.consuming: BlockingChannel = connection.channel()
        # Over all consumers of the channel: a worker with several stages still holds no more pages than it works on.
        # RabbitMQ 4.3 (or `deprecated_features.permit.global_qos = false`) takes it as a limit for each consumer: then
        # one page of every stage may be held.
        self.fetch_ahead(prefetch)
        self.consuming.add_on_cancel_callback(self._cancelled)
        self._publishing = self._confirming_channel()
        # Asking for a queue that does not exist closes the channel.
        self._asking: BlockingChannel = connection.channel()

    def fetch_ahead(self, messages: int) -> None:
        """So many may be in hand or on their way at a time."""
        self.consuming.basic_qos(prefetch_count=messages, global_qos=True)

    def loop(self, closing: threading.Event) -> None:
        while not closing.is_set():
            self._connection.process_data_events(time_limit=1)
            if self.consuming.is_closed:
                raise amqp.ChannelClosed(0, "the channel was closed by RabbitMQ")

    def run(self, action: Callable[[Link], T]) -> Future[T]:
        future: Future[T] = Future()
        with self._lock:
            if self._ended:
                future.cancel()
                return future
            self._waiting.add(future)
        try:
            self._connection.add_callback_threadsafe(partial(self._perform, action, future))
        except amqp.AMQPError:
            future.cancel()
        return future

    def interrupt(self) -> None:
        try:
            self._connection.add_callback_threadsafe(lambda: None)
        except amqp.AMQPError:
            logger.debug("the connection is closed already")

    def end(self) -> None:
        with self._lock:
            self._ended = True
            waiting = list(self._waiting)
        for future in waiting:
            future.cancel()
        try:
            self._connection.close()
        except (amqp.AMQPError, OSError, AttributeError) as error:
            logger.debug("closing the connection: %s", error)

    def _perform(self, action: Callable[[Link], T], future: Future[T]) -> None:
        if not future.set_running_or_notify_cancel():
            with self._lock:
                self._waiting.discard(future)
            return
        lost: Exception | None = None
        try:
            result = action(self)
        except (amqp.AMQPConnectionError, OSError) as error:
            lost = error
            future.set_exception(TransientError(f"the connection to RabbitMQ was lost: {explain(error)}"))
        except amqp.AMQPError as error:
            future.set_exception(TransientError(f"RabbitMQ refused: {explain(error)}"))
        except Exception as error:  # the caller's thread is the place to hear of it
            future.set_exception(error)
        else:
            future.set_result(result)
        with self._lock:
            self._waiting.discard(future)
        if lost:
            raise lost

    def _block(self, _connection: object, frame: Any) -> None:
        self.blocked = str(frame.method.reason) or "out of room"

    def _unblock(self, _connection: object, _frame: object) -> None:
        self.blocked = ""

    def serves(self, queues: tuple[str, ...]) -> bool:
        """Whether exactly `queues` are delivered; may be asked from any thread."""
        return set(queues) == set(self._consumed)

    def consume(self, queues: tuple[str, ...], consumer: str) -> bool:
        """Has messages of exactly `queues` delivered; whether one that was served is not any more. One that is missing
        is left out and asked for again the next time. TransientError: all are missing."""
        dropped = [name for name in self._consumed if name not in queues]
        for name in dropped:
            self.consuming.basic_cancel(self._consumed.pop(name))
        missing = ""
        for name in [name for name in queues if name not in self._consumed]:
            if self.state(name) is None:
                missing = name
                continue
            # AMQP has 255 bytes for it; it is unique on the connection, and tells people who it is.
            tag = f"{self.number}.{next(self._tags)}.{consumer}".encode()[:_TAG_BYTES].decode("utf-8", "ignore")
            self.consuming.basic_consume(name, partial(self._received, name), consumer_tag=tag)
            self._consumed[name] = tag
        if missing and not self._consumed:
            raise TransientError(f"there is no queue {missing!r}: create it with: pero-worker stage add {missing}")
        return bool(dropped)

    def _cancelled(self, method: Any) -> None:
        """RabbitMQ ends a consumer when its queue is deleted."""
        self._consumed = {name: tag for name, tag in self._consumed.items() if tag != method.method.consumer_tag}

    def _received(self, queue: str, _channel: object, method: Any, _properties: object, body: bytes) -> None:
        self._arrive(self, queue, method.delivery_tag, body, method.redelivered)

    def publish(self, queue: str, body: bytes, priority: int, headers: dict[str, str] | None = None) -> None:
        properties = pika.BasicProperties(
            delivery_mode=wire.PERSISTENT, priority=wire.priority(priority), headers=headers
        )
        if not self._publishing.is_open:
            self._publishing = self._confirming_channel()
        try:
            self._publishing.basic_publish("", queue, body, properties, mandatory=True)
        except amqp.UnroutableError:
            raise RequestError(f"there is no queue {queue!r}") from None
        except amqp.NackError:
            raise TransientError(f"RabbitMQ cannot take a message for {queue!r} now") from None
        except amqp.ChannelClosedByBroker as error:
            if error.reply_code in _REFUSED_BY_SIZE:
                raise RequestError(
                    f"RabbitMQ refuses a message of {len(body)} bytes ({error.reply_text}): set max_message_size = "
                    f"{wire.MAX_MESSAGE_BYTES} in its rabbitmq.conf, or send a smaller image"
                ) from error
            raise

    def declare(self, queue: str, expires: int = 0) -> None:
        # Whatever arguments an existing queue has, they are left alone: a second declaration could be refused.
        if self.state(queue) is None:
            arguments = {**wire.QUEUE_ARGUMENTS, **({"x-expires": 1000 * expires} if expires else {})}
            self.temporary(lambda channel: channel.queue_declare(queue, durable=True, arguments=arguments))

    def state(self, queue: str) -> QueueState | None:
        if not self._asking.is_open:
            self._asking = self._connection.channel()
        try:
            method: Any = self._asking.queue_declare(queue, passive=True).method
        except amqp.ChannelClosedByBroker as error:
            if error.reply_code == 404:
                return None
            raise
        return QueueState(messages=method.message_count, consumers=method.consumer_count)

    def take(self, queue: str) -> tuple[int, dict[str, Any], bytes] | None:
        if self.state(queue) is None:
            raise RequestError(f"there is no queue {queue!r}")
        method, properties, body = self.consuming.basic_get(queue)
        return None if method is None else (method.delivery_tag, properties.headers or {}, body)

    def temporary(self, action: Callable[[BlockingChannel], T]) -> T:
        """On a channel of its own: what RabbitMQ refuses closes the channel."""
        channel = self._connection.channel()
        try:
            return action(channel)
        finally:
            if channel.is_open:
                channel.close()

    def _confirming_channel(self) -> BlockingChannel:
        channel = self._connection.channel()
        channel.confirm_delivery()
        return channel


def explain(error: BaseException) -> str:
    """pika's errors hide the reason in their arguments, sometimes in an error within."""
    if isinstance(error, amqp.ProbableAuthenticationError):
        return "user or password is wrong"
    if isinstance(error, amqp.ProbableAccessDeniedError):
        return "the user may not enter this vhost, or there is none"
    inner = next((arg for arg in error.args if isinstance(arg, BaseException)), None)
    if inner is not None:
        return explain(inner)
    nested = getattr(error, "exception", None)
    if isinstance(nested, BaseException):
        return explain(nested)
    return str(error) or type(error).__name__
