"""RabbitMQ as `ports.Queues`: what people and the watchdog do with queues."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from contextlib import suppress

from pero_worker.brokers.access import BrokerAccess
from pero_worker.brokers.connection import Connection
from pero_worker.brokers.link import Link
from pero_worker.errors import NoQueueError, TransientError
from pero_worker.wire.servers import Server
from pero_worker.work import QueueKind, QueueState

logger = logging.getLogger(__name__)
Registered = Callable[[str], QueueKind | None]
"""Returns the kind of the queue that should exist under a name, None if none is known. Raises `TransientError` if that
cannot be found out now."""


class RabbitQueues:
    """Manages queues on a connection of its own, which consumes nothing."""

    def __init__(self, access: BrokerAccess, *, prefetch: int = 1) -> None:
        """Without servers it waits for `use`."""
        self._connection = Connection(
            access, prefetch=prefetch, on_arrival=self._arrive, on_connected=self._begin_connection
        )
        self._registered: Registered = lambda _queue: None
        self._asked_for: set[str] = set()
        """Queues whose kind was asked for."""

    def restore_by(self, registered: Registered) -> None:
        """From now on, creates queues that should exist when they are found missing, as when RabbitMQ lost them all."""
        self._registered = registered

    def declare(self, queue: str, expires: int = 0, kind: QueueKind = QueueKind.CLASSIC) -> None:
        """As in `ports.Queues`."""
        self._connection.call(lambda link: link.queues.declare(queue, expires, kind))

    def convert(self, queue: str, kind: QueueKind) -> None:
        """As in `ports.Queues`."""
        self._connection.call(lambda link: link.queues.convert(queue, kind))

    def state(self, queue: str) -> QueueState | None:
        """Returns exact numbers; None if there is no such queue. Raises `TransientError` if it is on a node that is
        down."""
        return self._connection.call(lambda link: link.queues.state(queue))

    def restored(self, queue: str) -> QueueState | None:
        """Returns the `state` of a queue, after creating it if it should exist but is missing."""
        state = self.state(queue)
        kind = None if state is not None else self._registered(queue)
        if kind is None:
            return state
        self.declare(queue, kind=kind)
        logger.warning("RabbitMQ had no queue %s any more: it is there again, empty", queue)
        return self.state(queue)

    def lengths(self, queues: Sequence[str]) -> dict[str, int]:
        """Returns the number of messages ready in each queue that exists, leaving out those on a node that is down."""

        def ask(link: Link) -> dict[str, int | None]:
            found: dict[str, int | None] = {}
            for name in queues:
                with suppress(TransientError):
                    state = link.queues.state(name)
                    found[name] = None if state is None else state.messages
            return found

        found = self._connection.call(ask)
        for name in [name for name, messages in found.items() if messages is None]:
            state = self.restored(name)
            found[name] = None if state is None else state.messages
        return {name: messages for name, messages in found.items() if messages is not None}

    def _into(self, queue: str, act: Callable[[], None]) -> None:
        """Publishes with `act`, once more if the queue was missing and could be created."""
        try:
            act()
        except NoQueueError:
            if self.restored(queue) is None:
                raise
            act()

    def _some_are_quorum(self, queues: Sequence[str]) -> bool:
        """Whether some queues are known to be quorum queues. Each is asked about only once: RabbitMQ reports kinds that
        are unknown or change."""
        new = [queue for queue in queues if queue not in self._asked_for]
        self._asked_for.update(new)
        with suppress(TransientError):
            return any(self._registered(queue) is QueueKind.QUORUM for queue in new)
        return False

    def _restore_some(self, missing: Sequence[str], queues: Sequence[str]) -> bool:
        """Creates those `missing` from `queues` that should exist; returns whether there were any. Raises
        `TransientError` if none of `queues` exists then."""
        found = [name for name in missing if self.restored(name) is not None]
        if missing and not found and len(missing) == len(queues):
            name = missing[-1]
            raise TransientError(f"there is no queue {name!r}: create it with: pero-worker stage add {name}")
        return bool(found)

    def delete(self, queue: str) -> None:
        self._connection.call(lambda link: link.queues.delete(queue))

    @property
    def connected(self) -> bool:
        return self._connection.connected

    def wait_connected(self, timeout: float) -> None:
        """Raises `TransientError` with the reason if there is no connection after `timeout` seconds."""
        self._connection.wait_connected(timeout)

    def use(self, servers: tuple[Server, ...]) -> None:
        """Sets where RabbitMQ is from now on; an existing connection stays."""
        self._connection.use(servers)

    def tell_notices(self, notice: Callable[[str], object]) -> None:
        """Has `notice` called when RabbitMQ takes no messages and a caller waits for that, instead of logging it."""
        self._connection.tell_notices(notice)

    def close(self) -> None:
        """Closes the connection; messages in hand return to their queues."""
        self._connection.close()

    def _arrive(self, link: Link, queue: str, tag: int, body: bytes, redelivered: bool, traceparent: str) -> None:
        """For brokers that receive messages; none come here."""

    def _begin_connection(self) -> None:
        """For brokers that receive messages; none come here."""
