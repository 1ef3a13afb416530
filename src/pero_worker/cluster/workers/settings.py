"""A cluster worker's settings, for its parent process too, which loads nothing that works on pages."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from pero_worker.models.keep import Keep

_KEEP = Keep(age=timedelta(days=90), bytes=100_000_000_000)
DEFAULT_GRACE_SECONDS = 300.0
END_SECONDS = 5.0
"""A worker without a page in hand stops within this time, even if servers do not answer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ClusterWorkerSettings:
    """What a worker of a cluster is started with."""

    name: str
    """Name, unique in the cluster."""
    cache: Path
    """Folder for models."""
    device: str = "cpu"
    """Device in the engines' notation: 'cpu', 'cuda:0'."""
    max_pixels: int = 0
    """Larger pages are refused before they are decoded."""
    max_attempts: int = 3
    """Attempts at a page in one stage before it is given up."""
    rotate: bool = True
    """Whether pages that lie sideways or upside down are turned upright."""
    grace: float = DEFAULT_GRACE_SECONDS
    """How long the page in hand may take when the worker is to stop, in seconds; after that it is given back."""
    keep: Keep = _KEEP
    """Which models stay in the cache."""
    log_queue: str = ""
    """Queue for log lines; '' = none."""
    stores: tuple[str, ...] = ()
    """Model stores; () = those registered in ZooKeeper."""
    max_memory: int = 0
    """Limit in bytes; a process that uses more after a page is restarted. 0 = no limit."""
    workers_on_device: int = 1
    """Number of workers that share the device."""
    model_memory: int | None = None
    """Memory for models, in bytes; None = this worker's share of the device's; 0 = one stage at a time."""
    labels: tuple[str, ...] = ()
    """Labels that stages may require, in addition to the kind of device."""
    log_level: int = logging.WARNING
    """Lowest level of the records that are logged."""
    trust_archives: bool = False
    """Whether archives without a recorded SHA-256 are used, too."""
