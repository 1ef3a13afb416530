"""Opens connections to a cluster: the user names ZooKeeper, and the other servers are registered there."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial

from kazoo.client import KazooClient
from kazoo.recipe.watchers import ChildrenWatch

from pero_worker.brokers.access import NO_SERVER, BrokerAccess
from pero_worker.brokers.queues import RabbitQueues
from pero_worker.brokers.rabbitmq import RabbitBroker
from pero_worker.clock import SystemClock
from pero_worker.cluster.access import ClusterAccess
from pero_worker.cluster.payloads.desk import PayloadDesk
from pero_worker.cluster.registry.payloads import follow_settings, read_settings
from pero_worker.cluster.registry.queuekinds import registered_kind
from pero_worker.cluster.registry.servers import MQ, list_servers, parse_names
from pero_worker.coordinators.session import session
from pero_worker.errors import TransientError
from pero_worker.ports import Payloads
from pero_worker.stores.location import StoreAccess
from pero_worker.tracing.rabbit import open_rabbit
from pero_worker.wire.servers import Server
from pero_worker.wire.tree import TREE
from pero_worker.worker.inline import InlinePayloads


@dataclass(frozen=True, slots=True, kw_only=True)
class Cluster:
    """Open connections to a cluster."""

    zookeeper: KazooClient
    """Connection to the coordinator."""
    broker: RabbitBroker
    """Connection to RabbitMQ."""
    payloads: Payloads = field(default_factory=InlinePayloads)
    """Access to payloads that are kept outside RabbitMQ."""


def broker_access(client: KazooClient, access: BrokerAccess) -> BrokerAccess:
    """Returns `access` with the registered servers, unless it names its own. Raises `TransientError` if there are
    none."""
    servers: tuple[Server, ...] = access.servers or list_servers(client, MQ)
    if not servers:
        raise TransientError(f"no RabbitMQ server is known: {NO_SERVER}")
    return replace(access, servers=servers)


def restore_queues(client: KazooClient, broker: RabbitQueues) -> None:
    """Has `broker` recreate missing queues of known stages, for example after RabbitMQ has lost them."""
    broker.restore_by(partial(registered_kind, client))


def follow_servers(client: KazooClient, broker: RabbitBroker) -> None:
    """Has `broker` use whichever servers are registered when it connects, including ones added later."""

    def look(names: list[str]) -> None:
        broker.use(parse_names(names, MQ))

    client.ensure_path(TREE.servers(MQ))
    ChildrenWatch(client, TREE.servers(MQ), look)


@contextmanager
def open_broker(
    client: KazooClient,
    access: BrokerAccess,
    *,
    wait: float = 15.0,
    service: str = "pero-client",
    expect: Callable[[str, bytes], int] = lambda _queue, _body: 0,
) -> Iterator[RabbitBroker]:
    """Opens a connection to RabbitMQ. `service` names this program in traces; `expect` is as for `RabbitBroker`.

    Raises `TransientError` if no server is known, or if RabbitMQ cannot be reached within `wait` seconds.
    """
    broker = open_rabbit(broker_access(client, access), service, expect=expect)
    try:
        if not access.servers:
            follow_servers(client, broker)
        restore_queues(client, broker)
        broker.wait_connected(wait)
        yield broker
    finally:
        broker.close()


@contextmanager
def open_cluster(access: ClusterAccess, *, wait: float = 15.0, service: str = "pero-client") -> Iterator[Cluster]:
    """Opens all connections. Raises `TransientError` if a server cannot be reached within `wait` seconds."""
    with session(access.zookeeper) as client:
        payloads = payload_desk(client, access.store)
        try:
            with open_broker(client, access.broker, wait=wait, service=service, expect=payloads.expect) as broker:
                yield Cluster(zookeeper=client, broker=broker, payloads=payloads)
        finally:
            payloads.close()


def payload_desk(client: KazooClient, access: StoreAccess) -> PayloadDesk:
    """Returns a desk that follows the payload settings in ZooKeeper."""
    desk = PayloadDesk(access, SystemClock(), look_up=lambda: read_settings(client))
    follow_settings(client, desk.told)
    return desk
