"""What upstream's command lines have in common."""

from __future__ import annotations

import argparse
import logging
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from pero_worker.cluster.settings import (
    ConnectionOptions,
    flag,
    given_in,
    read_server_file,
    read_settings,
    split_servers,
)
from pero_worker.errors import PeroWorkerError


def parser(description: str) -> argparse.ArgumentParser:
    """With the options that say where ZooKeeper is."""
    made = argparse.ArgumentParser(
        description=f"{description} pero-worker with the flags of DCGM/pero-worker.", allow_abbrev=False
    )
    made.add_argument("-z", "--zookeeper", nargs="+", metavar="SERVER", help="HOST[:PORT] [127.0.0.1:2181]")
    made.add_argument("-l", "--zookeeper-list", metavar="FILE", type=Path, help="the same in a file, one a line")
    return made


def add_login(made: argparse.ArgumentParser, use: str) -> None:
    made.add_argument("-u", "--user", "--username", default="", metavar="USER", help=f"for {use}")
    made.add_argument("-p", "--password", default="", metavar="PASSWORD", help=f"for {use}")
    made.add_argument("-e", "--ca-cert", default="", metavar="PEM", help="authority of the servers' certificates: TLS")


def given(options: argparse.Namespace, *sections: str) -> ConnectionOptions:
    """Flags, then the environment, then the file of -c with its `sections`."""
    servers = list(options.zookeeper or ())
    if options.zookeeper_list:
        servers += read_server_file(options.zookeeper_list)
    environment = ConnectionOptions(
        split_servers([os.environ.get("PERO_WORKER_ZOOKEEPER", "")]),
        os.environ.get("PERO_WORKER_USER", ""),
        os.environ.get("PERO_WORKER_PASSWORD", ""),
        os.environ.get("PERO_WORKER_CA_CERT", ""),
        os.environ.get("PERO_WORKER_VHOST", ""),
        known_hosts=os.environ.get("PERO_WORKER_KNOWN_HOSTS", ""),
        open_nodes=flag(os.environ.get("PERO_WORKER_OPEN_NODES", "")),
    )
    said = ConnectionOptions(
        split_servers(servers),
        getattr(options, "user", ""),
        getattr(options, "password", ""),
        getattr(options, "ca_cert", ""),
    ).over(environment)
    return said.over(given_in(read_settings(options.config, *sections))) if sections and options.config else said


def run(main: Callable[[Sequence[str]], int | None]) -> None:
    """Runs a command; an error of ours is one line and an exit status, as everywhere."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s", stream=sys.stderr)
    try:
        sys.exit(main(sys.argv[1:]) or 0)
    except PeroWorkerError as error:
        print(f"{Path(sys.argv[0]).name}: {error}", file=sys.stderr)  # noqa: T201
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        sys.exit(130)
