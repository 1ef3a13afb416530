"""RabbitMQ as a `ports.Broker`.

A thread of its own keeps the connection: heartbeats are answered while an engine works for an hour, and a lost
connection is made again with growing pauses. Whoever calls is another thread, and waits for that one.
"""

from __future__ import annotations

import logging
import queue
import random
import ssl
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import CancelledError
from concurrent.futures import TimeoutError as FutureTimeoutError
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

import pika
import pika.exceptions as amqp
from pika.adapters.blocking_connection import BlockingConnection

from pero_worker.brokers.link import Link, QueueState, explain
from pero_worker.errors import TransientError
from pero_worker.wire import queues as wire
from pero_worker.wire.servers import AMQP_PORT, AMQP_TLS_PORT, Server
from pero_worker.work import Delivery

logger = logging.getLogger(__name__)

T = TypeVar("T")
NO_SERVER = "register RabbitMQ with: pero-worker servers add mq HOST[:PORT]"
_LOST = "the connection was lost while the page was in hand: RabbitMQ gives it to another worker"
_FIRST_PAUSE_SECONDS = 0.1
_STABLE_AFTER_SECONDS = 10.0
"""Seconds: after a connection that was lost sooner, the pauses go on growing."""
_KEEPALIVE = {"TCP_KEEPIDLE": 5, "TCP_KEEPINTVL": 5, "TCP_KEEPCNT": 12}
"""Seconds: a machine that lost its power and is back says at once that it knows nothing of the connection."""
_CLOSE_TIMEOUT_SECONDS = 3.0
"""Seconds: `close` does not wait longer for a server that does not answer."""


@dataclass(frozen=True, slots=True)
class BrokerAccess:
    """Where RabbitMQ is and how to log in. `vhost` '' = the first of upstream's two that this user may enter.

    `ca_cert`: PEM file of the authority that signed the servers' certificates; '' = no TLS.
    """

    servers: tuple[Server, ...]
    user: str = "guest"
    password: str = field(default="guest", repr=False)
    vhost: str = ""
    ca_cert: str = ""
    heartbeat: int = 60
    """Seconds; a server that wants to hear of its clients more often is obeyed."""
    patience: float = 60.0
    """Seconds a call waits for an answer."""
    reconnection: float = 3.0
    """Seconds a call waits for a connection that is lost: whoever calls can tell, and stop."""
    max_pause: float = 2.0


@dataclass(frozen=True, slots=True)
class _Arrival:
    connection: int
    delivery: Delivery


class RabbitBroker:
    """One connection. Threads may share it; each call blocks the caller alone."""

    def __init__(self, access: BrokerAccess, *, prefetch: int = 1) -> None:
        """Without servers it waits for `use`."""
        self._access = access
        self._prefetch = prefetch
        self._arrived: queue.SimpleQueue[_Arrival | None] = queue.SimpleQueue()
        self._held: dict[int, tuple[int, int]] = {}
        self._numbers = iter(range(1, 1 << 62))
        self._closing = threading.Event()
        self._ready = threading.Event()
        self._link: Link | None = None
        self._reason = "not connected yet"
        self._thread = threading.Thread(target=self._keep_connected, name="rabbitmq", daemon=True)
        self._thread.start()

    # -- ports.Broker ------------------------------------------------------------------------------------------

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
        self._call(lambda link: link.publish(queue, body, priority))

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
            headers = {wire.REASON: reason[:4000], wire.ORIGIN: delivery.queue}
            link.publish(wire.DEAD_LETTERS, delivery.body, 0, headers)

        self._settle(delivery, lambda link, tag: link.consuming.basic_ack(tag), publish_first)

    # -- for administration ------------------------------------------------------------------------------------

    def declare(self, queue: str, expires: int = 0) -> None:
        """Makes a queue; one that is there already stays as it is. `expires`: seconds after which RabbitMQ deletes it
        when nobody has used it, 0 = never."""
        self._call(lambda link: link.declare(queue, expires))

    def state(self, queue: str) -> QueueState | None:
        """Exact numbers; None when there is no such queue."""
        return self._call(lambda link: link.state(queue))

    def lengths(self, queues: Sequence[str]) -> dict[str, int]:
        """Messages that are ready in each queue that there is."""

        def ask(link: Link) -> dict[str, int]:
            return {name: state.messages for name in queues if (state := link.state(name)) is not None}

        return self._call(ask)

    def delete(self, queue: str) -> None:
        self._call(lambda link: link.temporary(lambda channel: channel.queue_delete(queue)))

    def fetch_ahead(self, messages: int) -> None:
        """So many may be in hand, or on their way to us, at a time; also over connections to come."""
        self._prefetch = messages
        self._call(lambda link: link.fetch_ahead(messages))

    def take(self, queue: str) -> tuple[Delivery, dict[str, Any]] | None:
        """One message and its headers without waiting; None when the queue is empty. RequestError: no such queue."""
        return self._call(lambda link: self._take(link, queue))

    @property
    def has_arrivals(self) -> bool:
        """Whether `get` would return at once."""
        return not self._arrived.empty()

    def wake(self) -> None:
        """Ends the wait of a thread in `get`."""
        self._arrived.put(None)

    def use(self, servers: tuple[Server, ...]) -> None:
        """Where RabbitMQ is from now on; a connection that there is stays."""
        self._access = replace(self._access, servers=servers)

    def close(self) -> None:
        """Messages in hand return to their queues."""
        self._closing.set()
        link = self._link
        if link is not None:
            link.interrupt()
        self.wake()
        self._thread.join(_CLOSE_TIMEOUT_SECONDS)

    @property
    def connected(self) -> bool:
        return self._ready.is_set()

    def wait_connected(self, timeout: float) -> None:
        """TransientError with the reason when there is no connection after `timeout` seconds."""
        if not self._ready.wait(timeout):
            raise TransientError(f"{self._where()} cannot be used: {self._reason}")

    # -- the inside --------------------------------------------------------------------------------------------

    def _serve(self, queues: tuple[str, ...], consumer: str, timeout: float) -> bool:
        """Whether a queue that was served is not any more."""
        link = self._link
        if link is not None and link.serves(queues):
            return False
        return self._call(lambda link: link.consume(queues, consumer), wait=timeout)

    def _call(self, action: Callable[[Link], T], wait: float | None = None) -> T:
        self.wait_connected(self._access.reconnection if wait is None else wait)
        link = self._link
        if link is None:
            raise TransientError(f"the connection to RabbitMQ was lost: {self._reason}")
        future = link.run(action)
        try:
            return future.result(self._access.patience)
        except FutureTimeoutError:
            raise TransientError(f"{self._where()} does not answer") from None
        except CancelledError:
            raise TransientError(f"the connection to RabbitMQ was lost: {self._reason}") from None

    def _keep_connected(self) -> None:
        pause = _FIRST_PAUSE_SECONDS
        number = 0
        while not self._closing.is_set():
            number += 1
            begun = time.monotonic()
            try:
                self._use(self._connect(number))
            except Exception as error:  # pika raises more than its own errors when a connection breaks
                self._reason = explain(error)
                if time.monotonic() - begun > _STABLE_AFTER_SECONDS:
                    pause = _FIRST_PAUSE_SECONDS
            # Many clients that lost the same server do not return at the same moment.
            self._closing.wait(pause * random.uniform(0.5, 1.0))  # noqa: S311
            pause = min(2 * pause, self._access.max_pause)

    def _use(self, link: Link) -> None:
        self._held.clear()
        self._link = link
        self._ready.set()
        try:
            link.loop(self._closing)
        except Exception as error:
            logger.warning("connection to RabbitMQ lost: %s", explain(error))
            raise
        finally:
            self._ready.clear()
            self._link = None
            link.end()

    def _connect(self, number: int) -> Link:
        problems: list[Exception] = [TransientError(f"no server is registered: {NO_SERVER}")]
        for server in random.sample(self._access.servers, len(self._access.servers)):
            for vhost in [self._access.vhost] if self._access.vhost else reversed(wire.DEFAULT_VHOSTS):
                try:
                    connection = BlockingConnection(self._parameters(server, vhost))
                except (amqp.AMQPError, OSError, ssl.SSLError) as error:
                    problems.append(error)
                    if not isinstance(error, amqp.ProbableAccessDeniedError | amqp.ConnectionClosedByBroker):
                        break
                else:
                    return self._linked(connection, number)
        raise problems[-1]

    def _linked(self, connection: BlockingConnection, number: int) -> Link:
        try:
            return Link(connection, number, self._prefetch, self._arrive)
        except Exception:
            with suppress(Exception):
                connection.close()
            raise

    def _parameters(self, server: Server, vhost: str) -> pika.ConnectionParameters:
        access = self._access
        tls = None
        if access.ca_cert:
            context = ssl.create_default_context(cafile=access.ca_cert)
            tls = pika.SSLOptions(context, server.host)
        return pika.ConnectionParameters(
            host=server.host,
            port=server.port or (AMQP_TLS_PORT if access.ca_cert else AMQP_PORT),
            virtual_host=vhost,
            credentials=pika.PlainCredentials(access.user, access.password),
            heartbeat=lambda _connection, wanted: min(wanted or access.heartbeat, access.heartbeat),
            ssl_options=tls,
            tcp_options=_KEEPALIVE,
            socket_timeout=10,
            stack_timeout=15,
            blocked_connection_timeout=300,
            client_properties={"connection_name": "pero-worker"},
        )

    def _arrive(self, link: Link, queue: str, tag: int, body: bytes, redelivered: bool) -> None:
        self._arrived.put(_Arrival(link.number, self._delivery(link, queue, tag, body, redelivered)))

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
        link = self._link
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

        if self._link is None:
            raise TransientError(_LOST)
        self._call(run)

    def _tag(self, link: Link, delivery: Delivery) -> int:
        """The delivery's tag on this connection: one that came over an earlier connection is not ours any more."""
        connection, tag = self._held.get(delivery.tag, (0, 0))
        if connection != link.number:
            raise TransientError(_LOST)
        return tag

    def _where(self) -> str:
        return f"RabbitMQ at {', '.join(map(str, self._access.servers)) or 'no known server'}"
