"""A cluster from Python: send pages, wait, take the results."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Literal

from pero_worker.api import DEFAULT_FORMATS, Paths, job_request, run_options
from pero_worker.clock import SystemClock
from pero_worker.cluster.pages.workforce import cluster_workforce
from pero_worker.cluster.settings import (
    ConnectionOptions,
    cluster_access,
    connection_options,
    split_servers,
)
from pero_worker.cluster.state import ClusterState
from pero_worker.cluster.status import ClusterWatcher
from pero_worker.jobs.job import Job
from pero_worker.jobs.records import PageRecord


class ClusterClient:
    """A cluster, to give jobs to. Connections are opened when they are needed."""

    def __init__(self, connection: ConnectionOptions) -> None:
        self._access = cluster_access(connection)

    def submit(
        self,
        paths: Paths,
        output: str | Path,
        *,
        stages: str | Sequence[str],
        formats: str | Sequence[str] = DEFAULT_FORMATS,
        dpi: int = 300,
        text_lines: Literal["keep", "join"] = "keep",
        combine: bool = False,
        priority: int | None = None,
        on_page: Callable[[PageRecord], object] | None = None,
    ) -> Job:
        """Sends files, folders and patterns through `stages` of the cluster, and takes the results into `output`.

        The job works in a thread of this program: wait for it, or cancel it. When the program ends before, the same
        call goes on later: pages that are in the cluster by then are done meanwhile. `priority`: 1 goes before 0.
        `on_page` is called from the job's thread with the record of every page that is settled. Errors of the job are
        raised by its `wait`: StageError, there is no such stage; TransientError, the cluster cannot be reached;
        others as `pero_worker.ocr`. UsageError, at once: there is no such format.
        """
        names = split_servers([stages] if isinstance(stages, str) else stages)
        workforce = cluster_workforce(self._access, names, dpi=dpi, priority=priority)
        options = run_options(formats, dpi, text_lines, combine=combine)
        return Job(job_request(paths, output, options, workforce), on_page)

    def status(self) -> ClusterState:
        """What is wrong, stages with their queues, workers with what they do. TransientError: it cannot be reached."""
        with ClusterWatcher(self._access, SystemClock().now) as watcher:
            return watcher.look()


def connect(
    zookeeper: str = "",
    *,
    config_file: str | Path | None = None,
    user: str = "",
    password: str = "",
    ca_cert: str = "",
    vhost: str = "",
) -> ClusterClient:
    """The cluster behind `zookeeper` (`HOST[:PORT]`, several with commas).

    What is not said comes from the variables PERO_WORKER_ZOOKEEPER, _USER and so on, then from `config_file`, which
    PERO_WORKER_CONFIG may name, too. UsageError: an address that cannot be, or a file that cannot be read.
    """
    return ClusterClient(
        connection_options(
            ConnectionOptions(zookeeper=zookeeper, user=user, password=password, ca_cert=ca_cert, vhost=vhost),
            config_file=Path(config_file) if config_file else None,
        )
    )
