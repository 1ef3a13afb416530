"""scripts/config_manager.py of the seed: manages servers and stages."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from kazoo.client import KazooClient

from pero_worker.cli.upstream.common import connection, make_parser
from pero_worker.clock import SystemClock
from pero_worker.cluster.opening import open_broker
from pero_worker.cluster.registry import servers
from pero_worker.cluster.registry.changes import StageChange, read_config, remove_stage, save_stage
from pero_worker.cluster.registry.upload import put_archive
from pero_worker.cluster.settings import cluster_access, read_server_file, store_access
from pero_worker.coordinators.session import session
from pero_worker.errors import UsageError
from pero_worker.wire.servers import parse_server


def main(arguments: Sequence[str]) -> None:
    parser = make_parser("Registers servers, creates and removes stages.")
    parser.add_argument("-s", "--mq-servers", nargs="+", default=[], metavar="SERVER")
    parser.add_argument("-m", "--mq-list", type=Path, metavar="FILE", help="file of MQ servers, one per line")
    parser.add_argument("--ftp-servers", nargs="+", default=[], metavar="SERVER")
    parser.add_argument("--monitoring-servers", nargs="+", default=[], metavar="SERVER")
    parser.add_argument("-u", "--user", default="", help="user of the model store, for --file")
    parser.add_argument("-p", "--password", default="")
    parser.add_argument("-c", "--config", type=Path, metavar="FILE", help="config.ini of the stage")
    parser.add_argument("-r", "--remote-path", metavar="PATH", help="path of the model archive in the store")
    parser.add_argument("-n", "--name", metavar="STAGE", help="name of the stage or output queue")
    parser.add_argument("-a", "--administrative-priority", type=int, metavar="N", help="0 or more; -1 disables")
    parser.add_argument("-f", "--file", type=Path, metavar="FILE", help="archive to upload")
    parser.add_argument("-t", "--target-file", metavar="PATH", help="where --file goes in the store [--remote-path]")
    parser.add_argument("-d", "--delete", action="store_true", help="delete instead")
    parser.add_argument("-k", "--keep-config", action="store_true", help="with --delete: the queue only")
    for kind in ("mq", "ftp", "monitoring"):
        parser.add_argument(f"--update-{kind}-servers", action="store_true", help=f"register the {kind} servers")
    options = parser.parse_args(arguments)
    mq_servers = [*options.mq_servers, *(read_server_file(options.mq_list) if options.mq_list else ())]
    # The seed's user is for the model store only.
    login, where = connection(options), connection(argparse.Namespace(**{**vars(options), "user": "", "password": ""}))
    access = cluster_access(replace(where, brokers=",".join(mq_servers)))
    with session(access.zookeeper) as client:
        _update_servers(client, options, mq_servers)
        if options.name is None:
            return
        change = _change(options)
        if options.file:
            target = options.target_file or options.remote_path
            change = replace(change, archive_digest=put_archive(client, target, options.file, store_access(login)))
        with open_broker(client, access.broker) as broker:
            if options.delete:
                remove_stage(client, broker, options.name, keep_config=options.keep_config)
            else:
                save_stage(client, broker, options.name, change, SystemClock().now())


def _change(options: argparse.Namespace) -> StageChange:
    archive = options.remote_path or options.target_file
    if options.file and not archive:
        raise UsageError("--file needs --target-file or --remote-path: where the archive goes in the store")
    return StageChange(
        config=read_config(options.config) if options.config else None,
        archive=archive,
        priority=options.administrative_priority,
    )


def _update_servers(client: KazooClient, options: argparse.Namespace, mq_servers: list[str]) -> None:
    monitoring = options.monitoring_servers or [parse_server(name).host for name in mq_servers]
    for kind, wanted, names, flag in (
        (servers.MQ, options.update_mq_servers, mq_servers, "--mq-servers"),
        (servers.FTP, options.update_ftp_servers, options.ftp_servers, "--ftp-servers"),
        (servers.MONITORING, options.update_monitoring_servers, monitoring, "--monitoring-servers"),
    ):
        if not wanted:
            continue
        if not names:
            raise UsageError(f"--update-{flag[2:]} needs {flag}")
        if options.delete:
            servers.remove_servers(client, kind, names)
        else:
            servers.set_servers(client, kind, names)
