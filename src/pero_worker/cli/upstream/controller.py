"""scripts/controller.py: shows what workers and queues do, and controls workers."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from kazoo.client import KazooClient

from pero_worker.cli.say import say
from pero_worker.cli.upstream.common import add_login, connection, make_parser
from pero_worker.cluster.opening import Cluster, open_cluster
from pero_worker.cluster.registry import workers
from pero_worker.cluster.registry.stages import read_record, stage_names
from pero_worker.cluster.settings import cluster_access
from pero_worker.coordinators.session import session
from pero_worker.errors import StageError, UsageError
from pero_worker.wire.queues import DEAD_LETTERS, LOG_QUEUE


def main(arguments: Sequence[str]) -> None:
    parser = make_parser("Shows workers and queues, commands workers.")
    add_login(parser, "ZooKeeper and RabbitMQ")
    parser.add_argument("-s", "--status", action="store_true", help="show the workers")
    parser.add_argument("-q", "--queues", action="store_true", help="show stages with their queues")
    parser.add_argument(
        "-i", "--switch", nargs=2, metavar=("WORKER", "QUEUE"), help="assign another stage to a worker ('' = none)"
    )
    parser.add_argument(
        "-d", "--shutdown", nargs="+", default=[], metavar="WORKER", help="make workers end after the page in hand"
    )
    parser.add_argument("-r", "--remove", nargs="+", default=[], metavar="WORKER", help="forget workers that are gone")
    options = parser.parse_args(arguments)
    if not (options.status or options.queues or options.switch or options.shutdown or options.remove):
        parser.error("nothing to do: give --status, --queues, --switch, --shutdown or --remove")
    access = cluster_access(connection(options))
    if options.queues:
        with open_cluster(access) as cluster:
            _show_queues(cluster)
    if not (options.status or options.switch or options.shutdown or options.remove):
        return
    with session(access.zookeeper) as client:
        if options.status:
            _show_workers(client)
        if options.switch:
            worker, stage = options.switch
            if stage:
                read_record(client, stage)
            workers.assign(client, worker, stage)
        _all(client, options.shutdown, workers.stop)
        _all(client, options.remove, workers.remove)


def _show_workers(client: KazooClient) -> None:
    for state in workers.read_workers(client):
        message = f", message: {' '.join(state.message.split())}" if state.message else ""
        say(f"Worker ID: {state.name}, status: {state.status}, queue: {state.stage}{message}")


def _show_queues(cluster: Cluster) -> None:
    stages = stage_names(cluster.zookeeper)
    for name in stages:
        record = read_record(cluster.zookeeper, name)
        state = cluster.broker.state(name)
        messages = "no queue" if state is None else state.messages
        mean = "-" if record.mean_seconds is None else f"{record.mean_seconds:.3f} s"
        since = "-" if record.waiting_since is None else record.waiting_since.isoformat()
        priority = -1 if record.disabled else record.priority
        say(f"Queue: {name}, messages: {messages}, priority: {priority}, mean time: {mean}, waiting: {since}")
    # Queues that are not stages are known only to RabbitMQ, which reports on a queue only by name.
    for name in ("out", LOG_QUEUE, DEAD_LETTERS):
        state = cluster.broker.state(name)
        if state is not None and name not in stages:
            say(f"Queue: {name}, messages: {state.messages}")


def _all(client: KazooClient, names: Sequence[str], command: Callable[[KazooClient, str], None]) -> None:
    """Applies a command to all workers; one that cannot be controlled does not prevent the others."""
    failures: list[str] = []
    for name in names:
        try:
            command(client, name)
        except (UsageError, StageError) as error:
            failures.append(str(error))
    if failures:
        raise UsageError("; ".join(failures))
