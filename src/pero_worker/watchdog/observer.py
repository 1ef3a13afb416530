"""Puts together what the policy sees, from nodes in ZooKeeper, queue lengths, and what was seen before."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from pero_worker.cluster.payloads.followers import follows
from pero_worker.cluster.registry.payloads import PayloadSettings
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
    WorkerStatus.PROCESSING_FAILED,
}
_RETRY_SECONDS = 15.0
"""A worker that could not load a stage may be sent there again after this time: what it lacked may exist by then."""
_UPSTREAM_RETRY_SECONDS = 5.0
"""The same for upstream's workers, which do not say whether the model store was merely unavailable."""
_COMMAND_SECONDS = 10.0
"""A command shows up in the watches within this time, or something is wrong with them."""
_MIN_LOADING_SECONDS, _LOADING_IN_LOADS = 60.0, 10.0
"""A worker that says it is loading is believed for this long or this many usual loading times, whichever is longer."""
_IDLE_SECONDS = 30.0
"""A worker takes a waiting page within this time, or something is wrong with it."""
_GIVEN_UP_SECONDS = 10.0
"""One of upstream's workers that received garbage gives up; it is told to go on after this time."""
_HOPELESS_AFTER_SECONDS = 120.0
"""A worker that does nothing for this much longer, however often it is told to, counts as absent until it acts."""
_MAX_REASON_LENGTH = 1000
"""Most characters that are kept of the reason why a worker could not load a stage."""
_SETTLED_AFTER_SECONDS = 2.0
"""A worker may still report its old status for this long after a new command."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Command:
    """The last command to a worker."""

    stages: tuple[str, ...]
    """Stages that it should hold from then on."""
    version: int
    """The transaction that changed its `queue` node: the node's own count starts again when it is recreated."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Quiet:
    """What a worker was doing when it last changed, and since when nothing has changed."""

    doing: tuple[object, ...]
    since: float


class Observer:
    """Takes snapshots of the cluster. `lengths` returns how many messages wait in each queue that exists."""

    def __init__(self, lengths: Callable[[Sequence[str]], Mapping[str, int]], clock: Clock) -> None:
        self._lengths = lengths
        self._clock = clock
        self._flow = Flow()
        self._refusals = Refusals()
        self._since: dict[str, tuple[tuple[str, ...], float]] = {}
        self._quiet: dict[str, _Quiet] = {}
        self.behind = False
        """Whether the last look showed something that can hardly be true: the watches may have missed a change."""

    def take_snapshot(
        self,
        records: Sequence[StageRecord],
        states: Sequence[tuple[WorkerState, int]],
        told: Mapping[str, Command],
        payloads: PayloadSettings | None = None,
    ) -> Snapshot:
        """Returns what the policy sees now.

        `states`: workers, each with the last transaction of its `queue` node; `told`: commands that may not have shown
        up in the watches yet; `payloads`: how they travel, so that no worker is sent where it cannot follow references.
        """
        now = self._clock.monotonic()
        lengths = self._lengths([record.name for record in records])
        loads = {record.name: _load_seconds(record) for record in records}
        self.behind = False
        found = [(state, self._worker(state, version, told, lengths, loads, now)) for state, version in states]
        known = [(state, view) for state, view in found if view is not None]
        workers = [view for _, view in known]
        names = {state.name for state, _ in states}
        self._since = {name: self._since[name] for name in self._since if name in names}
        self._quiet = {name: self._quiet[name] for name in self._quiet if name in names}
        self._note_refusals(records, known)
        refused = self._refused(records, known, lengths, now)
        by_worker: dict[str, set[str]] = defaultdict(set)
        for name, who in refused.items():
            for worker in who:
                by_worker[worker].add(name)
        # A worker that keeps an older version because the present one cannot be loaded goes on serving the stage.
        for state, view in known:
            by_worker[view.name] -= _loaded(state)
            if payloads is not None and payloads.url and not follows(state):
                by_worker[view.name] |= {record.name for record in records if record.name not in payloads.inline}
        workers = [replace(view, refused=frozenset(by_worker[view.name])) for view in workers]
        present = [record for record in records if record.name in lengths]
        self._update_flow(now, present, lengths, workers)
        why_not = self._quarantines(refused, workers)
        stages = [self._stage(record, lengths[record.name], why_not.get(record.name, "")) for record in present]
        return Snapshot(stages=tuple(stages), workers=tuple(workers))

    def _quarantines(self, refused: Mapping[str, dict[str, str]], workers: Sequence[WorkerView]) -> dict[str, str]:
        """Returns why no worker should be sent to a stage, for the stages that some worker could not load."""
        names = {view.name for view in workers}
        holders: dict[str, set[str]] = defaultdict(set)
        for view in workers:
            for name in view.holds if not view.loading else ():
                if name not in view.refused:
                    holders[name].add(view.name)
        return {name: quarantine(who, names, holders[name]) for name, who in refused.items() if who}

    def _refused(
        self,
        records: Sequence[StageRecord],
        known: Sequence[tuple[WorkerState, WorkerView]],
        lengths: Mapping[str, int],
        now: float,
    ) -> dict[str, dict[str, str]]:
        """Returns for each stage the workers that should not be sent there now, with the reasons."""
        patience = {view.name: _RETRY_SECONDS if state.facts else _UPSTREAM_RETRY_SECONDS for state, view in known}
        has_work = {view.name: {name for name in view.holds if view.busy or lengths.get(name)} for _, view in known}
        return {
            record.name: self._refusals.of_stage(
                record.name,
                record.version,
                now,
                patience,
                busy={worker for worker, names in has_work.items() if names - {record.name}},
            )
            for record in records
        }

    def _worker(
        self,
        state: WorkerState,
        version: int,
        told: Mapping[str, Command],
        lengths: Mapping[str, int],
        loads: Mapping[str, float],
        now: float,
    ) -> WorkerView | None:
        """Returns the worker as the policy sees it; None if it cannot be commanded."""
        if state.dead or not state.enabled or state.status not in _AVAILABLE:
            return None
        ours = told.get(state.name)
        # Its last command may not have shown up in the watches yet.
        fresh = ours is not None and ours.version > version
        holds = ours.stages if ours is not None and fresh else state.stages
        if self._since.get(state.name, ((), 0.0))[0] != holds or state.name not in self._since:
            self._since[state.name] = (holds, now)
        stuck = self._quiet_for(state, holds, fresh, lengths, now) - _allowed(state, fresh, holds, loads)
        if stuck >= _HOPELESS_AFTER_SECONDS and state.status != WorkerStatus.PROCESSING_FAILED:
            return None
        self.behind = self.behind or (stuck >= 0 and state.status != WorkerStatus.PROCESSING_FAILED)
        facts = state.facts
        memory, labels = facts.get("memory"), facts.get("labels")
        return WorkerView(
            name=state.name,
            holds=holds,
            busy=state.status == WorkerStatus.PROCESSING,
            loading=(state.status == WorkerStatus.CONFIGURING or fresh) and stuck < 0,
            kind=str(facts.get("kind", "cpu")),
            labels=frozenset(map(str, labels)) if isinstance(labels, list) else frozenset(),
            memory=memory if state.takes_lists and isinstance(memory, int) else None,
            serving=now - self._since[state.name][1],
            sleeps=state.connected and not facts and state.status == WorkerStatus.IDLE and not fresh,
            stuck=stuck >= 0,
        )

    def _quiet_for(
        self, state: WorkerState, holds: tuple[str, ...], fresh: bool, lengths: Mapping[str, int], now: float
    ) -> float:
        """Returns for how many seconds the worker has done nothing although it should; negative if all is well."""
        loads = state.status == WorkerStatus.CONFIGURING or fresh
        rests = state.status in {WorkerStatus.IDLE, WorkerStatus.PROCESSING_FAILED}
        gave_up = state.status == WorkerStatus.PROCESSING_FAILED and not state.facts
        refused = state.facts.get("refused")
        could = [name for name in holds if not (isinstance(refused, dict) and name in refused)]
        if not loads and not gave_up and not (rests and any(lengths.get(name) for name in could)):
            self._quiet.pop(state.name, None)
            return -1.0
        doing = (state.status, holds, state.facts.get("pages"), state.facts.get("failures"))
        quiet = self._quiet.get(state.name)
        if quiet is None or quiet.doing != doing:
            quiet = self._quiet[state.name] = _Quiet(doing=doing, since=now)
        return now - quiet.since

    def _note_refusals(self, records: Sequence[StageRecord], known: Sequence[tuple[WorkerState, WorkerView]]) -> None:
        now = self._clock.monotonic()
        versions = {record.name: record.version for record in records}
        for state, view in known:
            loaded, refused = _outcome(state, view)
            for name, version in loaded.items():
                if name not in versions:
                    continue
                if version is None:
                    # Upstream's do not say which version: the present one, if they started after it appeared.
                    self._refusals.note_loaded(name, versions[name], now - view.serving)
                elif version == versions[name]:
                    self._refusals.note_loaded(name, versions[name])
            for name, reason in refused.items():
                if name in versions:
                    self._refusals.note(state.name, name, versions[name], reason, now)

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
            trouble=self._refusals.trouble(record.name, record.version),
        )


def _outcome(state: WorkerState, view: WorkerView) -> tuple[Mapping[str, str | None], Mapping[str, str]]:
    """Returns the stages that the worker has loaded, with their versions, and those that it could not, with reasons."""
    facts = state.facts
    if facts:
        versions, refused = facts.get("versions"), facts.get("refused")
        return (
            {name: str(one) for name, one in versions.items()} if isinstance(versions, dict) else {},
            {name: str(why)[:_MAX_REASON_LENGTH] for name, why in refused.items()} if isinstance(refused, dict) else {},
        )
    # Upstream's workers report it by their status, which for a moment still refers to the previous stage.
    if not state.stage or view.serving < _SETTLED_AFTER_SECONDS:
        return {}, {}
    if state.status == WorkerStatus.CONFIGURATION_FAILED:
        return {}, {state.stage: state.message}
    return ({state.stage: None} if state.status == WorkerStatus.PROCESSING else {}), {}


def _loaded(state: WorkerState) -> set[str]:
    """Returns the stages that one of our workers holds, in whatever version."""
    found = state.facts.get("stages")
    return {name for name in found if isinstance(name, str)} if isinstance(found, list) else set()


def _allowed(state: WorkerState, fresh: bool, holds: Sequence[str], loads: Mapping[str, float]) -> float:
    """Returns for how many seconds a worker may do nothing."""
    if fresh:
        return _COMMAND_SECONDS
    if state.status == WorkerStatus.CONFIGURING:
        usual = max((loads.get(name, 0.0) for name in holds), default=0.0)
        return max(_MIN_LOADING_SECONDS, _LOADING_IN_LOADS * usual)
    return _IDLE_SECONDS if state.status == WorkerStatus.IDLE else _GIVEN_UP_SECONDS


def _load_seconds(record: StageRecord) -> float:
    """Returns how many seconds the slowest kind of worker needs to load the stage."""
    return max((cost.load_seconds or 0.0 for cost in record.measured.kinds.values()), default=0.0)


def _view(record: StageRecord) -> StageView:
    costs = dict(record.measured.kinds)
    if record.mean_seconds is not None and not any(cost.seconds for cost in costs.values()):
        # This is all that upstream's workers measure.
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
