"""What kind of queue each stage has: what is said of it, else of the cluster, else a classic one, as upstream's."""

from __future__ import annotations

from kazoo.client import KazooClient

from pero_worker.coordinators.session import read_leaves, wait_for
from pero_worker.wire import tree as wire
from pero_worker.wire.queues import DEAD_LETTERS
from pero_worker.wire.tree import TREE
from pero_worker.work import QueueKind

TAKEN_AWAY = "none"
"""Somebody removed the queue and left the stage: nobody is to make it again unasked."""


def registered_kind(client: KazooClient, queue: str) -> QueueKind | None:
    """Of the queue of a stage or output queue that is known; None: there is none of that name, or none is wanted.

    TransientError: it is not known now."""
    if queue == DEAD_LETTERS:
        return default_kind(client)
    if not wire.is_name(queue) or wait_for(client, lambda: client.exists_async(TREE.stage(queue))) is None:
        return None
    said = read_leaves(client, TREE.stage(queue), ("queue_type",)).get("queue_type", (b"",))[0]
    if said == TAKEN_AWAY.encode():
        return None
    return _kind(said) or default_kind(client)


def default_kind(client: KazooClient) -> QueueKind:
    """Of queues of which nothing is said."""
    folder, _, leaf = TREE.queue_type.rpartition("/")
    return _kind(read_leaves(client, folder, (leaf,)).get(leaf, (b"",))[0]) or QueueKind.CLASSIC


def set_default_kind(client: KazooClient, kind: QueueKind) -> None:
    """Queues that are there stay as they are."""
    client.ensure_path(TREE.queue_type)
    client.set(TREE.queue_type, wire.encode_text(kind))


def _kind(value: bytes) -> QueueKind | None:
    """None: nothing is said, or nothing that makes sense."""
    return next((kind for kind in QueueKind if value == kind.encode()), None)
