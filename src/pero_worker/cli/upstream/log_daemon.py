"""log_daemon.py of the newest upstream: writes the workers' log lines from RabbitMQ to files."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

from pero_worker.brokers.rabbitmq import RabbitBroker
from pero_worker.cli.upstream.common import add_login, connection, make_parser
from pero_worker.clock import SystemClock
from pero_worker.cluster.logs.daemon import run_log_daemon
from pero_worker.cluster.opening import broker_access
from pero_worker.cluster.settings import cluster_access, read_settings
from pero_worker.coordinators.session import session
from pero_worker.errors import UsageError
from pero_worker.processes import Lifetime
from pero_worker.wire.queues import LOG_QUEUE

WEEK = 7 * 24 * 60


def main(arguments: Sequence[str]) -> None:
    parser = make_parser("Writes what workers log to files pero_TIME.log, until told to stop.")
    add_login(parser, "ZooKeeper and RabbitMQ")
    parser.add_argument(
        "-c", "--config", type=Path, metavar="FILE", help="file with a section [LOGD], for options not given here"
    )
    parser.add_argument("-q", "--log-queue", default="", metavar="QUEUE", help="queue to read the lines from [log]")
    parser.add_argument("-o", "--output-dir", default="", metavar="DIR", help="folder for the files [logs]")
    parser.add_argument(
        "-r", "--log-rotation-period", default="", metavar="MINUTES", help=f"time until a new file; 0 = never [{WEEK}]"
    )
    parser.add_argument("-n", "--number-of-files", default="", metavar="N", help="files to keep; 0 = all [0]")
    parser.add_argument("-d", "--debug", action="store_true", help="log what happens")
    options = parser.parse_args(arguments)
    logging.getLogger().setLevel(logging.DEBUG if options.debug else logging.INFO)
    values = read_settings(options.config, "LOGD") if options.config else {}

    def value(name: str, default: str) -> str:
        return getattr(options, name) or values.get(name, "") or default

    minutes = _number("log_rotation_period", value("log_rotation_period", str(WEEK)))
    kept = _number("number_of_files", value("number_of_files", "0"))
    folder, queue = Path(value("output_dir", "logs")), value("log_queue", LOG_QUEUE)
    access = cluster_access(connection(options, "LOGD"))
    lifetime = Lifetime()
    lifetime.begin()
    with session(access.zookeeper) as client:
        broker = RabbitBroker(broker_access(client, access.broker), prefetch=200)
    try:
        run_log_daemon(broker, folder, minutes, kept, lifetime.stop, queue, SystemClock())
    finally:
        broker.close()


def _number(name: str, text: str) -> int:
    if not text.isdecimal():
        raise UsageError(f"{name}: {text} is not a whole number of at least 0")
    return int(text)
