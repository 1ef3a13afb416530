"""What upstream's command lines have in common."""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from pero_worker.cli.say import warn
from pero_worker.cluster.logs.stderr import log_to_stderr
from pero_worker.cluster.settings import (
    ConnectionOptions,
    options_in,
    options_in_environment,
    read_server_file,
    read_settings,
    with_own_login,
)
from pero_worker.errors import PeroWorkerError, UsageError


def make_parser(description: str) -> argparse.ArgumentParser:
    """Returns a parser with the options for finding ZooKeeper."""
    parser = argparse.ArgumentParser(
        description=f"{description} pero-worker with the flags of DCGM/pero-worker.", allow_abbrev=False
    )
    parser.add_argument("-z", "--zookeeper", nargs="+", metavar="SERVER", help="HOST[:PORT] [127.0.0.1:2181]")
    parser.add_argument("-l", "--zookeeper-list", metavar="FILE", type=Path, help="file with the same, one per line")
    return parser


def add_login(parser: argparse.ArgumentParser, use: str) -> None:
    parser.add_argument("-u", "--user", "--username", default="", metavar="USER", help=f"user name for {use}")
    parser.add_argument("-p", "--password", default="", metavar="PASSWORD", help=f"password for {use}")
    parser.add_argument("-e", "--ca-cert", default="", metavar="PEM", help="CA of the servers' certificates: use TLS")


def connection(options: argparse.Namespace, *sections: str) -> ConnectionOptions:
    """Combines the options: flags first, then the environment, then the `sections` of the file given with -c."""
    servers = list(options.zookeeper or ())
    if options.zookeeper_list:
        servers += read_server_file(options.zookeeper_list)
    found = ConnectionOptions(
        zookeeper=",".join(servers),
        user=getattr(options, "user", ""),
        password=getattr(options, "password", ""),
        ca_cert=getattr(options, "ca_cert", ""),
    ).over(options_in_environment())
    if sections and options.config:
        found = found.over(options_in(read_settings(options.config, *sections)))
    return with_own_login(found)


def priority_of(options: argparse.Namespace) -> int:
    """Returns the priority: -p means priority in the first release, but the password of --user in the newest
    upstream."""
    if options.p and options.user:
        options.password = options.p
    elif options.p:
        if not options.p.isdigit():
            raise UsageError(f"-p {options.p}: a priority is a number (and a password needs --user)")
        options.priority = int(options.p)
    return options.priority or 0


def run(main: Callable[[Sequence[str]], int | None]) -> None:
    """Runs a command; as everywhere, a `PeroWorkerError` becomes one line and an exit status."""
    log_to_stderr(logging.INFO)
    try:
        sys.exit(main(sys.argv[1:]) or 0)
    except PeroWorkerError as error:
        warn(f"{Path(sys.argv[0]).name}: {error}")
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        sys.exit(130)
