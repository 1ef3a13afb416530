"""`pero-worker log`: collects the logs of all workers in one place."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Annotated

import typer

from pero_worker.brokers.rabbitmq import RabbitBroker
from pero_worker.cli.access import cluster_command, configured
from pero_worker.cli.say import say
from pero_worker.clock import SystemClock
from pero_worker.cluster.logs.daemon import empty_queue, run_log_daemon
from pero_worker.cluster.logs.follow import follow_folder
from pero_worker.cluster.logs.stderr import log_to_stderr
from pero_worker.cluster.opening import broker_access
from pero_worker.cluster.settings import ConnectionOptions, cluster_access
from pero_worker.coordinators.session import session
from pero_worker.errors import UsageError
from pero_worker.processes import Lifetime
from pero_worker.wire.queues import LOG_QUEUE

DEFAULT_MINUTES = 24 * 60
_SECTIONS = ("LOGD", "WORKER")
_EPILOG = """
[bold]Examples[/bold]

  pero-worker log daemon -z zoo1.example.org -o /var/log/pero --rotate 1440 --keep 30

  pero-worker log daemon --config-file worker.ini

In a configuration file, section LOGD: output_dir, log_rotation_period (minutes), number_of_files, log_queue.
"""
_EPILOG_FOLLOW = """
[bold]Examples[/bold]

  pero-worker log follow -o /var/log/pero

  pero-worker log follow -z zoo1.example.org

With -o it reads the daemon's files, like tail -f, without side effects. Without -o it takes the lines off the queue
itself, for a cluster without a daemon: they are printed here but not kept. While a daemon runs, this is refused.
"""

app = typer.Typer(help="The workers' log lines, from RabbitMQ's queue `log`.", no_args_is_help=True)

Folder = Annotated[Path | None, typer.Option("-o", "--output-dir", help="The daemon's folder.", metavar="DIR")]
QueueName = Annotated[str, typer.Option("-q", "--log-queue", help="The queue.", show_default=LOG_QUEUE)]


def daemon(
    connection: ConnectionOptions,
    context: typer.Context,
    output_dir: Folder = None,
    rotate: Annotated[
        float | None, typer.Option(min=0, help="Minutes until a new file; 0 = never.", show_default="1440")
    ] = None,
    keep: Annotated[int | None, typer.Option(min=0, help="Files to keep; 0 = all.", show_default="0")] = None,
    queue: QueueName = "",
    verbose: Annotated[bool, typer.Option("-v", "--verbose", help="Log what happens.")] = False,
) -> None:
    """Write the workers' logs to files pero_TIME.log, until told to stop."""
    log_to_stderr(logging.INFO if verbose else logging.WARNING)
    values = configured(context, *_SECTIONS)
    folder = output_dir or _folder(values)
    if folder is None:
        raise UsageError("say where the files go: -o DIR, or output_dir in a configuration file")
    minutes = _number(values, "log_rotation_period", DEFAULT_MINUTES) if rotate is None else rotate
    kept = int(_number(values, "number_of_files", 0)) if keep is None else keep
    lifetime = Lifetime()
    lifetime.begin()
    broker = _broker(connection, prefetch=200)
    try:
        run_log_daemon(broker, folder, minutes, kept, lifetime.stop, _queue(queue, values), SystemClock())
    finally:
        broker.close()


def follow(
    connection: ConnectionOptions,
    context: typer.Context,
    output_dir: Folder = None,
    lines: Annotated[int, typer.Option("-n", "--lines", min=0, help="With -o: earlier lines to start with.")] = 10,
    queue: QueueName = "",
) -> None:
    """Print log lines as they arrive, until told to stop."""
    values = configured(context, *_SECTIONS)
    lifetime = Lifetime()
    lifetime.begin()
    folder = output_dir or _folder(values)
    if folder is not None:
        for line in follow_folder(folder, lines, lifetime.stop):
            say(line)
        return
    name = _queue(queue, values)
    broker = _broker(connection, prefetch=1)
    try:
        broker.wait_connected(15)
        state = broker.state(name)
        if state is not None and state.consumers:
            raise UsageError(f"a log daemon empties the queue {name!r}: follow the files it writes, with -o DIR")
        empty_queue(broker, name, say, lifetime.stop)
    finally:
        broker.close()


app.command(epilog=_EPILOG)(cluster_command(daemon, _SECTIONS))
app.command(epilog=_EPILOG_FOLLOW)(cluster_command(follow, _SECTIONS))


def _folder(values: dict[str, str]) -> Path | None:
    return Path(values["output_dir"]) if values.get("output_dir") else None


def _queue(said: str, values: dict[str, str]) -> str:
    return said or values.get("log_queue") or LOG_QUEUE


def _number(values: dict[str, str], key: str, default: float) -> float:
    text = values.get(key) or str(default)
    try:
        number = float(text)
    except ValueError:
        number = -1
    if not 0 <= number < float("inf"):
        raise UsageError(f"{key} = {text} in the configuration is not a number of at least 0")
    return number


def _broker(connection: ConnectionOptions, prefetch: int) -> RabbitBroker:
    access = cluster_access(connection)
    if access.broker.servers:
        return RabbitBroker(access.broker, prefetch=prefetch)
    # RabbitMQ's address is in ZooKeeper, which is not needed after that.
    with session(access.zookeeper) as client:
        return RabbitBroker(broker_access(client, access.broker), prefetch=prefetch)
