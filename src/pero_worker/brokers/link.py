"""One connection to RabbitMQ, owned by one thread."""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import suppress
from functools import partial
from typing import Any, TypeVar

import pika.exceptions as amqp
from pika.adapters.blocking_connection import BlockingChannel, BlockingConnection
from pika.channel import Channel

from pero_worker.brokers.desk import QueueDesk
from pero_worker.brokers.intake import Intake
from pero_worker.brokers.transport import hasten
from pero_worker.brokers.window import REFUSED_BY_SIZE, Sending, Window, refused, wire_properties
from pero_worker.errors import NoQueueError, PeroWorkerError, RequestError, TransientError

logger = logging.getLogger(__name__)
# Problems with a connection are logged once, by us.
logging.getLogger("pika").setLevel(logging.CRITICAL)

T = TypeVar("T")
LOST = "the connection was lost while the page was in hand: RabbitMQ gives it to another worker"


class Link:
    """One connection, used by the broker's own thread only; `run`, `post` and `interrupt` may be called from any."""

    def __init__(
        self,
        connection: BlockingConnection,
        number: int,
        prefetch: int,
        arrive: Callable[[Link, str, int, bytes, bool, str], None],
        *,
        by_consumer: bool = False,
    ) -> None:
        """`by_consumer`: RabbitMQ limits what is in hand for each consumer separately."""
        self.number = number
        self._connection = connection
        self._arrive = arrive
        self._waiting: set[Future[Any]] = set()
        self._lock = threading.Lock()
        self._ended = False
        self._posted: deque[tuple[Callable[[Link], None], Callable[[PeroWorkerError], None]]] = deque()
        self._posting = False
        """Whether the connection's thread has been told that actions are posted."""
        self.blocked = ""
        """Why RabbitMQ takes no messages, in its words; '' if it does. May be read from any thread."""
        # The blocking connection itself would report it only after the call that waits.
        connection._impl.add_on_connection_blocked_callback(self._block)
        connection._impl.add_on_connection_unblocked_callback(self._unblock)
        hasten(connection)
        # Blocking channels poll after each acknowledgement and wait for each confirmation. The plain channels beneath
        # them do not, so many messages can pass at once.
        self.intake = Intake(_plain_channel(connection), number, partial(arrive, self), by_consumer=by_consumer)
        self.intake.fetch_ahead(prefetch)
        self._turn = ""
        """Among queues that take turns, the one whose turn was last."""
        self._window = Window(self._open_for, self.intake.acknowledge)
        self._window.opened(_plain_channel(connection))
        self._publishing = self._confirming_channel()
        self.queues = QueueDesk(connection.channel)

    def loop(self, closing: threading.Event) -> None:
        while not closing.is_set():
            self._connection.process_data_events(time_limit=1)
            if self.intake.channel.is_closed:
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

    def post(self, action: Callable[[Link], None], lost: Callable[[PeroWorkerError], None]) -> None:
        """Has the connection's thread run `action`, which must not wait, and returns at once; `lost` is called instead
        if the connection is gone."""
        with self._lock:
            ended = self._ended
            if not ended:
                self._posted.append((action, lost))
                if self._posting:
                    return
                self._posting = True
        if ended:
            lost(TransientError(LOST))
            return
        with suppress(AttributeError, OSError):  # the connection is ending: `end` calls `lost`
            self._connection._impl.ioloop.add_callback_threadsafe(self._perform_posted)

    def later(self, seconds: float, action: Callable[[], None]) -> None:
        """Has the connection's thread run `action`, which must not wait, later; to be called from that thread only."""
        self._connection._impl.ioloop.call_later(seconds, action)

    def flush(self) -> None:
        """Returns when all output is on its way; from the connection's thread, but not from within `post`."""
        self._connection._flush_output()

    def send(self, sending: Sending) -> None:
        """Starts publishing; from the connection's thread only."""
        self._window.send(sending)

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
        lost = TransientError(LOST)
        self._window.fail(lost)
        while self._posted:
            self._posted.popleft()[1](lost)
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
        except Exception as error:  # it belongs in the caller's thread
            future.set_exception(error)
        else:
            future.set_result(result)
        with self._lock:
            self._waiting.discard(future)
        if lost:
            raise lost

    def _perform_posted(self) -> None:
        # The flag is cleared first: what is posted from now on wakes this thread again.
        self._posting = False
        while self._posted and not self._ended:
            self._posted.popleft()[0](self)

    def _open_for(self, opened: Callable[[Channel], None]) -> None:
        """Opens a channel from within pika's loop, where nothing may wait."""
        with suppress(amqp.AMQPError):
            self._connection.add_callback_threadsafe(lambda: opened(_plain_channel(self._connection)))

    def _block(self, _connection: object, frame: Any) -> None:
        self.blocked = str(frame.method.reason) or "out of room"

    def _unblock(self, _connection: object, _frame: object) -> None:
        self.blocked = ""

    def serves(self, queues: tuple[str, ...]) -> bool:
        """Whether exactly `queues` are delivered; may be asked from any thread."""
        return self.intake.consumed == frozenset(queues)

    def consume(self, queues: tuple[str, ...], consumer: str) -> tuple[bool, list[str]]:
        """Has messages of exactly `queues` delivered. Returns whether a queue that was served no longer is, and which
        queues are missing: they are left out, and asked for again the next time. So are those on a node that is down;
        if there are no others, raises `TransientError`."""
        dropped = self.intake.consumed.difference(queues)
        for name in dropped:
            self.intake.end(name)
        if self.intake.takes_turns(len(queues)):
            for name in self.intake.consumed:
                self.intake.end(name)
            if self._take_turn(queues):
                return bool(dropped), []
        missing = []
        away: TransientError | None = None
        for name in [name for name in queues if name not in self.intake.consumed]:
            try:
                if self.queues.state(name) is None:
                    missing.append(name)
                else:
                    self.intake.begin(name, consumer)
            except TransientError as error:
                away = error
        if away is not None and not missing and not self.intake.consumed:
            raise away
        return bool(dropped), missing

    def _take_turn(self, queues: tuple[str, ...]) -> bool:
        """Has one message delivered from the next queue that has one; returns whether there was one. If all were
        consumed, one of each would be in hand and wait for pages that take long."""
        first = 1 + (queues.index(self._turn) if self._turn in queues else -1)
        for name in (*queues[first:], *queues[:first]):
            with suppress(TransientError):
                state = self.queues.state(name)
                if state is not None and state.messages and self._get(partial(self.intake.deliver_one, name)):
                    self._turn = name
                    return True
        return False

    def _get(self, begin: Callable[[Callable[[T], None]], None]) -> T:
        """Returns RabbitMQ's answer to a request for one message."""
        answers: list[T] = []
        begin(answers.append)
        self._connection._flush_output(lambda: bool(answers) or self.intake.channel.is_closed)
        if not answers:
            raise amqp.ChannelClosed(0, "the channel was closed by RabbitMQ")
        return answers[0]

    def publish(self, queue: str, body: bytes, priority: int, headers: dict[str, str] | None = None) -> None:
        properties = wire_properties(priority, headers)
        if not self._publishing.is_open:
            self._publishing = self._confirming_channel()
        try:
            self._publishing.basic_publish("", queue, body, properties, mandatory=True)
        except amqp.UnroutableError:
            raise NoQueueError(f"there is no queue {queue!r}") from None
        except amqp.NackError:
            raise TransientError(f"RabbitMQ cannot take a message for {queue!r} now") from None
        except amqp.ChannelClosedByBroker as error:
            if error.reply_code in REFUSED_BY_SIZE:
                raise refused(error, body) from error
            raise

    def take(self, queue: str) -> tuple[int, dict[str, Any], bytes] | None:
        if self.queues.state(queue) is None:
            raise RequestError(f"there is no queue {queue!r}")
        found: tuple[int, dict[str, Any], bytes] | None = self._get(partial(self.intake.take, queue))
        return found

    def _confirming_channel(self) -> BlockingChannel:
        channel = self._connection.channel()
        channel.confirm_delivery()
        return channel


class _Closed:
    """Tells pika's blocking connection, when it closes, to leave plain channels alone: they close with it."""

    is_open = False


def _plain_channel(connection: BlockingConnection) -> Channel:
    opened: list[Channel] = []
    channel = connection._impl.channel(on_open_callback=opened.append)
    channel._set_cookie(_Closed())
    connection._flush_output(lambda: bool(opened))
    return channel


def explain(error: BaseException) -> str:
    """Returns the reason for an error: pika's errors hide it in their arguments, sometimes in an error within."""
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
