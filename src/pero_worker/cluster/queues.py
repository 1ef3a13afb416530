"""How many pages wait in each queue."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from kazoo.client import KazooClient

from pero_worker.brokers.access import BrokerAccess
from pero_worker.cluster.access import ClusterAccess
from pero_worker.cluster.management import Management, ManagementAccess
from pero_worker.cluster.opening import Cluster
from pero_worker.cluster.registry.servers import MONITORING, list_servers
from pero_worker.cluster.registry.stages import stage_names
from pero_worker.errors import TransientError, UsageError
from pero_worker.wire.queues import DEAD_LETTERS, LOG_QUEUE

_USUAL = ("out", LOG_QUEUE, DEAD_LETTERS)
"""Queues that belong to no stage, checked where RabbitMQ does not list its queues."""


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueLength:
    """A queue and how much is in it."""

    name: str
    """Name of the queue."""
    messages: int
    """Messages that wait in it."""
    consumers: int
    """Consumers that read from it."""


def queue_lengths(cluster: Cluster, access: ClusterAccess, names: Sequence[str] = ()) -> tuple[QueueLength, ...]:
    """Returns the stages' queues, `names`, then all others if RabbitMQ's web interface is registered and lets this user
    in, otherwise the usual ones. Queues that do not exist are left out."""
    others = listed_queues(cluster.zookeeper, access.broker) or _USUAL
    found = []
    for name in dict.fromkeys((*stage_names(cluster.zookeeper), *names, *others)):
        state = cluster.broker.state(name)
        if state is not None:
            found.append(QueueLength(name=name, messages=state.messages, consumers=state.consumers))
    return tuple(found)


def listed_queues(client: KazooClient, access: BrokerAccess, timeout: float = 10.0) -> tuple[str, ...]:
    """Returns all of RabbitMQ's queues; empty if its web interface is not registered, is away, or does not let this
    user in."""
    servers = list_servers(client, MONITORING)
    try:
        management = ManagementAccess(
            servers=servers, user=access.user, password=access.password, ca_cert=access.ca_cert, timeout=timeout
        )
        return Management(management).queue_names()
    except (TransientError, UsageError):
        return ()
