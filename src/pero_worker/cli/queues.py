"""`pero-worker queues`: shows how many pages wait in each queue."""

from __future__ import annotations

from typing import Annotated

import typer

from pero_worker.cli.access import cluster_command
from pero_worker.cli.examples import examples
from pero_worker.cli.late import command_app
from pero_worker.cli.listing import print_list
from pero_worker.cli.say import warn
from pero_worker.cluster.opening import open_cluster
from pero_worker.cluster.queues import queue_lengths
from pero_worker.cluster.settings import ConnectionOptions, cluster_access


def queues(
    connection: ConnectionOptions,
    names: Annotated[list[str] | None, typer.Argument(help="Further queues to show.", metavar="QUEUE...")] = None,
) -> None:
    """Show exact numbers of waiting pages: the stages, then all other queues if RabbitMQ's web interface is
    registered (pero-worker servers add mq_monitoring), otherwise the usual ones and those named."""
    access = cluster_access(connection)
    with open_cluster(access) as cluster:
        lengths = queue_lengths(cluster, access, names or ())
    print_list(
        ("queue", "waiting", "consumers"),
        [(queue.name, queue.messages, queue.consumers) for queue in lengths],
        empty="there are no queues yet: see pero-worker stage add",
    )
    for name in names or ():
        if name not in {queue.name for queue in lengths}:
            warn(f"there is no such queue: {name}")


app = command_app("queues", cluster_command(queues), examples("pero-worker queues", "pero-worker queues out results"))
