"""Which queues pages may be sent along, and which ones their results may be taken from."""

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
    """Checks that pages sent along `stages` will arrive: each stage has a model, except the last, which is an output
    queue.

    With `force`, stages without a configuration are accepted, as other programs may serve them. Raises `UsageError` if
    the stages are not in such an order, `StageError` if one of them does not exist.
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
    """Checks that each of the stages processes pages. Raises the same errors as `check_route`."""
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
    """Returns how many messages wait in `queue`, which must be an output queue unless `force`.

    Raises `UsageError` if it holds pages still to be processed, or something else, `StageError` if it does not exist.
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
    """Returns whether the stage has a configuration or an archive; otherwise it is an output queue."""
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
