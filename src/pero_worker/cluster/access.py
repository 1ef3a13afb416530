"""How to reach the servers of a farm: ZooKeeper is named by the user, the others stand in ZooKeeper."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace

from kazoo.client import KazooClient

from pero_worker.brokers.rabbitmq import BrokerAccess, RabbitBroker
from pero_worker.cluster.servers import MQ, list_servers
from pero_worker.coordinators.session import ZooKeeperAccess, session
from pero_worker.wire.servers import Server


@dataclass(frozen=True, slots=True)
class ClusterAccess:
    """`broker.servers` empty: those registered in ZooKeeper."""

    zookeeper: ZooKeeperAccess = field(default_factory=ZooKeeperAccess)
    broker: BrokerAccess = field(default_factory=lambda: BrokerAccess(()))


@dataclass(frozen=True, slots=True)
class Farm:
    """Both connections, open."""

    zookeeper: KazooClient
    broker: RabbitBroker


def broker_access(client: KazooClient, access: BrokerAccess) -> BrokerAccess:
    servers: tuple[Server, ...] = access.servers or list_servers(client, MQ)
    return replace(access, servers=servers)


@contextmanager
def open_farm(access: ClusterAccess, *, wait: float = 15.0) -> Iterator[Farm]:
    """TransientError: one of them cannot be reached within `wait` seconds."""
    with session(access.zookeeper) as client:
        broker = RabbitBroker(broker_access(client, access.broker))
        try:
            broker.wait_connected(wait)
            yield Farm(client, broker)
        finally:
            broker.close()
