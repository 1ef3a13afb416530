"""A connection to RabbitMQ that is restored whenever it is lost.

A thread of its own maintains it: heartbeats are answered while an engine works for an hour, and a lost connection is
restored, with growing pauses between attempts. Callers are other threads, and wait for this one.
"""

from __future__ import annotations

import logging
import random
import re
import ssl
import threading
import time
from collections.abc import Callable
from concurrent.futures import CancelledError
from concurrent.futures import TimeoutError as FutureTimeoutError
from contextlib import suppress
from dataclasses import replace
from typing import TypeVar

import pika
import pika.exceptions as amqp
from pika.adapters.blocking_connection import BlockingConnection

from pero_worker.brokers.access import NO_SERVER, BrokerAccess
from pero_worker.brokers.link import Link, explain
from pero_worker.errors import TransientError
from pero_worker.wire import queues as wire
from pero_worker.wire.servers import AMQP_PORT, AMQP_TLS_PORT, Server

logger = logging.getLogger(__name__)

T = TypeVar("T")
_WITHOUT_LIMITS_OF_CHANNELS = (4, 0)
"""From this version on, and before if its configuration forbids `global_qos`, RabbitMQ silently takes a limit on all
consumers of a channel as one for each consumer that starts later: those already running would keep theirs forever."""
_NOT_IMPLEMENTED = 540
_FIRST_PAUSE_SECONDS = 0.1
_STABLE_AFTER_SECONDS = 10.0
"""If a connection is lost sooner than this, the pauses keep growing."""
_KEEPALIVE = {"TCP_KEEPIDLE": 5, "TCP_KEEPINTVL": 5, "TCP_KEEPCNT": 12}
"""Seconds, and a number of probes. A machine that is back after a power cut answers a probe at once by resetting the
connection that it no longer knows."""
_CLOSE_TIMEOUT_SECONDS = 3.0
"""How long `close` waits at most for a server that does not answer."""
_SOCKET_TIMEOUT_SECONDS = 10
_STACK_TIMEOUT_SECONDS = 15
_LOOK_SECONDS = 1.0
"""How often a caller that waits for an answer checks why there is none."""


class Connection:
    """One connection at a time. Threads may share it; a call blocks only its caller."""

    def __init__(
        self,
        access: BrokerAccess,
        *,
        prefetch: int,
        on_arrival: Callable[[Link, str, int, bytes, bool, str], None],
        on_connected: Callable[[], None],
    ) -> None:
        """Without servers it waits for `use`. From its own thread it calls `on_arrival` with each message (link, queue,
        tag, body, whether it was delivered before, traceparent), and `on_connected` before the first message of each
        connection."""
        self._access = access
        self._prefetch = prefetch
        self._on_arrival = on_arrival
        self._on_connected = on_connected
        self._by_consumer = False
        self._closing = threading.Event()
        self._ready = threading.Event()
        self._reason = "not connected yet"
        self._notice: Callable[[str], object] = logger.warning
        self._told_blocked = False
        self.link: Link | None = None
        """The current link; None while the connection is lost."""
        self._thread = threading.Thread(target=self._keep_connected, name="rabbitmq", daemon=True)
        self._thread.start()

    @property
    def connected(self) -> bool:
        return self._ready.is_set()

    def wait_connected(self, timeout: float) -> None:
        """Raises `TransientError` with the reason if there is no connection after `timeout` seconds."""
        if not self._ready.wait(timeout):
            raise TransientError(f"{self._where()} cannot be used: {self._reason}")

    def fetch_ahead(self, messages: int) -> None:
        """Sets how many messages may be in hand or on their way to us at a time, on this and later connections."""
        self._prefetch = messages
        link = self.link
        if link is not None:
            link.post(lambda link: link.intake.fetch_ahead(messages), lambda _lost: None)

    def limit(self, link: Link, messages: int) -> None:
        """Like `fetch_ahead`, but at once, for messages that take longer than was foreseen; from the connection's
        thread."""
        self._prefetch = messages
        link.intake.hold_back(messages)

    def limit_by_consumer(self) -> None:
        """Gives each consumer a limit of its own from now on: some kinds of queue know no limit on all consumers of a
        channel."""
        # The connection's thread uses the opposite order, so that one of the two always sees what the other did.
        self._by_consumer = True
        link = self.link
        if link is not None:
            link.post(lambda link: link.intake.limit_by_consumer(), lambda _lost: None)

    def use(self, servers: tuple[Server, ...]) -> None:
        """Sets where RabbitMQ is from now on; an existing connection stays."""
        self._access = replace(self._access, servers=servers)

    def close(self) -> None:
        """Closes the connection; messages in hand return to their queues."""
        self._closing.set()
        link = self.link
        if link is not None:
            link.interrupt()
        self._thread.join(_CLOSE_TIMEOUT_SECONDS)

    def call(self, action: Callable[[Link], T], wait: float | None = None) -> T:
        """Returns the result of `action`, which the connection's thread runs. Raises `TransientError` if there is no
        connection after `wait` seconds, or no answer."""
        self.wait_connected(self._access.reconnection if wait is None else wait)
        link = self.link
        if link is None:
            raise TransientError(f"the connection to RabbitMQ was lost: {self._reason}")
        future = link.run(action)
        deadline = time.monotonic() + self._access.patience
        try:
            while True:
                try:
                    return future.result(_LOOK_SECONDS)
                except FutureTimeoutError:
                    self._tell_if_blocked(link)
                    # An action that has not started is cancelled. One that has started is waited for, whatever its
                    # outcome: if it were started again, RabbitMQ would get it twice.
                    if time.monotonic() > deadline and future.cancel():
                        raise TransientError(f"{self._where()} does not answer") from None
        except CancelledError:
            raise TransientError(f"the connection to RabbitMQ was lost: {self._reason}") from None

    def tell_if_blocked(self) -> None:
        """Reports, once, when RabbitMQ takes no messages."""
        link = self.link
        if link is not None and (link.blocked or self._told_blocked):
            self._tell_if_blocked(link)

    def tell_notices(self, notice: Callable[[str], object]) -> None:
        """Has `notice` called, from the waiting thread, when RabbitMQ takes no messages, instead of logging that."""
        self._notice = notice

    def _tell_if_blocked(self, link: Link) -> None:
        reason = link.blocked
        if reason and not self._told_blocked:
            self._notice(f"{self._where()} takes no messages, it is {reason}: going on by itself when there is room")
        self._told_blocked = bool(reason)

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
                # This is how RabbitMQ ends a connection that limits all consumers together and consumes a quorum queue.
                self._by_consumer |= getattr(error, "reply_code", 0) == _NOT_IMPLEMENTED
                if time.monotonic() - begun > _STABLE_AFTER_SECONDS:
                    pause = _FIRST_PAUSE_SECONDS
            # Clients that lost the same server should not all return at the same moment.
            self._closing.wait(pause * random.uniform(0.5, 1.0))  # noqa: S311
            pause = min(2 * pause, self._access.max_pause)

    def _use(self, link: Link) -> None:
        self._on_connected()
        self.link = link
        if self._by_consumer:
            link.intake.limit_by_consumer()
        self._ready.set()
        try:
            link.loop(self._closing)
        except Exception as error:
            logger.warning("connection to RabbitMQ lost: %s", explain(error))
            raise
        finally:
            self._ready.clear()
            self.link = None
            link.end()

    def _connect(self, number: int) -> Link:
        return self._linked(open_connection(self._access), number)

    def _linked(self, connection: BlockingConnection, number: int) -> Link:
        try:
            by_consumer = self._by_consumer or _version(connection) >= _WITHOUT_LIMITS_OF_CHANNELS
            return Link(connection, number, self._prefetch, self._on_arrival, by_consumer=by_consumer)
        except Exception:
            with suppress(Exception):
                connection.close()
            raise

    def _where(self) -> str:
        return f"RabbitMQ at {', '.join(map(str, self._access.servers)) or 'no known server'}"


def _version(connection: BlockingConnection) -> tuple[int, ...]:
    """Returns the server's version; () if it does not say."""
    properties = connection._impl.server_properties or {}
    found = re.match(r"(\d{1,4})\.(\d{1,4})", str(properties.get("version", "")))
    return tuple(map(int, found.groups())) if found else ()


def open_connection(access: BrokerAccess) -> BlockingConnection:
    """Connects to any of the servers, in the first virtual host that lets this user in. Raises what went wrong last: an
    error of pika's, `OSError`, or `TransientError` if no server is known."""
    problems: list[Exception] = [TransientError(f"no server is registered: {NO_SERVER}")]
    for server in random.sample(access.servers, len(access.servers)):
        for vhost in [access.vhost] if access.vhost else reversed(wire.DEFAULT_VHOSTS):
            try:
                return BlockingConnection(_parameters(access, server, vhost))
            except (amqp.AMQPError, OSError, ssl.SSLError) as error:
                problems.append(error)
                if not isinstance(error, amqp.ProbableAccessDeniedError | amqp.ConnectionClosedByBroker):
                    break
    raise problems[-1]


def _parameters(access: BrokerAccess, server: Server, vhost: str) -> pika.ConnectionParameters:
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
        socket_timeout=_SOCKET_TIMEOUT_SECONDS,
        stack_timeout=_STACK_TIMEOUT_SECONDS,
        # A connection given up during an alarm leaves its message with RabbitMQ, and the next would send it again.
        blocked_connection_timeout=None,
        client_properties={"connection_name": "pero-worker"},
    )
