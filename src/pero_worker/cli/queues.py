"""`pero-worker queues`: how many pages wait where."""

from __future__ import annotations

from typing import Annotated

import typer

from pero_worker.cluster.access import open_cluster
from pero_worker.cluster.registry.stages import stage_names
from pero_worker.cluster.settings import ConnectionOptions, cluster_access
from pero_worker.cluster.status import listed_queues
from pero_worker.wire.queues import DEAD_LETTERS, LOG_QUEUE


def queues(
    given: ConnectionOptions,
    names: Annotated[list[str] | None, typer.Argument(help="Also these.", metavar="QUEUE...")] = None,
) -> None:
    """Exact numbers of waiting pages: the stages, then all other queues if RabbitMQ's web interface is registered
    (pero-worker servers add mq_monitoring), else the usual ones and those named."""
    access = cluster_access(given)
    with open_cluster(access) as cluster:
        others = listed_queues(cluster.zookeeper, access.broker) or ("out", LOG_QUEUE, DEAD_LETTERS)
        wanted = dict.fromkeys((*stage_names(cluster.zookeeper), *(names or ()), *others))
        for name in wanted:
            state = cluster.broker.state(name)
            if state is None and name in (names or ()):
                typer.echo(f"{name:24} there is no such queue")
            if state is not None:
                typer.echo(f"{name:24} {state.messages:>8} waiting {state.consumers:>4} consumers")
