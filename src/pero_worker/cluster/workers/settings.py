"""What a worker of a cluster is started with: known to its parent process, which needs nothing that works on pages."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from pero_worker.models.keep import Keep

_KEEP = Keep(age=timedelta(days=90), bytes=100_000_000_000)
DEFAULT_GRACE_SECONDS = 300.0
END_SECONDS = 5.0
"""In which a worker without a page in hand ends, whatever servers are silent."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ClusterWorkerSettings:
    """What a worker of a cluster is started with."""

    name: str
    """Unique in the cluster."""
    cache: Path
    """The folder for models."""
    device: str = "cpu"
    """As engines take it: 'cpu', 'cuda:0'."""
    max_pixels: int = 0
    """Larger pages are refused before they are decoded."""
    max_attempts: int = 3
    """Tries of a page in one stage before it is given up."""
    rotate: bool = True
    """Whether pages that lie sideways or upside down are turned."""
    grace: float = DEFAULT_GRACE_SECONDS
    """Seconds that the page in hand may take when the worker is to stop; one that takes longer is given back."""
    keep: Keep = _KEEP
    """Which models stay in the cache."""
    log_queue: str = ""
    """Where log lines go; '' = nowhere."""
    stores: tuple[str, ...] = ()
    """Model stores; empty = those registered in ZooKeeper."""
    max_memory: int = 0
    """Bytes; a process that takes more after a page is started anew. 0 = no limit."""
    workers_on_device: int = 1
    """Workers that share the device."""
    model_memory: int | None = None
    """Bytes for models; None = the device's, shared; 0 = one stage at a time."""
    labels: tuple[str, ...] = ()
    """What stages may ask for, beside the kind of device."""
    log_level: int = logging.WARNING
    """From which on lines are kept."""
    trust_archives: bool = False
    """Whether archives that no SHA-256 pins are used, too."""
