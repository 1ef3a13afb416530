"""The state of the whole cluster at a glance. What cannot be seen is left out, and reported as such."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from datetime import datetime

from kazoo.client import KazooClient
from kazoo.exceptions import NoNodeError

from pero_worker.brokers.alarms import raised_alarms
from pero_worker.brokers.queues import RabbitQueues
from pero_worker.cluster.access import ClusterAccess
from pero_worker.cluster.opening import broker_access
from pero_worker.cluster.payloads.watching import StoreWatch
from pero_worker.cluster.problems import find_problems
from pero_worker.cluster.queues import listed_queues
from pero_worker.cluster.registry.moves import read_moves
from pero_worker.cluster.registry.payloads import read_settings
from pero_worker.cluster.registry.stages import StageRecord, current_trouble, read_record, stage_names
from pero_worker.cluster.registry.workers import WorkerState, read_workers
from pero_worker.cluster.state import PAYLOAD_STORE, ClusterState, Look, StageState
from pero_worker.coordinators.session import session, wait_for
from pero_worker.errors import StageError, TransientError
from pero_worker.wire import tree as wire
from pero_worker.wire.queues import DEAD_LETTERS, LOG_QUEUE
from pero_worker.wire.tree import TREE

PATIENCE_SECONDS = 2.0
"""How long to wait for a server before it counts as away."""


class ClusterWatcher:
    """Looks at a cluster repeatedly over the same connections. Use it in a `with` statement.

    Entering it raises `TransientError` if ZooKeeper cannot be reached, since nothing is known without it.
    """

    def __init__(self, access: ClusterAccess, now: Callable[[], datetime], patience: float = PATIENCE_SECONDS) -> None:
        self._access = access
        self._now = now
        self._patience = patience
        self._stack = ExitStack()
        self._client: KazooClient | None = None
        self._broker: RabbitQueues | None = None
        self._store = StoreWatch(access.store, patience)

    def __enter__(self) -> ClusterWatcher:
        zookeeper = replace(self._access.zookeeper, patience=self._patience)
        self._client = self._stack.enter_context(session(zookeeper))
        self._stack.callback(self._store.close)
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def look(self) -> ClusterState:
        """Returns the present state of the cluster. Raises `TransientError` if ZooKeeper is away."""
        if self._client is None:
            raise TransientError("the cluster is not being watched yet")
        client = self._client
        records = _records(client)
        workers = read_workers(client)
        queues: Mapping[str, int] = {}
        away: list[tuple[str, str]] = []
        alarms: tuple[str, ...] = ()
        try:
            broker = self._connected(client)
            queues = self._queues(client, broker, [record.name for record in records])
            alarms = raised_alarms(broker_access(client, self._access.broker))
        except TransientError as error:
            away.append(("RabbitMQ", str(error)))
        payloads = read_settings(client)
        if payloads.url and (trouble := self._store.trouble(payloads.url)):
            away.append((PAYLOAD_STORE, trouble))
        stages = tuple(_stage(record, queues, workers) for record in records)
        others = queues.keys() - {record.name for record in records} - {DEAD_LETTERS}
        look = Look(
            stages=stages,
            outputs={name: queues[name] for name in sorted(others) if queues[name]},
            workers=workers,
            leader=leader(client),
            moves=read_moves(client),
            dead_letters=queues.get(DEAD_LETTERS, 0),
            away=tuple(away),
            alarms=alarms,
            payloads=payloads,
        )
        return ClusterState(look=look, problems=find_problems(look, self._now()))

    def _connected(self, client: KazooClient) -> RabbitQueues:
        if self._broker is None:
            self._broker = RabbitQueues(broker_access(client, self._access.broker))
            self._stack.callback(self._broker.close)
        self._broker.wait_connected(self._patience)
        return self._broker

    def _queues(self, client: KazooClient, broker: RabbitQueues, stages: Sequence[str]) -> Mapping[str, int]:
        """Returns the messages waiting in every existing queue that is known: those of the stages, the usual ones, and
        whatever RabbitMQ's web interface lists if it is registered."""
        known = (*stages, *listed_queues(client, self._access.broker, self._patience), "out", LOG_QUEUE, DEAD_LETTERS)
        return broker.lengths(tuple(dict.fromkeys(known)))


def _records(client: KazooClient) -> list[StageRecord]:
    """Returns the records of all stages that have a configuration; stages removed in the meantime are left out."""
    records = []
    for name in stage_names(client):
        try:
            records.append(read_record(client, name))
        except StageError:
            continue
    return [record for record in records if record.config]


def _stage(record: StageRecord, queues: Mapping[str, int], workers: Sequence[WorkerState]) -> StageState:
    trouble = current_trouble(record)
    return StageState(
        name=record.name,
        messages=queues.get(record.name),
        workers=sum(record.name in worker.stages and not worker.dead for worker in workers),
        mean_seconds=record.mean_seconds,
        version=record.version,
        disabled=record.disabled,
        priority=record.priority,
        needs=record.sharing.needs,
        owner=record.sharing.owner,
        trouble=trouble.reason if trouble else "",
        unreadable=record.unreadable,
        trouble_since=trouble.since if trouble else None,
        last_page=record.last_page,
        waiting_since=record.waiting_since,
    )


def leader(client: KazooClient) -> str:
    """Returns the name of the leading watchdog; '' if there is none, or if it does not give a name."""
    try:
        candidates = wait_for(client, lambda: client.get_children_async(TREE.election))
        if not candidates:
            return ""
        first = min(candidates, key=lambda name: name.rpartition("__")[2])
        value, _ = wait_for(client, lambda: client.get_async(f"{TREE.election}/{first}"))
    except NoNodeError:
        return ""
    return wire.decode_text(value)
