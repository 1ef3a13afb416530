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
"""What kind of queue there ought to be by a name; None: none that is known. TransientError: it is not known now."""


class RabbitQueues:
    """On a connection of its own, which consumes nothing."""

    def __init__(self, access: BrokerAccess, *, prefetch: int = 1) -> None:
        """Without servers it waits for `use`."""
        self._connection = Connection(
            access, prefetch=prefetch, on_arrival=self._arrive, on_connected=self._begin_connection
        )
        self._registered: Registered = lambda _queue: None
        self._asked_for: set[str] = set()
        """Queues of which it is known what kind they are."""

    def restore_by(self, registered: Registered) -> None:
        """From now on, queues that are missing though they ought to be there are made where that is noticed: those of a
        RabbitMQ that lost them all."""
        self._registered = registered

    def declare(self, queue: str, expires: int = 0, kind: QueueKind = QueueKind.CLASSIC) -> None:
        """As in `ports.Queues`."""
        self._connection.call(lambda link: link.queues.declare(queue, expires, kind))

    def convert(self, queue: str, kind: QueueKind) -> None:
        """As in `ports.Queues`."""
        self._connection.call(lambda link: link.queues.convert(queue, kind))

    def state(self, queue: str) -> QueueState | None:
        """Exact numbers; None when there is no such queue. TransientError: it is on a node that is down."""
        return self._connection.call(lambda link: link.queues.state(queue))

    def restored(self, queue: str) -> QueueState | None:
        """`state`, after a queue that is missing though it ought to be there was made."""
        state = self.state(queue)
        kind = None if state is not None else self._registered(queue)
        if kind is None:
            return state
        self.declare(queue, kind=kind)
        logger.warning("RabbitMQ had no queue %s any more: it is there again, empty", queue)
        return self.state(queue)

    def lengths(self, queues: Sequence[str]) -> dict[str, int]:
        """Messages that are ready, in each queue that exists; one that is on a node that is down is left out."""

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
        """Publishes with `act`, once more where the queue was missing and could be made."""
        try:
            act()
        except NoQueueError:
            if self.restored(queue) is None:
                raise
            act()

    def _some_are_quorum(self, queues: Sequence[str]) -> bool:
        """As far as it is known, and of each but once: what is not known, or changes, RabbitMQ says."""
        new = [queue for queue in queues if queue not in self._asked_for]
        self._asked_for.update(new)
        with suppress(TransientError):
            return any(self._registered(queue) is QueueKind.QUORUM for queue in new)
        return False

    def _restore_some(self, missing: Sequence[str], queues: Sequence[str]) -> bool:
        """Makes those that are `missing` of `queues`, as far as they ought to be there; whether there was one.
        TransientError: there is none of all."""
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
        """TransientError with the reason when there is no connection after `timeout` seconds."""
        self._connection.wait_connected(timeout)

    def use(self, servers: tuple[Server, ...]) -> None:
        """Where RabbitMQ is from now on; an existing connection stays."""
        self._connection.use(servers)

    def tell_notices(self, notice: Callable[[str], object]) -> None:
        """Has `notice` called when RabbitMQ takes no messages and somebody waits for that; else it is logged."""
        self._connection.tell_notices(notice)

    def close(self) -> None:
        """Messages in hand return to their queues."""
        self._connection.close()

    def _arrive(self, link: Link, queue: str, tag: int, body: bytes, redelivered: bool, traceparent: str) -> None:
        """What a broker does with messages; none come here."""

    def _begin_connection(self) -> None:
        """What a broker does with messages; none come here."""
