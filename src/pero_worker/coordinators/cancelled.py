"""Which jobs were cancelled: one node for each in ZooKeeper, which workers and senders follow."""

from __future__ import annotations

from collections.abc import Callable

from kazoo.client import KazooClient
from kazoo.exceptions import NoNodeError
from kazoo.recipe.watchers import ChildrenWatch

from pero_worker.wire.tree import TREE, encode_text, job_node


def follow_cancelled(client: KazooClient, changed: Callable[[frozenset[str]], None]) -> None:
    """Calls `changed` with the nodes of all cancelled jobs, at once and, from kazoo's thread, whenever they change."""
    client.ensure_path(TREE.cancelled)
    ChildrenWatch(client, TREE.cancelled, lambda names: changed(frozenset(names)))


class CancelledJob:
    """Whether one job is cancelled, for the sender of its pages."""

    def __init__(self, client: KazooClient, job: str) -> None:
        self._node = job_node(job)
        self.is_cancelled = False
        follow_cancelled(client, self._look)

    def _look(self, jobs: frozenset[str]) -> None:
        self.is_cancelled = self._node in jobs


def mark_cancelled(client: KazooClient, job: str) -> None:
    """Marks the job as cancelled: from now on no worker of ours processes a page of it."""
    path = f"{TREE.cancelled}/{job_node(job)}"
    client.ensure_path(path)
    client.set(path, encode_text(job))


def unmark_cancelled(client: KazooClient, job: str) -> bool:
    """Has pages that are sent from now on processed again; returns whether the job was cancelled."""
    try:
        client.delete(f"{TREE.cancelled}/{job_node(job)}")
    except NoNodeError:
        return False
    return True
