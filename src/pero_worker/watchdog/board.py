"""The state that the planner works on: what is left to do in each stage, and who does it, after the moves so far."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from pero_worker.watchdog.snapshot import Snapshot, StageView, WorkerView

_FLOW_SECONDS = 60.0
"""Time over which waiting pages are assumed to flow on to the next stages."""
NEVER = float("inf")


@dataclass(slots=True, eq=False, kw_only=True)
class StageLoad:
    """What is left to do in a stage, and how fast it gets done."""

    view: StageView
    """The stage as the snapshot shows it."""
    pages: float
    """Pages that wait here, or are sure to come from the stages before."""
    inflow: float
    """Pages per second that arrive now."""
    weight: float
    """Weight of its need: 1 plus its priority."""
    capacity: float = 0.0
    """Pages per second that all its holders can do, including those that are still loading it."""
    holders: int = 0
    """Number of workers that hold it."""

    @property
    def name(self) -> str:
        return self.view.name

    @property
    def owner(self) -> str:
        return self.view.sharing.owner

    @property
    def drain(self) -> float:
        """Seconds until all its pages are done at its present capacity."""
        return _seconds(self.pages, self.capacity)

    @property
    def backlog(self) -> float:
        """Seconds until the pages that already wait here are done at its present capacity."""
        return _seconds(self.view.waiting, self.capacity)

    @property
    def use(self) -> float:
        """The share of its capacity that its inflow takes."""
        return self.inflow / self.capacity if self.capacity > 0 else 0.0


@dataclass(slots=True, eq=False, kw_only=True)
class PlannedWorker:
    """A worker, and what it holds according to the plan so far."""

    view: WorkerView
    """The worker as the snapshot shows it."""
    holds: tuple[str, ...] = ()
    """Names of the stages that it holds."""
    parts: dict[str, float] = field(default_factory=dict)
    """Pages per second that it contributes to each stage it holds."""

    def speed(self, stage: StageLoad) -> float:
        """Returns how many pages of the stage it does per second when it does nothing else."""
        return 1.0 / stage.view.seconds(self.view.kind)

    def load(self, stage: StageLoad) -> float:
        """Returns how many seconds it needs to load the stage."""
        return stage.view.load_seconds(self.view.kind)

    def may_hold(self, stage: StageLoad) -> bool:
        needs = stage.view.sharing.needs
        return stage.name not in self.view.refused and (not needs or needs in self.view.labels)


class Board:
    """The stages that may be served, and the workers with the stages that they may keep."""

    def __init__(self, snapshot: Snapshot) -> None:
        self.stages = {
            view.name: StageLoad(view=view, pages=float(view.waiting), inflow=view.arrivals, weight=1.0 + view.priority)
            for view in snapshot.stages
            if not view.disabled and not view.quarantine
        }
        self.workers = [PlannedWorker(view=view) for view in snapshot.workers]
        self.held_by_owner: dict[str, float] = dict.fromkeys((s.owner for s in self.stages.values()), 0.0)
        ordered = _upstream_first(self.stages)
        self._look_ahead(ordered, snapshot.workers)
        for worker in self.workers:
            self.give(worker, tuple(name for name in worker.view.holds if self._may_keep(worker, name)))
        self._follow_the_flow(ordered)
        self.fair = self._fair_shares()
        self._best: dict[str, float] = {}

    def _may_keep(self, worker: PlannedWorker, name: str) -> bool:
        return name in self.stages and worker.may_hold(self.stages[name])

    def give(self, worker: PlannedWorker, holds: tuple[str, ...]) -> None:
        """Has the worker hold `holds` from now on; its time is split among them in proportion to the work left."""
        self._count(worker, -1)
        worker.holds = holds
        work = {name: self.stages[name].pages / worker.speed(self.stages[name]) for name in holds}
        total = sum(work.values())
        worker.parts = {
            name: worker.speed(self.stages[name]) * (work[name] / total if total else 1 / len(holds)) for name in holds
        }
        self._count(worker, 1)

    def _count(self, worker: PlannedWorker, sign: int) -> None:
        for name, part in worker.parts.items():
            stage = self.stages[name]
            stage.capacity = max(0.0, stage.capacity + sign * part) if stage.holders + sign else 0.0
            stage.holders += sign
            self.held_by_owner[stage.owner] += sign / len(worker.parts)

    def fit(self, worker: PlannedWorker, stage: StageLoad) -> tuple[float, float]:
        """Returns how well the stage suits the worker: compared with the stage that suits its kind best, then compared
        with how it suits other kinds."""
        kind = worker.view.kind
        if kind not in self._best:
            self._best[kind] = max(_beside_others(stage, kind) for stage in self.stages.values())
        beside = _beside_others(stage, kind)
        return beside / self._best[kind], beside

    # -- what if -----------------------------------------------------------------------------------------------

    def has_no_work(self, worker: PlannedWorker) -> bool:
        """Returns whether it could do something else at once: nothing waits in the stages that it holds."""
        return not worker.view.busy and not any(self.stages[name].view.waiting for name in worker.holds)

    def kept(self, worker: PlannedWorker, stage: StageLoad) -> tuple[str, ...]:
        """Returns what the worker can keep along with the stage; the stages with the most work left are kept first."""
        if worker.view.memory is None:
            return ()
        kind = worker.view.kind
        room = worker.view.memory - stage.view.memory(kind)
        kept: list[str] = []
        for held in sorted(map(self.stages.__getitem__, worker.holds), key=lambda s: (-s.pages, -s.inflow, s.name)):
            if (size := held.view.memory(kind)) <= room:
                room -= size
                kept.append(held.name)
        return tuple(kept)

    def done_with(self, worker: PlannedWorker, stage: StageLoad) -> float:
        """Returns the seconds until the stage is done if the worker loads it and helps."""
        speed = worker.speed(stage)
        return (stage.pages + speed * worker.load(stage)) / (stage.capacity + speed)

    def done_without(self, worker: PlannedWorker, name: str) -> float:
        """Returns the seconds until stage `name` is done if the worker leaves it."""
        stage = self.stages[name]
        return _seconds(stage.pages, self.others(worker, name))

    def others(self, worker: PlannedWorker, name: str) -> float:
        """Returns how many pages per second stage `name` can do without the worker."""
        stage = self.stages[name]
        return stage.capacity - worker.parts[name] if stage.holders > 1 else 0.0

    def may_give(self, lender: StageLoad, stage: StageLoad) -> bool:
        """Returns whether the shares of the owners allow a worker that has work to move from `lender` to `stage`.

        An owner's last worker stays while `lender` has pages left: it would be sent back in turn, and would do nothing
        but load.
        """
        one, other = lender.owner, stage.owner
        held = self.held_by_owner[one]
        return one == other or (held - 1 >= self.fair[one] and (held > 1 or not lender.pages))

    def is_due(self, lender: StageLoad, stage: StageLoad) -> bool:
        """Returns whether the owner of `stage` has less than their share of workers, and the owner of `lender` more."""
        one, other = lender.owner, stage.owner
        return one != other and self.may_give(lender, stage) and self.held_by_owner[other] + 1 <= self.fair[other]

    # -- the present -------------------------------------------------------------------------------------------

    def _look_ahead(self, ordered: Iterable[StageLoad], workers: Iterable[WorkerView]) -> None:
        """Adds to each stage the pages that the stages before it will pass on."""
        in_hand = dict.fromkeys(self.stages, 0.0)
        for worker in workers:
            for name in worker.holds if worker.busy else ():
                if name in in_hand:
                    in_hand[name] += 1.0 / len(worker.holds)
        for stage in ordered:
            for after, share in self._after(stage):
                after.pages += share * (stage.pages + in_hand[stage.name])

    def _follow_the_flow(self, ordered: Iterable[StageLoad]) -> None:
        """Adds to each stage's inflow what the stages before it pass on now."""
        for stage in ordered:
            for after, share in self._after(stage):
                after.inflow += share * min(stage.capacity, stage.inflow + stage.view.waiting / _FLOW_SECONDS)

    def _after(self, stage: StageLoad) -> Iterable[tuple[StageLoad, float]]:
        for name, share in stage.view.onward.items():
            if name in self.stages and name != stage.name:
                yield self.stages[name], share

    def _fair_shares(self) -> dict[str, float]:
        """Returns how many workers each owner is due: in proportion to their share, and at most one per page."""
        pages = dict.fromkeys(self.held_by_owner, 0.0)
        share = dict.fromkeys(self.held_by_owner, 0.0)
        for stage in self.stages.values():
            owner = stage.owner
            pages[owner] += stage.pages
            share[owner] = max(share[owner], stage.view.sharing.share)
        fair = dict.fromkeys(pages, 0.0)
        left, waiting = float(len(self.workers)), {owner for owner in pages if pages[owner] and share[owner] > 0}
        while waiting and left > 0:
            total = sum(share[owner] for owner in waiting)
            content = {owner for owner in waiting if pages[owner] <= left * share[owner] / total}
            for owner in content or waiting:
                fair[owner] = pages[owner] if content else left * share[owner] / total
            if not content:
                break
            left -= sum(fair[owner] for owner in content)
            waiting -= content
        return fair


def _beside_others(stage: StageLoad, kind: str) -> float:
    """Returns how many times as fast this kind of worker is at the stage as the slowest kind."""
    slowest = max((cost.seconds for cost in stage.view.costs.values() if cost.seconds is not None), default=0.0)
    return slowest / stage.view.seconds(kind) if slowest else 1.0


def _seconds(pages: float, capacity: float) -> float:
    if not pages:
        return 0.0
    return pages / capacity if capacity > 1e-12 else NEVER


def _upstream_first(stages: Mapping[str, StageLoad]) -> list[StageLoad]:
    """Returns the stages, each after all that feed it; those in or behind a cycle come last, in the given order."""
    before = dict.fromkeys(stages, 0)
    for stage in stages.values():
        for name in stage.view.onward:
            if name in before and name != stage.name:
                before[name] += 1
    ready = [name for name, count in before.items() if not count]
    for name in ready:  # grows during the loop
        for after in stages[name].view.onward:
            if after in before and after != name:
                before[after] -= 1
                if not before[after]:
                    ready.append(after)
    return [stages[name] for name in dict.fromkeys((*ready, *stages))]
