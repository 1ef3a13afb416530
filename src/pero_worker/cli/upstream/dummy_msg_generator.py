"""scripts/dummy_msg_generator.py: sends pages of random bytes, to try out a cluster."""

from __future__ import annotations

import argparse
import random
import signal
import threading
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from pero_worker.cli.say import say, warn
from pero_worker.cli.upstream.common import connection, make_parser, priority_of
from pero_worker.clock import SystemClock
from pero_worker.cluster.opening import Cluster, open_cluster
from pero_worker.cluster.pages.route import check_route
from pero_worker.cluster.pages.sending import send_with_retry
from pero_worker.cluster.settings import cluster_access
from pero_worker.names import counted
from pero_worker.request import Payload, Request


def main(arguments: Sequence[str], randomness: random.Random | None = None) -> None:
    parser = make_parser("Sends pages of random bytes.")
    parser.add_argument(
        "-t", "--stages", nargs="+", required=True, metavar="NAME", help="stages in order, the output queue last"
    )
    parser.add_argument("--size", type=int, default=0, metavar="N", help="bytes per page [0]")
    parser.add_argument(
        "--size-delta", type=int, default=0, metavar="N", help="up to this many more or fewer than --size"
    )
    parser.add_argument("--size-range", type=int, nargs=2, metavar=("MIN", "MAX"), help="instead of --size")
    parser.add_argument("-n", "--number", type=int, default=1, metavar="N", help="pages per batch [1]")
    parser.add_argument("-i", "--interval", type=float, default=0, metavar="SECONDS", help="pause between batches [0]")
    parser.add_argument("-c", "--count", type=int, default=0, metavar="N", help="batches; 0 = until stopped [0]")
    parser.add_argument("-y", "--priority", type=int, metavar="N", help="1 goes before 0")
    parser.add_argument("-u", "--user", "--username", default="", help="for ZooKeeper and RabbitMQ")
    parser.add_argument("-p", dest="p", default="", metavar="N", help="priority; the password when --user is given")
    parser.add_argument("--password", default="", help="for ZooKeeper and RabbitMQ")
    parser.add_argument("-e", "--ca-cert", default="", metavar="PEM", help="CA of the servers' certificates: use TLS")
    parser.add_argument("--force", action="store_true", help="also through stages without a model")
    options = parser.parse_args(arguments)
    low, high = options.size_range or (max(options.size - options.size_delta, 0), options.size + options.size_delta)
    if not 0 <= low <= high:
        parser.error(f"pages of {low} to {high} bytes cannot be")
    if options.number < 1 or options.count < 0 or not 0 <= options.interval <= threading.TIMEOUT_MAX:
        parser.error("--number is 1 or more, --count and --interval are 0 or more")
    options.priority = priority_of(options)
    sent = 0
    with open_cluster(cluster_access(connection(options))) as cluster:
        cluster.broker.tell_notices(warn)
        check_route(cluster, options.stages, force=options.force)
        with _until_told_to_stop():
            for _ in _generate(cluster, options, (low, high), randomness or random.SystemRandom()):
                sent += 1
    say(f"{counted(sent, 'message')} sent")


def _generate(
    cluster: Cluster, options: argparse.Namespace, sizes: tuple[int, int], randomness: random.Random
) -> Iterator[None]:
    """Sends the messages; yields after each one that RabbitMQ has confirmed."""
    clock = SystemClock()
    batch = 0
    while True:
        batch += 1
        for _ in range(options.number):
            request = _request(options, randomness.randbytes(randomness.randint(*sizes)))
            send_with_retry(cluster.broker, cluster.payloads, request, clock)
            yield
        if batch == options.count:
            return
        clock.sleep(options.interval)


def _request(options: argparse.Namespace, content: bytes) -> Request:
    page = uuid.uuid4().hex
    return Request(
        uuid=uuid.uuid4().hex,
        page_uuid=page,
        stages=tuple(options.stages),
        results=(Payload(name="data", content=content),),
        priority=options.priority,
        start_time=SystemClock().now(),
    )


@contextmanager
def _until_told_to_stop() -> Iterator[None]:
    """Lets SIGTERM and Ctrl-C end the block at any point; this does not count as a failure."""
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    except KeyboardInterrupt:
        return
    finally:
        signal.signal(signal.SIGTERM, before)
