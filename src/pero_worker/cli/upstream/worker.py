"""worker/worker.py of the seed and worker/run_worker.py of the newest upstream."""

from __future__ import annotations

import logging
import tempfile
import uuid
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from pero_worker.cli.upstream.common import add_login, connection, make_parser
from pero_worker.cluster.settings import cluster_access, read_settings, store_access
from pero_worker.cluster.workers.settings import ClusterWorkerSettings
from pero_worker.cluster.workers.supervisor import run_pool
from pero_worker.errors import UsageError
from pero_worker.inputs.bounds import DEFAULT_MAX_PIXELS
from pero_worker.local.devices import choose_devices
from pero_worker.processes import Lifetime
from pero_worker.wire.queues import LOG_QUEUE


def main(arguments: Sequence[str], *, first_release: bool = False) -> int:
    """Runs a worker. `first_release`: user and password are for the model store only, as there was no other login
    then."""
    parser = make_parser("Processes pages of the stage that the watchdog assigns.")
    add_login(parser, "the model store" if first_release else "ZooKeeper, RabbitMQ and the model store")
    parser.add_argument("-i", "--id", default="", help="name of the worker [random]")
    parser.add_argument(
        "-b", "--broker-servers", nargs="+", default=[], metavar="SERVER", help="instead of ZooKeeper's"
    )
    parser.add_argument("-f", "--ftp-servers", nargs="+", default=[], metavar="SERVER", help="instead of ZooKeeper's")
    parser.add_argument("-c", "--config", type=Path, metavar="FILE", help="file with a section [WORKER]")
    parser.add_argument("--tmp-directory", "--cache-directory", type=Path, dest="cache", metavar="DIR")
    parser.add_argument("-q", "--log-queue", default="", help="queue for log lines [log]")
    parser.add_argument("--disable-remote-logging", action="store_true")
    parser.add_argument("-d", "--debug", action="store_true")
    options = parser.parse_args(arguments)
    logging.getLogger().setLevel(logging.DEBUG if options.debug else logging.INFO)
    values = read_settings(options.config, "WORKER") if options.config else {}
    login = connection(options, "WORKER")
    where = replace(login, user="", password="") if first_release else login
    cache = options.cache or Path(values.get("cache_dir") or tempfile.gettempdir())
    if not cache.is_dir():
        raise UsageError(f"there is no folder {cache} for model archives")
    name = options.id or values.get("worker_id", "") or uuid.uuid4().hex
    silent = options.disable_remote_logging or values.get("disable_remote_logging", "") in {"True", "1"}
    settings = ClusterWorkerSettings(
        name=name,
        cache=cache / "pero-worker-stages",
        device=choose_devices("auto", 1, 1)[0],
        max_pixels=DEFAULT_MAX_PIXELS,
        rotate=False,
        log_queue="" if silent else options.log_queue or values.get("log_queue", "") or LOG_QUEUE,
        stores=tuple(options.ftp_servers),
        log_level=logging.getLogger().level,
        trust_archives=True,
    )
    lifetime = Lifetime(grace=None)
    lifetime.begin()
    access = cluster_access(replace(where, brokers=",".join(options.broker_servers)))
    return run_pool([settings], access, store_access(login), lifetime.stop, lifetime.hurry)
