"""`pero-worker queues`: how many pages wait where."""

from __future__ import annotations

from typing import Annotated

import typer

from pero_worker.cluster.access import Cluster, ClusterAccess, open_cluster
from pero_worker.cluster.management import Management, ManagementAccess
from pero_worker.cluster.registry.servers import MONITORING, list_servers
from pero_worker.cluster.registry.stages import stage_names
from pero_worker.cluster.settings import ConnectionOptions, cluster_access
from pero_worker.errors import TransientError, UsageError
from pero_worker.wire.queues import DEAD_LETTERS, LOG_QUEUE


def queues(
    given: ConnectionOptions,
    names: Annotated[list[str] | None, typer.Argument(help="Also these.", metavar="QUEUE...")] = None,
) -> None:
    """Exact numbers of waiting pages: the stages, then all other queues if RabbitMQ's web interface is registered
    (pero-worker servers add mq_monitoring), else the usual ones and those named."""
    access = cluster_access(given)
    with open_cluster(access) as cluster:
        others = _listed(cluster, access) or ("out", LOG_QUEUE, DEAD_LETTERS)
        wanted = dict.fromkeys((*stage_names(cluster.zookeeper), *(names or ()), *others))
        for name in wanted:
            state = cluster.broker.state(name)
            if state is None and name in (names or ()):
                typer.echo(f"{name:24} there is no such queue")
            if state is not None:
                typer.echo(f"{name:24} {state.messages:>8} waiting {state.consumers:>4} consumers")


def _listed(cluster: Cluster, access: ClusterAccess) -> tuple[str, ...]:
    """Empty when the web interface is away, or does not let this user in."""
    servers = list_servers(cluster.zookeeper, MONITORING)
    login = access.broker
    try:
        return Management(ManagementAccess(servers, login.user, login.password, login.ca_cert)).queue_names()
    except (TransientError, UsageError):
        return ()
