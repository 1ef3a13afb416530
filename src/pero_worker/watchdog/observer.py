"""Puts together what the policy sees: nodes of ZooKeeper, lengths of queues, and what was seen before."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from pero_worker.cluster.registry.stages import StageRecord
from pero_worker.cluster.registry.workers import WorkerState
from pero_worker.ports import Clock
from pero_worker.stage import Cost
from pero_worker.watchdog.flow import Flow
from pero_worker.watchdog.refusals import Refusals, quarantine
from pero_worker.watchdog.snapshot import Snapshot, StageView, WorkerView
from pero_worker.work import WorkerStatus

_AVAILABLE = {
    WorkerStatus.IDLE,
    WorkerStatus.PROCESSING,
    WorkerStatus.CONFIGURING,
    WorkerStatus.CONFIGURATION_FAILED,
    WorkerStatus.MQ_CONNECTION_FAILED,
}
_SETTLED_AFTER_SECONDS = 2.0
"""A worker that got a new command reports its old status for a while."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Command:
    """The last command to a worker."""

    stages: tuple[str, ...]
    version: int
    """Of its node `queue`."""


class Observer:
    """`lengths` returns how many messages wait in each queue that exists."""

    def __init__(self, lengths: Callable[[Sequence[str]], Mapping[str, int]], clock: Clock) -> None:
        self._lengths = lengths
        self._clock = clock
        self._flow = Flow()
        self._refusals = Refusals()
        self._since: dict[str, tuple[tuple[str, ...], float]] = {}

    def take_snapshot(
        self, records: Sequence[StageRecord], states: Sequence[tuple[WorkerState, int]], told: Mapping[str, Command]
    ) -> Snapshot:
        """`states`: workers, each with the version of its node `queue`; `told`: commands that may not have come back
        through the watches yet."""
        now = self._clock.monotonic()
        lengths = self._lengths([record.name for record in records])
        workers = [view for state, version in states if (view := self._worker(state, version, told, now))]
        self._since = {view.name: self._since[view.name] for view in workers}
        self._note_refusals(records, [state for state, _ in states], {view.name: view for view in workers}, now)
        refused = {record.name: self._refusals.of_stage(record.name, record.version, now) for record in records}
        by_worker: dict[str, set[str]] = defaultdict(set)
        for name, who in refused.items():
            for worker in who:
                by_worker[worker].add(name)
        workers = [replace(view, refused=frozenset(by_worker.get(view.name, ()))) for view in workers]
        present = [record for record in records if record.name in lengths]
        self._update_flow(now, present, lengths, workers)
        why_not = self._quarantines(refused, workers)
        stages = [self._stage(record, lengths[record.name], why_not.get(record.name, "")) for record in present]
        return Snapshot(stages=tuple(stages), workers=tuple(workers))

    def _quarantines(self, refused: Mapping[str, dict[str, str]], workers: Sequence[WorkerView]) -> dict[str, str]:
        """Why no worker should be sent to a stage, for stages that some worker could not load."""
        names = {view.name for view in workers}
        holders: dict[str, set[str]] = defaultdict(set)
        for view in workers:
            for name in view.holds if not view.loading else ():
                if name not in view.refused:
                    holders[name].add(view.name)
        return {name: quarantine(who, names, holders[name]) for name, who in refused.items() if who}

    def _worker(self, state: WorkerState, version: int, told: Mapping[str, Command], now: float) -> WorkerView | None:
        """None for a worker that cannot be commanded."""
        if state.dead or not state.enabled or state.status not in _AVAILABLE:
            return None
        ours = told.get(state.name)
        # Its last command may not have come back through the watch yet.
        fresh = ours is not None and ours.version > version
        holds = ours.stages if ours is not None and fresh else state.stages
        if self._since.get(state.name, ((), 0.0))[0] != holds or state.name not in self._since:
            self._since[state.name] = (holds, now)
        facts = state.facts
        memory, labels = facts.get("memory"), facts.get("labels")
        return WorkerView(
            name=state.name,
            holds=holds,
            busy=state.status == WorkerStatus.PROCESSING,
            loading=state.status == WorkerStatus.CONFIGURING or fresh,
            kind=str(facts.get("kind", "cpu")),
            labels=frozenset(map(str, labels)) if isinstance(labels, list) else frozenset(),
            memory=memory if state.takes_lists and isinstance(memory, int) else None,
            serving=now - self._since[state.name][1],
            sleeps=state.connected and not facts and state.status == WorkerStatus.IDLE and not fresh,
        )

    def _note_refusals(
        self,
        records: Sequence[StageRecord],
        states: Sequence[WorkerState],
        views: Mapping[str, WorkerView],
        now: float,
    ) -> None:
        versions = {record.name: record.version for record in records}
        for state in states:
            refused = state.facts.get("refused")
            if not isinstance(refused, dict):
                # Upstream's workers say it by their status, which for a moment is still that of the previous stage.
                view = views.get(state.name)
                failed = (
                    state.status == WorkerStatus.CONFIGURATION_FAILED
                    and view
                    and view.serving >= _SETTLED_AFTER_SECONDS
                )
                refused = {state.stage: state.message} if failed else {}
            for name, reason in refused.items():
                if name in versions:
                    self._refusals.note(state.name, name, versions[name], str(reason), now)

    def _update_flow(
        self, now: float, records: Sequence[StageRecord], lengths: Mapping[str, int], workers: Sequence[WorkerView]
    ) -> None:
        working: dict[str, float] = defaultdict(float)
        stages = {record.name: _view(record) for record in records}
        for view in workers:
            for name in view.holds if view.busy else ():
                if name in stages:
                    working[name] += 1 / len(view.holds) / stages[name].seconds(view.kind)
        onward = {record.name: record.measured.onward for record in records}
        self._flow.seen(now, lengths, working, onward)

    def _stage(self, record: StageRecord, waiting: int, why_not: str) -> StageView:
        return replace(
            _view(record),
            waiting=waiting,
            arrivals=self._flow.arrivals(record.name),
            unserved=_seconds_since(record.waiting_since, self._clock.now()),
            quarantine=why_not,
        )


def _view(record: StageRecord) -> StageView:
    costs = dict(record.measured.kinds)
    if record.mean_seconds is not None and not any(cost.seconds for cost in costs.values()):
        # Upstream's workers measure no more than this.
        costs[""] = Cost(seconds=record.mean_seconds)
    return StageView(
        name=record.name,
        costs=costs,
        onward=record.measured.onward,
        priority=record.priority,
        disabled=record.disabled,
        sharing=record.sharing,
    )


def _seconds_since(moment: datetime | None, now: datetime) -> float:
    return max(0.0, (now - moment).total_seconds()) if moment else 0.0
