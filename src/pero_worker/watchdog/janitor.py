"""Clears away what is no longer needed: nodes of workers long dead, notes on pages and jobs long gone."""

from __future__ import annotations

import logging
from datetime import UTC, datetime, timedelta

from kazoo.client import KazooClient
from kazoo.exceptions import NoNodeError, NotEmptyError

from pero_worker.cluster.registry.workers import read_workers
from pero_worker.wire.tree import TREE

logger = logging.getLogger(__name__)

KEEP_WORKERS = timedelta(days=1)
"""How long an operator can still see what a dead worker last reported."""
KEEP_SUSPECTS = timedelta(days=7)
KEEP_CANCELLED = timedelta(days=30)
"""Pages of a cancelled job that still wait after this time would be processed."""


def zookeepers_time(client: KazooClient) -> datetime:
    """Returns the time by the clock that dates the nodes: the clock of this machine may be off by days."""
    client.ensure_path(TREE.suspects)
    return datetime.fromtimestamp(client.set(TREE.suspects, b"").last_modified, UTC)


def tidy(client: KazooClient, now: datetime) -> int:
    """Removes what is older than that at `now`, by ZooKeeper's clock; returns the number of nodes removed."""
    removed = 0
    for worker in read_workers(client):
        if worker.dead and _older(client, TREE.worker(worker.name, "status"), now - KEEP_WORKERS):
            removed += _delete(client, TREE.worker(worker.name))
    for folder, kept in ((TREE.suspects, KEEP_SUSPECTS), (TREE.cancelled, KEEP_CANCELLED)):
        for name in client.get_children(folder) if client.exists(folder) is not None else ():
            if _older(client, f"{folder}/{name}", now - kept):
                removed += _delete(client, f"{folder}/{name}")
    return removed


def _older(client: KazooClient, path: str, limit: datetime) -> bool:
    stat = client.exists(path)
    return stat is not None and datetime.fromtimestamp(stat.last_modified, UTC) < limit


def _delete(client: KazooClient, path: str) -> bool:
    try:
        client.delete(path, recursive=True)
    except (NoNodeError, NotEmptyError):
        return False  # It changed in the meantime, so it is in use.
    logger.info("removed %s", path)
    return True
