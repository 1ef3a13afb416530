"""Uses a cluster from Python: send pages, wait, collect the results."""

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
    """A cluster that jobs can be submitted to. Connections are opened when needed."""

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
        """Sends files, folders and patterns through `stages` of the cluster, and collects the results in `output`.

        The job runs in a thread of this program: wait for it, or cancel it. If the program ends earlier, the same call
        resumes the job later; pages already in the cluster are processed in the meantime. `priority`: 1 goes before 0.
        `on_page` is called from the job's thread with the record of every page that is settled.

        Raises `UsageError` at once if a format does not exist. Errors of the job are raised by its `wait`: `StageError`
        if a stage does not exist, `TransientError` if the cluster cannot be reached, others as in `pero_worker.ocr`.
        """
        names = split_servers([stages] if isinstance(stages, str) else stages)
        workforce = cluster_workforce(self._access, names, dpi=dpi, priority=priority)
        options = run_options(formats, dpi, text_lines, combine=combine)
        return Job(job_request(paths, output, options, workforce), on_page)

    def status(self) -> ClusterState:
        """Returns the problems, the stages with their queues, and the workers with what they are doing. Raises
        `TransientError` if the cluster cannot be reached."""
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
    """Returns the cluster behind `zookeeper` (`HOST[:PORT]`, several separated by commas).

    Missing values come from the variables PERO_WORKER_ZOOKEEPER, _USER and so on, then from `config_file`, which
    PERO_WORKER_CONFIG may also name. Raises `UsageError` if an address is impossible or a file cannot be read.
    """
    return ClusterClient(
        connection_options(
            ConnectionOptions(zookeeper=zookeeper, user=user, password=password, ca_cert=ca_cert, vhost=vhost),
            config_file=Path(config_file) if config_file else None,
        )
    )
