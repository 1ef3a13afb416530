"""The watchdog: one leader looks at queues and workers, plans, and tells the workers.

Workers' reports wake it through ZooKeeper's watches; queues are asked for their exact lengths a few times a second.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from functools import partial
from typing import Any

from kazoo.client import KazooClient, KazooState
from kazoo.exceptions import KazooException, NoNodeError
from kazoo.recipe.watchers import ChildrenWatch, DataWatch

from pero_worker.cluster.stages import read_record, stage_names
from pero_worker.cluster.workers import WorkerState, read_workers
from pero_worker.coordinators.session import AWAY
from pero_worker.errors import StageError, TransientError
from pero_worker.ports import Clock, WorkerStatus
from pero_worker.watchdog.policy import Move, Plan, StageView, WorkerView, plan, unlock_time
from pero_worker.wire import tree as wire
from pero_worker.wire.tree import TREE

logger = logging.getLogger(__name__)

_AVAILABLE = {
    WorkerStatus.IDLE,
    WorkerStatus.PROCESSING,
    WorkerStatus.CONFIGURING,
    WorkerStatus.CONFIGURATION_FAILED,
    WorkerStatus.MQ_CONNECTION_FAILED,
}


class Watchdog:
    """`lengths` tells how many messages wait in a queue, None when there is none; `interval`: seconds between looks."""

    def __init__(
        self, client: KazooClient, lengths: Callable[[str], int | None], clock: Clock, *, interval: float = 0.25
    ) -> None:
        self._client = client
        self._lengths = lengths
        self._clock = clock
        self._interval = interval
        self._news = threading.Event()
        self._watched: set[str] = set()
        self._leads = False

    def run(self, name: str, stopped: threading.Event) -> None:
        """Waits for the lead, leads until it is lost, and again, until `stopped`."""
        self._client.ensure_path(TREE.election)
        while not stopped.is_set():
            election = self._client.Election(TREE.election, name)
            canceller = threading.Thread(
                target=lambda election=election: (stopped.wait(), election.cancel()), daemon=True
            )
            canceller.start()
            try:
                election.run(self._lead, name, stopped)
            except (KazooException, *AWAY) as error:
                logger.warning("the lead is lost: %s", error or type(error).__name__)
                stopped.wait(0.5)

    def _lead(self, name: str, stopped: threading.Event) -> None:
        lost = threading.Event()

        def listen(state: str) -> None:
            # Already a suspended connection: another watchdog may lead before this one hears that its session ended.
            if state != KazooState.CONNECTED:
                lost.set()
                self._news.set()

        self._client.add_listener(listen)
        logger.info("watchdog %s leads", name)
        self._leads = True
        self._client.ensure_path(TREE.workers)
        ChildrenWatch(self._client, TREE.workers, self._watch_workers)
        try:
            while not stopped.is_set() and not lost.is_set():
                try:
                    self.round()
                except (TransientError, KazooException, *AWAY) as error:
                    logger.warning("this round is left out: %s", error or type(error).__name__)
                    stopped.wait(1.0)
                self._news.wait(self._interval)
                self._news.clear()
        finally:
            self._leads = False
            self._client.remove_listener(listen)

    def round(self) -> Plan:
        """One look, one plan, carried out."""
        stages, workers = self.snapshot()
        decided = plan(stages, workers, self._clock.now())
        by_name = {stage.name: stage for stage in stages}
        for move in decided.moves:
            self._tell(move, by_name[move.stage])
        for name, since in decided.waiting_since:
            self._client.set(TREE.stage(name, "waiting_since"), wire.encode_time(since))
        return decided

    def snapshot(self) -> tuple[list[StageView], list[WorkerView]]:
        stages: list[StageView] = []
        for name in stage_names(self._client):
            try:
                record = read_record(self._client, name)
            except StageError:
                continue
            messages = self._lengths(name)
            if messages is None or not record.config:
                continue
            seconds, since = record.mean_seconds, record.waiting_since
            stages.append(StageView(name, messages, seconds, record.priority, record.disabled, since))
        return stages, [view for state in read_workers(self._client) if (view := _view(state))]

    def _tell(self, move: Move, stage: StageView) -> None:
        try:
            self._client.set(
                TREE.worker(move.worker, "unlock_time"), wire.encode_time(unlock_time(stage, self._clock.now()))
            )
            self._client.set(TREE.worker(move.worker, "queue"), wire.encode_text(move.stage))
        except NoNodeError:
            logger.info("worker %s is gone", move.worker)
        else:
            logger.info("worker %s serves %s: %s", move.worker, move.stage, move.reason)

    def _watch_workers(self, names: list[str]) -> bool:
        for name in names:
            if name not in self._watched:
                self._watched.add(name)
                DataWatch(self._client, TREE.worker(name, "status"), partial(self._on_status, name))
        self._news.set()
        return self._leads

    def _on_status(self, name: str, _value: bytes | None, stat: Any) -> bool:
        self._news.set()
        if stat is None:
            self._watched.discard(name)
        return stat is not None


def _cancel_when(stopped: threading.Event, election: Any) -> None:
    stopped.wait()
    election.cancel()


def _view(state: WorkerState) -> WorkerView | None:
    """None for a worker that cannot be told anything."""
    if state.dead or not state.enabled or state.status not in _AVAILABLE:
        return None
    return WorkerView(
        state.name,
        state.stage,
        busy=state.status == WorkerStatus.PROCESSING,
        loading=state.status == WorkerStatus.CONFIGURING,
        failed=state.status == WorkerStatus.CONFIGURATION_FAILED,
        unlock_time=state.unlock_time,
    )
