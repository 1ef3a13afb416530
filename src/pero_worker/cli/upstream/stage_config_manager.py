"""scripts/stage_config_manager.py of the newest upstream: manages stages, output queues and their model archives."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from kazoo.client import KazooClient

from pero_worker.cli.say import say, say_lines
from pero_worker.cli.upstream.common import add_login, connection, make_parser
from pero_worker.clock import SystemClock
from pero_worker.cluster.access import ClusterAccess
from pero_worker.cluster.opening import open_broker
from pero_worker.cluster.registry.archives import remove_archive, users_of
from pero_worker.cluster.registry.changes import StageChange, read_config, remove_stage, save_stage
from pero_worker.cluster.registry.servers import FTP, list_names
from pero_worker.cluster.registry.stages import read_record, stage_names
from pero_worker.cluster.registry.upload import put_archive
from pero_worker.cluster.settings import cluster_access, store_access
from pero_worker.coordinators.session import session
from pero_worker.names import counted
from pero_worker.stores.location import StoreAccess


def main(arguments: Sequence[str]) -> None:
    parser = make_parser("Creates, changes, shows and removes stages.")
    add_login(parser, "ZooKeeper, RabbitMQ and the model store")
    parser.add_argument("-n", "--name", metavar="STAGE", help="name of the stage or output queue")
    parser.add_argument("-c", "--config", type=Path, metavar="FILE", help="config.ini of the stage")
    parser.add_argument("-r", "--remote-path", metavar="PATH", help="path of the model archive in the store")
    parser.add_argument("-f", "--file", type=Path, metavar="FILE", help="archive to upload to --remote-path")
    parser.add_argument(
        "-v", "--version", metavar="VERSION", help="version of config and archive; now = the time [now]"
    )
    parser.add_argument("--keep-version", action="store_true", help="workers keep what they have")
    parser.add_argument("-a", "--administrative-priority", type=int, metavar="N", help="0 or more; -1 disables")
    parser.add_argument("-s", "--show", metavar="STAGE", help="print what is known about a stage")
    parser.add_argument("-i", "--list", action="store_true", help="list the stages")
    parser.add_argument(
        "-d", "--delete", action="store_true", help="delete instead: queue, configuration, archive in the store"
    )
    parser.add_argument("-k", "--keep-config", action="store_true", help="with --delete: the queue only")
    options = parser.parse_args(arguments)
    if not (options.name or options.remote_path or options.file or options.show or options.list):
        parser.error("nothing to do: give --name STAGE, --show STAGE, --list, or --file FILE --remote-path PATH")
    if options.file and (options.delete or not options.remote_path):
        parser.error("--file needs --remote-path, where the archive goes in the store, and no --delete")
    if options.remote_path and not (options.name or options.file or options.delete):
        parser.error("--remote-path needs --name, the stage that it is for")
    login = connection(options)
    access, store = cluster_access(login), store_access(login)
    with session(access.zookeeper) as client:
        if options.delete:
            _delete(client, access, store, options)
        elif options.name or options.file:
            _save(client, access, store, options)
        if options.list:
            say_lines("\n".join(["Configured stages:", *stage_names(client)]))
        if options.show:
            _show(client, options.show)


def _save(client: KazooClient, access: ClusterAccess, store: StoreAccess, options: argparse.Namespace) -> None:
    # Find unreadable files before anything is uploaded.
    config = read_config(options.config) if options.config else None
    digest = None
    if options.file:
        digest = put_archive(client, options.remote_path, options.file, store)
    if options.name:
        change = StageChange(
            config=config,
            archive=options.remote_path,
            version=None if options.keep_version else options.version,
            priority=options.administrative_priority,
            archive_digest=digest,
            keep_version=options.keep_version,
        )
        with open_broker(client, access.broker) as broker:
            save_stage(client, broker, options.name, change, SystemClock().now())


def _delete(client: KazooClient, access: ClusterAccess, store: StoreAccess, options: argparse.Namespace) -> None:
    """Deletes the archive last: no stage ever names one that is gone, and if it fails, -d -r PATH alone remains to be
    run."""
    doomed = options.remote_path or ""
    if options.name:
        if not options.keep_config and options.name in stage_names(client):
            doomed = read_record(client, options.name).archive or doomed
        with open_broker(client, access.broker) as broker:
            lost = remove_stage(client, broker, options.name, keep_config=options.keep_config)
        if lost:
            say(f"{counted(lost, 'message')} went with the queue {options.name}")
    if not doomed:
        return
    if users := users_of(client, doomed):
        say(f"{doomed} stays in the store, it is used by: {', '.join(users)}")
    else:
        remove_archive(list_names(client, FTP), doomed, store)


def _show(client: KazooClient, name: str) -> None:
    record = read_record(client, name)
    say_lines(
        f"Stage {name} configuration:\nOCR Configuration:\n{record.config}\n"
        f"OCR Model path on FTP server: {record.archive}\nOCR Configuration version: {record.version}\n"
        f"Queue administrative priority: {-1 if record.disabled else record.priority}"
    )
