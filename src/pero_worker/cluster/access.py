"""How to reach the servers of a cluster. Records only; `opening.py` makes the connections."""

from __future__ import annotations

from dataclasses import dataclass, field

from pero_worker.brokers.access import BrokerAccess
from pero_worker.coordinators.access import ZooKeeperAccess
from pero_worker.stores.location import StoreAccess


@dataclass(frozen=True, slots=True, kw_only=True)
class ClusterAccess:
    """How to reach a cluster."""

    zookeeper: ZooKeeperAccess = field(default_factory=ZooKeeperAccess)
    """The coordinator, where everything else is registered."""
    broker: BrokerAccess = field(default_factory=lambda: BrokerAccess(servers=()))
    """RabbitMQ; without servers, the registered ones are used."""
    store: StoreAccess = field(default_factory=StoreAccess)
    """The stores of models and payloads."""
