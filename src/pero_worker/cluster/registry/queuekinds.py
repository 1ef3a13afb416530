"""What kind of queue each stage has: what is said of it, else of the cluster, else a classic one, as upstream's."""

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
"""Somebody removed the queue and left the stage: nobody is to make it again unasked."""


def registered_kind(client: KazooClient, queue: str) -> QueueKind | None:
    """Of the queue of a stage or output queue that is known; None: there is none of that name, or none is wanted.

    TransientError: it is not known now."""
    if queue == DEAD_LETTERS:
        return default_kind(client)
    said = said_kind(client, queue) if wire.is_name(queue) else None
    if said is None or said == TAKEN_AWAY:
        return None
    return _kind(said) or default_kind(client)


def said_kind(client: KazooClient, queue: str) -> str | None:
    """As it stands there, '' when nothing does; None: there is no stage or output queue of that name."""
    output = read_leaves(client, TREE.outputs, (queue,)).get(queue)
    if output is not None:
        return wire.decode_text(output[0])
    if not is_stage(client, queue):
        return None
    return wire.decode_text(read_leaves(client, TREE.stage(queue), ("queue_type",)).get("queue_type", (b"",))[0])


def is_stage(client: KazooClient, name: str) -> bool:
    """Whether something is configured by that name."""
    return wait_for(client, lambda: client.exists_async(TREE.stage(name))) is not None


def note_output(client: KazooClient, queue: str, kind: str | None) -> None:
    """There is such a queue for results; `kind` None: as it was said before, or '': as the cluster says."""
    path = f"{TREE.outputs}/{queue}"
    client.ensure_path(path)
    if kind is not None:
        client.set(path, wire.encode_text(kind))


def forget_output(client: KazooClient, queue: str) -> None:
    """There is none of that name, or it is a stage from now on."""
    with suppress(NoNodeError):
        client.delete(f"{TREE.outputs}/{queue}")


def default_kind(client: KazooClient) -> QueueKind:
    """Of queues of which nothing is said."""
    folder, _, leaf = TREE.queue_type.rpartition("/")
    return _kind(wire.decode_text(read_leaves(client, folder, (leaf,)).get(leaf, (b"",))[0])) or QueueKind.CLASSIC


def set_default_kind(client: KazooClient, kind: QueueKind) -> None:
    """Queues that are there stay as they are."""
    client.ensure_path(TREE.queue_type)
    client.set(TREE.queue_type, wire.encode_text(kind))


def _kind(value: str) -> QueueKind | None:
    """None: nothing is said, or nothing that makes sense."""
    return next((kind for kind in QueueKind if value == kind), None)
