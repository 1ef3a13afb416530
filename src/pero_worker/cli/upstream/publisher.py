"""scripts/publisher.py: uploads images, downloads results."""

from __future__ import annotations

import argparse
import uuid
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from pero_worker.brokers.rabbitmq import RabbitBroker
from pero_worker.cli.publish import print_downloaded
from pero_worker.cli.upstream.common import given, parser
from pero_worker.clock import SystemClock
from pero_worker.cluster.access import open_cluster
from pero_worker.cluster.pages.download import DownloadCounts, download, messages_in
from pero_worker.cluster.pages.layouts import RequestFolders
from pero_worker.cluster.pages.publish import check_route
from pero_worker.cluster.pages.sending import publish_with_retry
from pero_worker.cluster.settings import cluster_access, read_server_file
from pero_worker.errors import ExitCode, NoInputError, UsageError
from pero_worker.processes import Lifetime
from pero_worker.request import Payload, Request
from pero_worker.wire.requests import encode_request


def main(arguments: Sequence[str]) -> int:
    made = parser("Uploads images for processing, downloads results.")
    made.add_argument("-s", "--mq-servers", nargs="+", default=[], metavar="SERVER")
    made.add_argument("-m", "--mq-list", type=Path, metavar="FILE", help="MQ servers, one a line")
    made.add_argument("-d", "--download", metavar="QUEUE", help="output queue to download from")
    made.add_argument("-k", "--keep-running", action="store_true", help="do not end when the queue is empty")
    made.add_argument("-r", "--directory", type=Path, metavar="DIR", help="of images, or for results")
    made.add_argument("-i", "--images", nargs="+", default=[], type=Path, metavar="FILE")
    made.add_argument("-t", "--stages", nargs="+", default=[], metavar="NAME", help="the output queue last")
    made.add_argument("-y", "--priority", type=int, default=None, metavar="N", help="1 goes before 0")
    made.add_argument("-u", "--user", default="", help="for ZooKeeper and RabbitMQ")
    made.add_argument("-p", dest="p", default="", metavar="N", help="priority; the password when --user is given")
    made.add_argument("--password", default="", help="for ZooKeeper and RabbitMQ")
    made.add_argument("-e", "--ca-cert", default="", metavar="PEM", help="authority of the servers' certificates: TLS")
    made.add_argument("--count-statistics", action="store_true", help="mean seconds of every stage")
    made.add_argument("--save-message", action="store_true", help="also the raw message")
    options = made.parse_args(arguments)
    if not options.download and not options.stages:
        made.error("say what to do: --stages NAME.. --images FILE.., or --download QUEUE --directory DIR")
    if options.download and not options.directory:
        made.error("--download needs --directory: where the results go")
    priority = _priority(options)
    mq_servers = (*options.mq_servers, *(read_server_file(options.mq_list) if options.mq_list else ()))
    access = cluster_access(replace(given(options), brokers=mq_servers))
    with open_cluster(access) as cluster:
        if options.download:
            return _download(cluster.broker, options)
        _upload(cluster.broker, options, priority)
        return ExitCode.OK


def _priority(options: argparse.Namespace) -> int:
    """Short -p is the priority in the seed, the password beside --user in the newest upstream."""
    if options.p and options.user:
        options.password = options.p
    elif options.p:
        if not options.p.isdigit():
            raise UsageError(f"-p {options.p}: a priority is a number (and a password needs --user)")
        options.priority = int(options.p)
    return options.priority or 0


def _upload(broker: RabbitBroker, options: argparse.Namespace, priority: int) -> None:
    files = list(options.images)
    if options.directory:
        if not options.directory.is_dir():
            raise NoInputError(f"there is no folder {options.directory}")
        files += sorted(path for path in options.directory.iterdir() if path.is_file())
    if not files:
        raise NoInputError("no images were named: --images FILE.. or --directory DIR")
    stages, clock = tuple(options.stages), SystemClock()
    check_route(broker, stages)
    for path in files:
        try:
            content = path.read_bytes()
        except OSError as error:
            raise NoInputError(f"cannot read {path}: {error.strerror}") from error
        request = Request(
            uuid=uuid.uuid4().hex,
            page_uuid=uuid.uuid4().hex,
            stages=stages,
            results=(Payload(path.name, content),),
            priority=priority,
            start_time=clock.now(),
        )
        publish_with_retry(broker, stages[0], encode_request(request), priority, clock)
        print(f"{path} sent as {request.uuid}", flush=True)  # noqa: T201


def _download(broker: RabbitBroker, options: argparse.Namespace) -> int:
    lifetime = Lifetime()
    lifetime.begin()
    downloaded = DownloadCounts()
    messages_in(broker, options.download)
    layout = RequestFolders(options.directory, save_message=options.save_message)
    try:
        download(
            broker,
            options.download,
            layout,
            SystemClock(),
            keep_running=options.keep_running,
            stopped=lifetime.stop,
            downloaded=downloaded,
        )
    finally:
        layout.close()
        if not options.count_statistics:
            downloaded.seconds.clear()
        print_downloaded(downloaded, options.directory)
    return ExitCode.SOME_PAGES_FAILED if downloaded.failed else ExitCode.OK
