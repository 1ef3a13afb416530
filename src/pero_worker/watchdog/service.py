"""The watchdog: one leader looks at queues and workers, plans, and tells the workers.

Workers' reports wake it through ZooKeeper's watches; queues are asked for their exact lengths a few times a second.
"""

from __future__ import annotations

import logging
import math
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from kazoo.client import KazooClient, KazooState
from kazoo.exceptions import KazooException, NoNodeError

from pero_worker.cluster.workers import WorkerState
from pero_worker.coordinators.session import AWAY
from pero_worker.errors import TransientError
from pero_worker.ports import Clock, WorkerStatus
from pero_worker.watchdog.janitor import tidy
from pero_worker.watchdog.mirror import Mirror
from pero_worker.watchdog.policy import Move, StageView, WorkerView, plan, unlock_time, work
from pero_worker.wire import tree as wire
from pero_worker.wire.tree import TREE

logger = logging.getLogger(__name__)
_TIDYING = 3600.0
_DEBOUNCE = 0.01
_UNTIL_AWAKE = 2.0
"""Seconds that a worker has to begin what it was told."""

_AVAILABLE = {
    WorkerStatus.IDLE,
    WorkerStatus.PROCESSING,
    WorkerStatus.CONFIGURING,
    WorkerStatus.CONFIGURATION_FAILED,
    WorkerStatus.MQ_CONNECTION_FAILED,
}


@dataclass(frozen=True, slots=True)
class Snapshot:
    stages: list[StageView]
    workers: list[WorkerView]


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
        self._told: dict[str, tuple[str, int]] = {}
        self._told_at: dict[str, float] = {}

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
        self._told.clear()
        mirror = Mirror(self._client, self._news.set)
        logger.info("watchdog %s leads", name)
        next_tidying = self._clock.monotonic()
        try:
            while not stopped.is_set() and not lost.is_set():
                pause = self._interval
                try:
                    mirror.wait(10)
                    pause = self._pause_after(self.round(mirror))
                    if self._clock.monotonic() >= next_tidying:
                        tidy(self._client, self._clock.now())
                        next_tidying = self._clock.monotonic() + _TIDYING
                except (TransientError, KazooException, *AWAY) as error:
                    logger.warning("this round is left out: %s", error or type(error).__name__)
                    stopped.wait(1.0)
                self._news.wait(pause)
                # What changes together is looked at together.
                stopped.wait(_DEBOUNCE)
                self._news.clear()
        finally:
            self._client.remove_listener(listen)
            mirror.close()

    def round(self, mirror: Mirror) -> Snapshot:
        """One look, one plan, carried out."""
        seen = self.snapshot(mirror)
        decided = plan(seen.stages, seen.workers, self._clock.now())
        by_name = {stage.name: stage for stage in seen.stages}
        for move in decided.moves:
            self._tell(move, by_name[move.stage])
        self._wake(seen, by_name)
        for name, since in decided.waiting_since:
            self._client.set(TREE.stage(name, "waiting_since"), wire.encode_time(since))
        return seen

    def _wake(self, seen: Snapshot, stages: Mapping[str, StageView]) -> None:
        """Tells workers that sleep although there is work for them their stage again."""
        for worker in seen.workers:
            stage = stages.get(worker.stage)
            if not worker.sleeps or stage is None or not work(stage):
                continue
            if self._clock.monotonic() - self._told_at.get(worker.name, -math.inf) >= _UNTIL_AWAKE:
                self._tell(Move(worker.name, worker.stage, "it sleeps although pages wait"), stage)

    def snapshot(self, mirror: Mirror) -> Snapshot:
        stages: list[StageView] = []
        for record in mirror.stages():
            messages = self._lengths(record.name)
            if messages is not None:
                stages.append(
                    StageView(
                        record.name,
                        messages,
                        record.mean_seconds,
                        record.priority,
                        record.disabled,
                        record.waiting_since,
                    )
                )
        return Snapshot(stages, [view for found in mirror.workers() if (view := self._view(*found))])

    def _view(self, state: WorkerState, version: int) -> WorkerView | None:
        """None for a worker that cannot be told anything."""
        if state.dead or not state.enabled or state.status not in _AVAILABLE:
            return None
        stage, told_version = self._told.get(state.name, ("", -1))
        # What we told it a moment ago may not have come back through the watch yet.
        current = stage if told_version > version else state.stage
        return WorkerView(
            state.name,
            current,
            busy=state.status == WorkerStatus.PROCESSING,
            loading=state.status == WorkerStatus.CONFIGURING or told_version > version,
            failed=state.status == WorkerStatus.CONFIGURATION_FAILED and told_version <= version,
            sleeps=state.connected and not state.facts and state.status == WorkerStatus.IDLE,
            unlock_time=state.unlock_time,
        )

    def _pause_after(self, seen: Snapshot) -> float:
        """A worker without work should get it the moment a page comes; when all have some, there is time."""
        idle = any(not (worker.busy or worker.loading) for worker in seen.workers)
        return self._interval if idle else 4 * self._interval

    def _tell(self, move: Move, stage: StageView) -> None:
        until = unlock_time(stage, self._clock.now())
        try:
            self._client.set(TREE.worker(move.worker, "unlock_time"), wire.encode_time(until))
            stat = self._client.set(TREE.worker(move.worker, "queue"), wire.encode_text(move.stage))
        except NoNodeError:
            logger.info("worker %s is gone", move.worker)
        else:
            self._told[move.worker] = (move.stage, stat.version)
            self._told_at[move.worker] = self._clock.monotonic()
            logger.info("worker %s serves %s: %s", move.worker, move.stage, move.reason)
