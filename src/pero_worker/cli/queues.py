"""`pero-worker queues`: how many pages wait where."""

from __future__ import annotations

from typing import Annotated

import typer

from pero_worker.cluster.access import ClusterAccess, Farm, open_farm
from pero_worker.cluster.management import Management, ManagementAccess
from pero_worker.cluster.servers import MONITORING, list_servers
from pero_worker.cluster.settings import Given, cluster_access
from pero_worker.cluster.stages import stage_names
from pero_worker.errors import TransientError, UsageError
from pero_worker.wire.queues import DEAD_LETTERS, LOG_QUEUE


def queues(
    given: Given,
    names: Annotated[list[str] | None, typer.Argument(help="Also these.", metavar="QUEUE...")] = None,
) -> None:
    """Exact numbers of waiting pages: the stages, then all other queues if RabbitMQ's web interface is registered
    (pero-worker servers add mq_monitoring), else the usual ones and those named."""
    access = cluster_access(given)
    with open_farm(access) as farm:
        others = _listed(farm, access) or ("out", LOG_QUEUE, DEAD_LETTERS)
        wanted = dict.fromkeys((*stage_names(farm.zookeeper), *(names or ()), *others))
        for name in wanted:
            state = farm.broker.state(name)
            if state is None and name in (names or ()):
                typer.echo(f"{name:24} there is no such queue")
            if state is not None:
                typer.echo(f"{name:24} {state.messages:>8} waiting {state.consumers:>4} consumers")


def _listed(farm: Farm, access: ClusterAccess) -> tuple[str, ...]:
    """Empty when the web interface is away, or does not let this user in."""
    servers = list_servers(farm.zookeeper, MONITORING)
    login = access.broker
    try:
        return Management(ManagementAccess(servers, login.user, login.password, login.ca_cert)).queue_names()
    except (TransientError, UsageError):
        return ()
