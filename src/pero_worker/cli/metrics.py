"""`pero-worker metrics`: exports the whole cluster's metrics for Prometheus."""

from __future__ import annotations

from contextlib import ExitStack
from threading import Lock
from typing import Annotated

import typer

from pero_worker.cli.access import cluster_command
from pero_worker.cli.late import command_app
from pero_worker.cli.say import say
from pero_worker.clock import SystemClock
from pero_worker.cluster.access import ClusterAccess
from pero_worker.cluster.settings import ConnectionOptions, cluster_access
from pero_worker.cluster.state import ClusterState
from pero_worker.cluster.status import ClusterWatcher
from pero_worker.errors import TransientError, UsageError
from pero_worker.processes import Lifetime

EPILOG = """[bold]Examples[/bold]

  pero-worker metrics                              (prints them once)

  pero-worker metrics --listen 127.0.0.1:9150      (for Prometheus to scrape)

Rules and a dashboard are in the project's folder monitoring/.
"""


class WatchedCluster:
    """Looks at a cluster repeatedly over connections that are kept, and reopened after ZooKeeper was away."""

    def __init__(self, access: ClusterAccess) -> None:
        self._access = access
        self._lock = Lock()
        self._stack = ExitStack()
        self._watcher: ClusterWatcher | None = None

    def look(self) -> ClusterState:
        """Returns the cluster's state. Raises `TransientError` if ZooKeeper is away."""
        with self._lock:
            if self._watcher is None:
                self._watcher = self._stack.enter_context(ClusterWatcher(self._access, SystemClock().now))
            try:
                return self._watcher.look()
            except TransientError:
                self.close()
                raise

    def close(self) -> None:
        """Closes the connections; the next look reopens them."""
        self._watcher = None
        self._stack.close()


def metrics(
    connection: ConnectionOptions,
    listen: Annotated[
        str,
        typer.Option(help="Serve them over HTTP instead of printing them once.", metavar="HOST:PORT"),
    ] = "",
) -> None:
    """Metrics of the whole cluster in Prometheus' format: no worker need be scraped."""
    from pero_worker.cluster.metrics import ClusterCollector, exposition

    cluster = WatchedCluster(cluster_access(connection))
    if not listen:
        typer.echo(exposition(cluster.look).decode("utf-8"), nl=False)
        cluster.close()
        return
    from prometheus_client import CollectorRegistry, start_http_server

    host, _, port = listen.rpartition(":")
    if not host or not port.isdigit() or not 0 <= int(port) < 65536:
        raise UsageError(f"--listen {listen}: write HOST:PORT, as 127.0.0.1:9150")
    registry = CollectorRegistry()
    registry.register(ClusterCollector(cluster.look))
    lifetime = Lifetime()
    lifetime.begin()
    try:
        server, _thread = start_http_server(int(port), host.strip("[]"), registry)
    except OSError as error:
        raise UsageError(f"cannot listen at {listen}: {error.strerror}") from error
    say(f"metrics are at http://{host}:{server.server_port}/metrics")
    lifetime.stop.wait()
    server.shutdown()
    cluster.close()


app = command_app("metrics", cluster_command(metrics), EPILOG)
