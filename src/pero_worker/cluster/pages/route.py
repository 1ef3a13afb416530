"""Which queues pages may be sent along, and which their results may be taken from."""

from __future__ import annotations

from collections.abc import Sequence

from kazoo.client import KazooClient

from pero_worker.cluster.opening import Cluster
from pero_worker.coordinators.session import read_leaves
from pero_worker.errors import StageError, UsageError
from pero_worker.wire.queues import DEAD_LETTERS, LOG_QUEUE, is_queue_name
from pero_worker.wire.requests import MAX_STAGES
from pero_worker.wire.tree import TREE, check_name

_OURS = {
    DEAD_LETTERS: "holds messages that were set aside: see pero-worker dead",
    LOG_QUEUE: "holds what workers log: see pero-worker log",
}


def check_route(cluster: Cluster, stages: Sequence[str], *, force: bool = False) -> None:
    """Pages sent along `stages` arrive, each with a model in every stage but the last, which is an output queue.

    `force`: other programs serve stages that have no configuration here. UsageError: the list is in no such order;
    StageError: one of them is not there.
    """
    if len(stages) < 2:
        raise UsageError("name at least one stage, and the output queue last: --stages ocr,out")
    check_stages(cluster, stages[:-1], force=force)
    output = stages[-1]
    _check_queue(cluster, output)
    if not force and processes(cluster.zookeeper, output):
        raise UsageError(
            f"the last of the stages, {output!r}, has a model: results would be processed again, not kept. Name an "
            f"output queue last (pero-worker stage add out)"
        )


def check_stages(cluster: Cluster, stages: Sequence[str], *, force: bool = False) -> None:
    """Each of them processes pages; errors as `check_route`."""
    if len(stages) > MAX_STAGES:
        raise UsageError(f"{len(stages)} stages are too many: a page goes through {MAX_STAGES} at most")
    for name in stages:
        _check_queue(cluster, name)
        if not force and not processes(cluster.zookeeper, name):
            raise UsageError(
                f"{name!r} is an output queue, no worker serves it: pages would stay there. Stages with a model: "
                f"pero-worker stage list"
            )


def check_output(cluster: Cluster, queue: str, *, force: bool = False) -> int:
    """How many messages wait in `queue`, which holds results. `force`: in any.

    UsageError: it holds pages that are still to be processed, or something else; StageError: it is not there.
    """
    if queue in _OURS:
        raise UsageError(f"the queue {queue!r} {_OURS[queue]}")
    state = cluster.broker.restored(queue) if is_queue_name(queue) else None
    if state is None:
        raise StageError(f"there is no queue {queue!r}: see pero-worker queues")
    if not force and processes(cluster.zookeeper, queue):
        raise UsageError(
            f"{queue!r} is a stage that processes pages, not an output queue: its waiting pages would be taken away "
            f"undone (--force takes them)"
        )
    return state.messages


def processes(client: KazooClient, stage: str) -> bool:
    """Whether the stage has a configuration or an archive: the others are output queues."""
    try:
        check_name(stage)
    except StageError:
        return False  # No stage can have that name.
    found = read_leaves(client, TREE.stage(stage), ("config", "config_path"))
    return any(value.strip() for value, _ in found.values())


def _check_queue(cluster: Cluster, name: str) -> None:
    if name in _OURS:
        raise UsageError(f"no pages go to the queue {name!r}: it {_OURS[name]}")
    if not is_queue_name(name) or cluster.broker.restored(name) is None:
        raise StageError(
            f"there is no queue {name!r}: correct the name (pero-worker stage list), or create it with "
            f"pero-worker stage add {name}"
        )
