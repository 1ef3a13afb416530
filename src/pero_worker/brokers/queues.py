"""RabbitMQ as `ports.Queues`: what people and the watchdog do with queues."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from pero_worker.brokers.access import BrokerAccess
from pero_worker.brokers.connection import Connection
from pero_worker.brokers.link import Link
from pero_worker.wire.servers import Server
from pero_worker.work import QueueState


class RabbitQueues:
    """On a connection of its own, which consumes nothing."""

    def __init__(self, access: BrokerAccess, *, prefetch: int = 1) -> None:
        """Without servers it waits for `use`."""
        self._connection = Connection(
            access, prefetch=prefetch, on_arrival=self._arrive, on_connected=self._begin_connection
        )

    def declare(self, queue: str, expires: int = 0) -> None:
        """Makes a queue; an existing one stays as it is. `expires`: seconds after which RabbitMQ deletes it
        when nobody has used it, 0 = never."""
        self._connection.call(lambda link: link.declare(queue, expires))

    def state(self, queue: str) -> QueueState | None:
        """Exact numbers; None when there is no such queue."""
        return self._connection.call(lambda link: link.state(queue))

    def lengths(self, queues: Sequence[str]) -> dict[str, int]:
        """Messages that are ready, in each queue that exists."""

        def ask(link: Link) -> dict[str, int]:
            return {name: state.messages for name in queues if (state := link.state(name)) is not None}

        return self._connection.call(ask)

    def delete(self, queue: str) -> None:
        self._connection.call(lambda link: link.temporary(lambda channel: channel.queue_delete(queue)))

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
