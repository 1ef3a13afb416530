"""Clears away what is not needed any more: nodes of workers long dead, notes on pages long gone."""

from __future__ import annotations

import logging
from datetime import UTC, datetime, timedelta

from kazoo.client import KazooClient
from kazoo.exceptions import NoNodeError, NotEmptyError

from pero_worker.cluster.registry.workers import read_workers
from pero_worker.wire.tree import TREE

logger = logging.getLogger(__name__)

KEEP_WORKERS = timedelta(days=1)
"""For so long an operator may look at what a dead worker said last."""
KEEP_SUSPECTS = timedelta(days=7)


def zookeepers_time(client: KazooClient) -> datetime:
    """By the clock that dates the nodes: that of this machine may be wrong by days."""
    client.ensure_path(TREE.suspects)
    return datetime.fromtimestamp(client.set(TREE.suspects, b"").last_modified, UTC)


def tidy(client: KazooClient, now: datetime) -> int:
    """Removes what is older than that, `now` by ZooKeeper's clock; how many nodes went."""
    removed = 0
    for worker in read_workers(client):
        if worker.dead and _older(client, TREE.worker(worker.name, "status"), now - KEEP_WORKERS):
            removed += _delete(client, TREE.worker(worker.name))
    if client.exists(TREE.suspects) is not None:
        for page in client.get_children(TREE.suspects):
            path = f"{TREE.suspects}/{page}"
            if _older(client, path, now - KEEP_SUSPECTS):
                removed += _delete(client, path)
    return removed


def _older(client: KazooClient, path: str, limit: datetime) -> bool:
    stat = client.exists(path)
    return stat is not None and datetime.fromtimestamp(stat.last_modified, UTC) < limit


def _delete(client: KazooClient, path: str) -> bool:
    try:
        client.delete(path, recursive=True)
    except (NoNodeError, NotEmptyError):
        return False  # Somebody came in between: it lives.
    logger.info("removed %s", path)
    return True
