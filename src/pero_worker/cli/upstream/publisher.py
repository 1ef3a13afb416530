"""scripts/publisher.py: uploads images and downloads results."""

from __future__ import annotations

import argparse
import uuid
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from pero_worker.cli.download import print_downloaded
from pero_worker.cli.say import say, warn
from pero_worker.cli.upstream.common import connection, make_parser, priority_of
from pero_worker.clock import SystemClock
from pero_worker.cluster.opening import Cluster, open_cluster
from pero_worker.cluster.pages.download import DownloadCounts, download
from pero_worker.cluster.pages.requestfolders import RequestFolders
from pero_worker.cluster.pages.route import check_output, check_route
from pero_worker.cluster.pages.sending import send_with_retry
from pero_worker.cluster.settings import cluster_access, read_server_file
from pero_worker.errors import ExitCode, NoInputError, PageError
from pero_worker.processes import Lifetime
from pero_worker.request import Payload, Request


def main(arguments: Sequence[str]) -> int:
    parser = make_parser("Uploads images for processing, downloads results.")
    parser.add_argument("-s", "--mq-servers", nargs="+", default=[], metavar="SERVER")
    parser.add_argument("-m", "--mq-list", type=Path, metavar="FILE", help="file of MQ servers, one per line")
    parser.add_argument("-d", "--download", metavar="QUEUE", help="output queue to download from")
    parser.add_argument("-k", "--keep-running", action="store_true", help="do not end when the queue is empty")
    parser.add_argument("-r", "--directory", type=Path, metavar="DIR", help="folder of images, or for results")
    parser.add_argument("-i", "--images", nargs="+", default=[], type=Path, metavar="FILE")
    parser.add_argument(
        "-t", "--stages", nargs="+", default=[], metavar="NAME", help="stages in order, the output queue last"
    )
    parser.add_argument("-y", "--priority", type=int, default=None, metavar="N", help="1 goes before 0")
    parser.add_argument("-u", "--user", default="", help="for ZooKeeper and RabbitMQ")
    parser.add_argument("-p", dest="p", default="", metavar="N", help="priority; the password when --user is given")
    parser.add_argument("--password", default="", help="for ZooKeeper and RabbitMQ")
    parser.add_argument("-e", "--ca-cert", default="", metavar="PEM", help="CA of the servers' certificates: use TLS")
    parser.add_argument("--count-statistics", action="store_true", help="mean seconds of every stage")
    parser.add_argument("--save-message", action="store_true", help="also the raw message")
    parser.add_argument("--keep-failed", action="store_true", help="of failed pages the messages: pero-worker dead")
    parser.add_argument("--force", action="store_true", help="also from stages, or through those without model")
    options = parser.parse_args(arguments)
    if not options.download and not options.stages:
        parser.error("nothing to do: give --stages NAME.. --images FILE.., or --download QUEUE --directory DIR")
    if options.download and not options.directory:
        parser.error("--download needs --directory: where the results go")
    priority = priority_of(options)
    mq_servers = (*options.mq_servers, *(read_server_file(options.mq_list) if options.mq_list else ()))
    access = cluster_access(replace(connection(options), brokers=",".join(mq_servers)))
    with open_cluster(access) as cluster:
        cluster.broker.tell_notices(warn)
        if options.download:
            return _download(cluster, options)
        return _upload(cluster, options, priority)


def _upload(cluster: Cluster, options: argparse.Namespace, priority: int) -> int:
    files = list(options.images)
    if options.directory:
        if not options.directory.is_dir():
            raise NoInputError(f"there is no folder {options.directory}")
        files += sorted(path for path in options.directory.iterdir() if path.is_file())
    if not files:
        raise NoInputError("no images were named: --images FILE.. or --directory DIR")
    stages, clock = tuple(options.stages), SystemClock()
    check_route(cluster, stages, force=options.force)
    failed = 0
    for path in files:
        try:
            content = path.read_bytes()
        except OSError as error:
            warn(f"{path} is not sent: {error.strerror}")
            failed += 1
            continue
        request = Request(
            uuid=uuid.uuid4().hex,
            page_uuid=uuid.uuid4().hex,
            stages=stages,
            results=(Payload(name=path.name.encode("utf-8", "replace").decode(), content=content),),
            priority=priority,
            start_time=clock.now(),
        )
        try:
            send_with_retry(cluster.broker, cluster.payloads, request, clock)
        except PageError as error:
            warn(f"{path} is not sent: {error}")
            failed += 1
        else:
            say(f"{path} sent as {request.uuid}")
    if failed:
        say(f"{len(files) - failed} of {len(files)} sent")
    return ExitCode.SOME_PAGES_FAILED if failed else ExitCode.OK


def _download(cluster: Cluster, options: argparse.Namespace) -> int:
    lifetime = Lifetime()
    lifetime.begin()
    downloaded = DownloadCounts()
    check_output(cluster, options.download, force=options.force)
    layout = RequestFolders(options.directory, save_message=options.save_message)
    try:
        download(
            cluster.broker,
            options.download,
            layout,
            SystemClock(),
            keep_running=options.keep_running,
            stopped=lifetime.stop,
            downloaded=downloaded,
            warn=warn,
            keep_failed=options.keep_failed,
            payloads=cluster.payloads,
        )
    finally:
        layout.close()
        if not options.count_statistics:
            downloaded.stages.clear()
        print_downloaded(downloaded, options.directory)
    return ExitCode.SOME_PAGES_FAILED if downloaded.failed else ExitCode.OK
