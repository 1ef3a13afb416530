"""worker/worker_watchdog.py of the seed, watchdog/worker_watchdog.py of the newest upstream."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from pero_worker.cli.upstream.common import add_login, connection, make_parser
from pero_worker.cli.watchdog import run_watchdog
from pero_worker.cluster.settings import cluster_access


def main(arguments: Sequence[str], *, first_release: bool = False) -> None:
    """Runs the watchdog. `first_release`: user and password are for RabbitMQ only."""
    parser = make_parser("Plans which worker serves which stage.")
    add_login(parser, "RabbitMQ" if first_release else "ZooKeeper and RabbitMQ")
    parser.add_argument("-c", "--config", type=Path, metavar="FILE", help="file with a section [WATCHDOG]")
    parser.add_argument("--dry-run", action="store_true", help="print one plan, change nothing")
    parser.add_argument("-d", "--debug", action="store_true")
    options = parser.parse_args(arguments)
    logging.getLogger().setLevel(logging.DEBUG if options.debug else logging.INFO)
    access = cluster_access(connection(options, "WATCHDOG", "WORKER"))
    if first_release:
        access = replace(access, zookeeper=replace(access.zookeeper, user="", password=""))
    run_watchdog(access, dry_run=options.dry_run)
