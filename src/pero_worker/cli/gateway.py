"""`pero-worker gateway`: the HTTP server for clients of PERO and DocAPI."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Annotated

import platformdirs
import typer

from pero_worker.cli.access import connection_to
from pero_worker.cli.examples import examples
from pero_worker.cli.late import command_app
from pero_worker.cli.prices import Currency, PricePerKwh, PricePerWorkerSecond, Watts, prices_of
from pero_worker.cli.say import say
from pero_worker.clock import SystemClock
from pero_worker.cluster.opening import open_cluster
from pero_worker.cluster.settings import cluster_access
from pero_worker.errors import UsageError
from pero_worker.models.pipelines import load_pipeline
from pero_worker.models.trust import TrustedArchives, judge_by

EPILOG = examples(
    "pero-worker gateway --data /srv/ocr                       (reads pages on this machine)",
    "pero-worker keys add reading-room --data /srv/ocr         (makes a key for a client, in another terminal)",
    "pero-worker gateway --data /srv/ocr --host 0.0.0.0 --certificate tls.crt --private-key tls.key",
    "pero-worker gateway --data /srv/ocr --database postgresql://ocr@db/ocr",
    "pero-worker gateway --cluster zoo1.example.org --engine print=layout,ocr",
    "curl -H 'api-key: KEY' http://127.0.0.1:8000/get_engines",
)
DATA = Annotated[Path, typer.Option(envvar="PERO_WORKER_GATEWAY_DATA", help="Folder for scans, results and keys.")]
DATABASE = Annotated[
    str,
    typer.Option(
        envvar="PERO_WORKER_GATEWAY_DATABASE",
        help="postgresql://USER:PASSWORD@HOST/NAME, for several gateways.",
        show_default="SQLite in the data folder",
    ),
]
DEFAULT_DATA = Path("gateway-data")


def gateway(
    data: DATA = DEFAULT_DATA,
    database: DATABASE = "",
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="0: any free port.")] = 8000,
    pipeline: Annotated[
        list[str] | None,
        typer.Option("-p", "--pipeline", help="Pipeline of this machine; may be repeated.", show_default="print-latin"),
    ] = None,
    trust: Annotated[
        bool,
        typer.Option("--trust", help="Trust archives that --pipeline names, now and later: they are programs."),
    ] = False,
    lease_only: Annotated[
        bool, typer.Option("--lease-only", help="Read nothing here: jobs wait for workers that ask for them.")
    ] = False,
    cluster: Annotated[
        str,
        typer.Option(
            help="ZooKeeper of a cluster that reads the pages; login and TLS are those of PERO_WORKER_CONFIG.",
            metavar="HOST[:PORT]",
        ),
    ] = "",
    engine: Annotated[
        list[str] | None,
        typer.Option(
            help="With --cluster: an engine that clients may ask for, with its stages; may be repeated.",
            metavar="NAME=STAGE,STAGE",
            show_default="each stage",
        ),
    ] = None,
    jobs: Annotated[
        int | None, typer.Option("-j", "--jobs", min=1, help="Worker processes.", show_default="one per core or GPU")
    ] = None,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:N.")] = "auto",
    time_limit: Annotated[float, typer.Option(min=0, help="Seconds that a page may take; 0: no limit.")] = 0,
    max_upload: Annotated[int, typer.Option(min=1, help="MB per upload, at most.")] = 500,
    lease_seconds: Annotated[
        float, typer.Option(min=0, help="Seconds that a worker with a leased job may be silent.")
    ] = 300,
    lease_grace: Annotated[float, typer.Option(min=0, help="Further seconds before another worker gets the job.")] = 10,
    client_timeout: Annotated[
        float, typer.Option(min=1, help="Give up clients that stop in the middle of a request.", metavar="SECONDS")
    ] = 60.0,
    instance_timeout: Annotated[
        float, typer.Option(min=1, help="Seconds of silence after which another gateway's pages are taken over.")
    ] = 30,
    retention_days: Annotated[float, typer.Option(min=0, help="Days that results are kept.")] = 7,
    legacy_strict: Annotated[
        bool,
        typer.Option("--legacy-strict", help="Report failed pages as `not processed yet` too, as PERO's server does."),
    ] = False,
    allow_host: Annotated[
        list[str] | None,
        typer.Option(help="Private host that scans may be fetched from and webhooks sent to."),
    ] = None,
    trusted_proxies: Annotated[
        str, typer.Option(help="Addresses, separated by commas, whose X-Forwarded headers are trusted.")
    ] = "",
    certificate: Annotated[Path | None, typer.Option(help="PEM file with the certificate, for HTTPS.")] = None,
    private_key: Annotated[Path | None, typer.Option(help="PEM file with the certificate's key.")] = None,
    watts: Watts = None,
    price_per_kwh: PricePerKwh = None,
    price_per_worker_second: PricePerWorkerSecond = None,
    currency: Currency = "",
    quiet: Annotated[bool, typer.Option("-q", "--quiet", help="Log warnings only, not every request.")] = False,
) -> None:
    """Serve the PERO API and DocAPI over HTTP."""
    needs_extra()
    from pero_worker.gateway.cluster_backend import ClusterBackend
    from pero_worker.gateway.local_backend import LocalBackend
    from pero_worker.gateway.logs import log_json
    from pero_worker.gateway.overview import ClusterOverview
    from pero_worker.gateway.serve import serve
    from pero_worker.gateway.settings import GatewaySettings
    from pero_worker.local.machine import LocalSettings

    if (certificate is None) != (private_key is None):
        raise UsageError("--certificate and --private-key belong together")
    log_json(logging.WARNING if quiet else logging.INFO)
    settings = GatewaySettings(
        data=data,
        database=database,
        host=host,
        port=port,
        max_upload=max_upload * 1_000_000,
        lease_seconds=lease_seconds,
        lease_grace=lease_grace,
        client_timeout=client_timeout,
        instance_timeout=instance_timeout,
        retention_days=retention_days,
        legacy_strict=legacy_strict,
        allowed_hosts=frozenset(allow_host or ()),
        trusted_proxies=trusted_proxies,
        prices=prices_of(watts, price_per_kwh, price_per_worker_second, currency),
        certificate=certificate,
        private_key=private_key,
        request_log=not quiet,
    )
    listening = lambda url: say(f"listening on {url}")  # noqa: E731
    if cluster:
        access = cluster_access(connection_to(cluster))
        with open_cluster(access, service="pero-gateway") as opened, closing(ClusterOverview(access)) as overview:
            backend = ClusterBackend(opened, _engines(engine or ()), SystemClock())
            serve(settings, backend, overview=overview, listening=listening)
        return
    cache = Path(platformdirs.user_cache_dir("pero-worker")) / "pipelines"
    names = [] if lease_only else pipeline or ["print-latin"]
    local = LocalSettings(device=device, jobs=jobs, time_limit=time_limit)
    judge = judge_by(TrustedArchives(), word=trust)
    local_backend = LocalBackend(
        [load_pipeline(name, cache=cache, judge=judge) for name in names],
        local,
        data / "workers.log",
        SystemClock(),
    )
    serve(settings, local_backend, overview=local_backend.overview, listening=listening)


def _engines(said: Sequence[str]) -> dict[str, tuple[str, ...]]:
    """Parses the engines. Raises `UsageError` if one is not NAME=STAGE,STAGE."""
    engines = {}
    for one in said:
        name, _, stages = one.partition("=")
        names = tuple(stage.strip() for stage in stages.split(",") if stage.strip())
        if not name.strip() or not names:
            raise UsageError(f"--engine {one}: write NAME=STAGE,STAGE")
        engines[name.strip()] = names
    return engines


def needs_extra() -> None:
    """Raises `UsageError` if the packages that the gateway needs are not installed."""
    try:
        import fastapi  # noqa: F401
        import sqlalchemy  # noqa: F401
        import uvicorn  # noqa: F401
    except ImportError as error:
        raise UsageError("the gateway needs more packages: pip install 'pero-worker[gateway]'") from error


app = command_app("gateway", gateway, EPILOG)
