"""Which jobs were cancelled: a node for each in ZooKeeper, that workers and senders follow."""

from __future__ import annotations

from collections.abc import Callable

from kazoo.client import KazooClient
from kazoo.exceptions import NoNodeError
from kazoo.recipe.watchers import ChildrenWatch

from pero_worker.wire.tree import TREE, encode_text, job_node


def follow_cancelled(client: KazooClient, changed: Callable[[frozenset[str]], None]) -> None:
    """`changed` is called with the nodes of all cancelled jobs, at once and, from kazoo's thread, when others are."""
    client.ensure_path(TREE.cancelled)
    ChildrenWatch(client, TREE.cancelled, lambda names: changed(frozenset(names)))


class CancelledJob:
    """Whether one job is cancelled, for who sends its pages."""

    def __init__(self, client: KazooClient, job: str) -> None:
        self._node = job_node(job)
        self.is_cancelled = False
        follow_cancelled(client, self._look)

    def _look(self, jobs: frozenset[str]) -> None:
        self.is_cancelled = self._node in jobs


def mark_cancelled(client: KazooClient, job: str) -> None:
    """From now on nobody of ours processes a page of the job."""
    path = f"{TREE.cancelled}/{job_node(job)}"
    client.ensure_path(path)
    client.set(path, encode_text(job))


def unmark_cancelled(client: KazooClient, job: str) -> bool:
    """Pages that are sent from now on are processed again; whether it was cancelled."""
    try:
        client.delete(f"{TREE.cancelled}/{job_node(job)}")
    except NoNodeError:
        return False
    return True
