"""The state of the whole cluster in one look."""

from __future__ import annotations

from dataclasses import dataclass

from kazoo.client import KazooClient
from kazoo.exceptions import NoNodeError

from pero_worker.cluster.access import Cluster
from pero_worker.cluster.registry.stages import read_record, stage_names
from pero_worker.cluster.registry.workers import WorkerState, read_workers
from pero_worker.coordinators.session import wait_for
from pero_worker.wire import tree as wire
from pero_worker.wire.queues import DEAD_LETTERS
from pero_worker.wire.tree import TREE


@dataclass(frozen=True, slots=True)
class StageState:
    """`messages` None: the queue is missing. `rate` is pages a second that its workers can do, `seconds_left` at that
    rate; None when nobody serves it or nothing is measured."""

    name: str
    messages: int | None
    workers: int
    mean_seconds: float | None
    version: str
    disabled: bool
    priority: int

    @property
    def rate(self) -> float | None:
        return self.workers / self.mean_seconds if self.workers and self.mean_seconds else None

    @property
    def seconds_left(self) -> float | None:
        return self.messages / self.rate if self.messages is not None and self.rate else None


@dataclass(frozen=True, slots=True)
class ClusterState:
    stages: tuple[StageState, ...]
    workers: tuple[WorkerState, ...]
    leader: str
    dead_letters: int


def look(cluster: Cluster) -> ClusterState:
    workers = read_workers(cluster.zookeeper)
    stages: list[StageState] = []
    for name in stage_names(cluster.zookeeper):
        record = read_record(cluster.zookeeper, name)
        queue = cluster.broker.state(name)
        serving = sum(name in worker.stages and not worker.dead for worker in workers)
        stages.append(
            StageState(
                name,
                queue.messages if queue else None,
                serving,
                record.mean_seconds,
                record.version,
                record.disabled,
                record.priority,
            )
        )
    dead = cluster.broker.state(DEAD_LETTERS)
    return ClusterState(tuple(stages), workers, leader(cluster.zookeeper), dead.messages if dead else 0)


def leader(client: KazooClient) -> str:
    """The name of the watchdog that leads, '' when there is none of ours."""
    try:
        candidates = wait_for(client, lambda: client.get_children_async(TREE.election))
        if not candidates:
            return ""
        first = min(candidates, key=lambda name: name.rpartition("__")[2])
        value, _ = wait_for(client, lambda: client.get_async(f"{TREE.election}/{first}"))
    except NoNodeError:
        return ""
    return wire.decode_text(value)
