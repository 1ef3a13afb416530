"""`pero-worker worker`: joins a cluster from this machine."""

from __future__ import annotations

import logging
import socket
import sys
import uuid
from datetime import timedelta
from pathlib import Path
from typing import Annotated

import platformdirs
import typer

from pero_worker.cli.access import cluster_command
from pero_worker.cli.late import command_app
from pero_worker.cluster.settings import ConnectionOptions
from pero_worker.cluster.workers.settings import DEFAULT_GRACE_SECONDS
from pero_worker.inputs.bounds import DEFAULT_MAX_PIXELS
from pero_worker.work import Rotate

_GATEWAY = "Instead of a cluster"
EPILOG = """
[bold]Examples[/bold]

  pero-worker worker -z zoo1.example.org

  pero-worker worker -z zoo1,zoo2,zoo3 --jobs 4 --id gpu-room-2

  pero-worker worker --gateway https://ocr.example.org --until-idle 60

In a configuration file, section WORKER or at the top of TOML: worker_id, cache_dir, log_queue.

SIGTERM and Ctrl-C end it after the page in hand; a page that takes longer than --grace is returned to its queue. A
second signal of the same kind returns it at once.
"""


def worker(
    connection: ConnectionOptions,
    context: typer.Context,
    id: Annotated[
        str,
        typer.Option("-i", "--id", envvar="PERO_WORKER_ID", help="Name, unique in the cluster.", show_default="random"),
    ] = "",
    jobs: Annotated[int, typer.Option("-j", "--jobs", min=0, help="Worker processes; 0 = one per core or GPU.")] = 1,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:N.")] = "auto",
    cache: Annotated[
        Path | None,
        typer.Option(envvar="PERO_WORKER_CACHE", help="Folder for models.", show_default="in the user's cache"),
    ] = None,
    cache_days: Annotated[int, typer.Option(min=1, help="Days without use after which a model is removed.")] = 90,
    cache_size: Annotated[
        float, typer.Option(min=0, help="GB of models to keep; the least recently used ones not in use go first.")
    ] = 100.0,
    grace: Annotated[
        float, typer.Option(min=0, help="Seconds for the page in hand when told to stop.")
    ] = DEFAULT_GRACE_SECONDS,
    max_attempts: Annotated[int, typer.Option(min=1, help="Tries before a page is given up.")] = 3,
    max_megapixels: Annotated[int, typer.Option(min=1, help="Refuse larger pages.")] = DEFAULT_MAX_PIXELS // 1_000_000,
    rotate: Annotated[
        Rotate, typer.Option(help="Turn pages whose text lies sideways or upside down (auto), or do not (off).")
    ] = Rotate.AUTO,
    max_memory: Annotated[
        float, typer.Option(min=0, help="GB; a process that uses more is restarted between pages. 0 = no limit.")
    ] = 16.0,
    model_memory: Annotated[
        float | None,
        typer.Option(
            min=0, help="GB for models; as many stages as fit are held at once. 0 = one.", show_default="a fair part"
        ),
    ] = None,
    label: Annotated[
        list[str] | None, typer.Option(help="Label that stages may require (stage add --needs); may be repeated.")
    ] = None,
    log_queue: Annotated[
        str,
        typer.Option(
            "-q",
            "--log-queue",
            envvar="PERO_WORKER_LOG_QUEUE",
            help="Send log lines to this queue (see pero-worker log).",
        ),
    ] = "",
    trust_archives: Annotated[
        bool,
        typer.Option("--trust-archives", help="Also use archives without a pinned SHA-256, such as upstream's."),
    ] = False,
    gateway: Annotated[
        str,
        typer.Option(
            help="Lease jobs from a gateway over HTTPS; its key is in PERO_WORKER_GATEWAY_KEY.",
            metavar="URL",
            rich_help_panel=_GATEWAY,
        ),
    ] = "",
    key_file: Annotated[
        Path | None, typer.Option(help="File with the gateway's key.", rich_help_panel=_GATEWAY)
    ] = None,
    pipeline: Annotated[
        str,
        typer.Option("-p", "--pipeline", help="Pipeline for jobs whose engine has no files.", rich_help_panel=_GATEWAY),
    ] = "print-latin",
    engine: Annotated[str, typer.Option(help="Lease jobs of this engine only.", rich_help_panel=_GATEWAY)] = "",
    until_idle: Annotated[
        float | None,
        typer.Option(min=0, help="End after this many seconds without a job.", rich_help_panel=_GATEWAY),
    ] = None,
    trust: Annotated[
        bool,
        typer.Option(
            "--trust", help="Trust the engines' files, now and later: they are programs.", rich_help_panel=_GATEWAY
        ),
    ] = False,
    verbose: Annotated[bool, typer.Option("-v", "--verbose", help="Log what happens.")] = False,
) -> None:
    """Serve the stages that the watchdog assigns, until told to stop."""
    from pero_worker.cli.access import configured
    from pero_worker.cluster.logs.stderr import log_to_stderr
    from pero_worker.cluster.settings import cluster_access, store_access
    from pero_worker.cluster.workers.settings import ClusterWorkerSettings
    from pero_worker.cluster.workers.supervisor import run_pool
    from pero_worker.local.devices import choose_devices
    from pero_worker.models.keep import Keep
    from pero_worker.processes import Lifetime

    level = logging.INFO if verbose else logging.WARNING
    log_to_stderr(level)
    if gateway:
        from pero_worker.cli.gateway_key import gateway_key
        from pero_worker.cli.lease import work_for_gateway
        from pero_worker.local.machine import LocalSettings

        here = LocalSettings(
            device=device, jobs=jobs or None, max_pixels=max_megapixels * 1_000_000, max_attempts=max_attempts
        )
        work_for_gateway(
            gateway,
            gateway_key(key_file),
            pipeline=pipeline,
            engine=engine,
            until_idle=until_idle,
            settings=here,
            trust=trust,
        )
        return
    devices = choose_devices(device, jobs or None, sys.maxsize)
    values = configured(context, "WORKER")
    name = id or values.get("worker_id") or f"{socket.gethostname()}-{uuid.uuid4().hex[:8]}"
    folder = cache or Path(values.get("cache_dir") or Path(platformdirs.user_cache_dir("pero-worker")) / "stages")
    silent = values.get("disable_remote_logging", "").lower() in {"true", "1"}
    settings = [
        ClusterWorkerSettings(
            name=name if len(devices) == 1 else f"{name}-{number}",
            cache=folder,
            keep=Keep(age=timedelta(days=cache_days), bytes=round(cache_size * 1e9)),
            device=one,
            max_pixels=max_megapixels * 1_000_000,
            rotate=rotate is Rotate.AUTO,
            max_attempts=max_attempts,
            grace=grace,
            log_queue=log_queue or ("" if silent else values.get("log_queue", "")),
            log_level=level,
            max_memory=round(max_memory * 1e9),
            workers_on_device=devices.count(one),
            model_memory=None if model_memory is None else round(model_memory * 1e9),
            labels=tuple(label or ()),
            trust_archives=trust_archives,
        )
        for number, one in enumerate(devices, 1)
    ]
    lifetime = Lifetime(grace=None)
    lifetime.begin()
    status = run_pool(settings, cluster_access(connection), store_access(connection), lifetime.stop, lifetime.hurry)
    if status:
        raise typer.Exit(status)


app = command_app("worker", cluster_command(worker), EPILOG)
