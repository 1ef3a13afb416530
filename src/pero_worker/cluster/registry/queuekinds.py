"""The kind of each stage's queue: as set for the stage, otherwise for the cluster, otherwise classic, as upstream's."""

from __future__ import annotations

from contextlib import suppress

from kazoo.client import KazooClient
from kazoo.exceptions import NoNodeError

from pero_worker.coordinators.session import read_leaves, wait_for
from pero_worker.wire import tree as wire
from pero_worker.wire.queues import DEAD_LETTERS
from pero_worker.wire.tree import TREE
from pero_worker.work import QueueKind

TAKEN_AWAY = "none"
"""The queue was removed but the stage kept: nobody should recreate the queue unasked."""


def registered_kind(client: KazooClient, queue: str) -> QueueKind | None:
    """Returns the kind of a known stage's queue or output queue; None: no such queue is known, or none is wanted.

    Raises `TransientError` if ZooKeeper is away.
    """
    if queue == DEAD_LETTERS:
        return default_kind(client)
    said = said_kind(client, queue) if wire.is_name(queue) else None
    if said is None or said == TAKEN_AWAY:
        return None
    return _kind(said) or default_kind(client)


def said_kind(client: KazooClient, queue: str) -> str | None:
    """Returns the kind as written in ZooKeeper, '' if unset; None: there is no stage or output queue of that name."""
    output = read_leaves(client, TREE.outputs, (queue,)).get(queue)
    if output is not None:
        return wire.decode_text(output[0])
    if not is_stage(client, queue):
        return None
    return wire.decode_text(read_leaves(client, TREE.stage(queue), ("queue_type",)).get("queue_type", (b"",))[0])


def is_stage(client: KazooClient, name: str) -> bool:
    """Returns whether a stage of that name exists."""
    return wait_for(client, lambda: client.exists_async(TREE.stage(name))) is not None


def note_output(client: KazooClient, queue: str, kind: str | None) -> None:
    """Registers an output queue. `kind` None leaves its kind as it is; '' means the cluster's default."""
    path = f"{TREE.outputs}/{queue}"
    client.ensure_path(path)
    if kind is not None:
        client.set(path, wire.encode_text(kind))


def forget_output(client: KazooClient, queue: str) -> None:
    """Unregisters an output queue, because it was removed or is now a stage."""
    with suppress(NoNodeError):
        client.delete(f"{TREE.outputs}/{queue}")


def default_kind(client: KazooClient) -> QueueKind:
    """Returns the kind of queues for which none is set."""
    folder, _, leaf = TREE.queue_type.rpartition("/")
    return _kind(wire.decode_text(read_leaves(client, folder, (leaf,)).get(leaf, (b"",))[0])) or QueueKind.CLASSIC


def set_default_kind(client: KazooClient, kind: QueueKind) -> None:
    """Sets the default kind; existing queues stay as they are."""
    client.ensure_path(TREE.queue_type)
    client.set(TREE.queue_type, wire.encode_text(kind))


def _kind(value: str) -> QueueKind | None:
    """Returns None if no kind is set, or one that makes no sense."""
    return next((kind for kind in QueueKind if value == kind), None)
