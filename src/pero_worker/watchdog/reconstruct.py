"""Turns a recorded day into a scenario: the pages that must have arrived, the workers present, the costs of stages.

A trace shows how many pages waited and which workers were busy, not which page was which: how many were done is worked
out from the average time of a page. Counts are right to within a few per cent.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from statistics import fmean

from pero_worker.stage import Cost
from pero_worker.watchdog.scenario import Scenario, StageModel, WorkerModel
from pero_worker.watchdog.snapshot import UNKNOWN_LOAD_SECONDS, UNKNOWN_PAGE_SECONDS, Snapshot, StageView, WorkerView

_DOUBT_SHARE = 0.05
"""Share of the pages passed on by earlier stages that may be an error of the estimate, not pages from outside."""
MAX_PATH_LENGTH = 32

Frames = Sequence[tuple[float, Snapshot]]


def scenario_from(frames: Frames) -> Scenario:
    """Returns the scenario behind a trace.

    `frames`: (seconds, what was seen then), in order of time. The first is time 0 of the scenario; pages that waited or
    were in hand then arrive at 0. Everything is known beforehand; a worker stays from when it is first seen until it is
    last seen. The scenario ends at the latest an hour after twice the length of the trace: pages of a stage that was
    disabled or in quarantine at the end wait forever.
    """
    if not frames:
        return Scenario(stages=(), workers=(), pages=())
    start, end = frames[0][0], frames[-1][0]
    stages = {stage.name: stage for _, seen in frames for stage in seen.stages}
    costs = _mean_costs(frames)
    ways = PathChooser(stages)
    arrivals = _arrivals(frames, stages, costs)
    pages = [(when - start, ways.path(name)) for when, name, count in arrivals for _ in range(count)]
    until = 2 * (end - start) + 3600
    models = tuple(_stage_model(stage, costs[stage.name]) for stage in stages.values())
    return Scenario(stages=models, workers=_workers(frames, stages, costs), pages=pages, known=True, until=until)


# -- what stages and workers are like ----------------------------------------------------------------------------

Costs = Mapping[str, Mapping[str, Cost]]
"""Costs by stage and kind of worker."""


def _mean_costs(frames: Frames) -> Costs:
    """Returns the means of all figures in the trace, as each of them covers only the last few pages."""
    found: dict[tuple[str, str], list[Cost]] = defaultdict(list)
    for _, seen in frames:
        for stage in seen.stages:
            for kind, cost in stage.costs.items():
                known = found[stage.name, kind]
                if not known or known[-1] != cost:
                    known.append(cost)
    costs: dict[str, dict[str, Cost]] = defaultdict(dict)
    for (name, kind), seen_costs in found.items():
        costs[name][kind] = Cost(
            seconds=_mean(cost.seconds for cost in seen_costs),
            load_seconds=_mean(cost.load_seconds for cost in seen_costs),
            memory=next((cost.memory for cost in reversed(seen_costs) if cost.memory is not None), None),
        )
    return costs


def _mean(values: Iterable[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return fmean(known) if known else None


def _seconds(costs: Costs, name: str, kind: str) -> float:
    return StageView(name=name, costs=costs[name]).seconds(kind)


def _stage_model(stage: StageView, costs: Mapping[str, Cost]) -> StageModel:
    """Returns a model with the figures of the first kind of worker; `_workers` says how the others differ."""
    first = next(iter(costs.values()), Cost())
    return StageModel(
        name=stage.name,
        seconds=UNKNOWN_PAGE_SECONDS if first.seconds is None else first.seconds,
        load=UNKNOWN_LOAD_SECONDS if first.load_seconds is None else first.load_seconds,
        memory=1 if first.memory is None else first.memory,
        priority=stage.priority,
        disabled=stage.disabled or bool(stage.quarantine),
        sharing=stage.sharing,
    )


def _workers(frames: Frames, stages: Iterable[str], costs: Costs) -> tuple[WorkerModel, ...]:
    start, end = frames[0][0], frames[-1][0]
    first: dict[str, float] = {}
    last: dict[str, tuple[float, WorkerView]] = {}
    for when, seen in frames:
        for worker in seen.workers:
            first.setdefault(worker.name, when)
            last[worker.name] = (when, worker)
    standard = {name: _seconds(costs, name, next(iter(costs[name]), "")) for name in stages}
    return tuple(
        WorkerModel(
            name=name,
            kind=worker.kind,
            speeds={stage: seconds / _seconds(costs, stage, worker.kind) for stage, seconds in standard.items()},
            memory=worker.memory,
            joins=first[name] - start,
            leaves=float("inf") if seen_last == end else seen_last - start,
            labels=worker.labels,
        )
        for name, (seen_last, worker) in last.items()
    )


# -- which pages came --------------------------------------------------------------------------------------------


def _arrivals(frames: Frames, stages: Mapping[str, StageView], costs: Costs) -> Iterable[tuple[float, str, int]]:
    """Yields (seconds, stage, pages from outside), in order of time."""
    hands = PagesInHand(costs)
    there, done, fed = (dict.fromkeys(stages, 0.0) for _ in range(3))
    came = dict.fromkeys(stages, 0)
    before, speeds = frames[0][0], dict[str, float]()
    for when, seen in frames:
        in_hand, now = hands.look(seen)
        for name in {*speeds, *now} & stages.keys():
            # A worker that was busy at only one end of the interval counts as busy for half of it.
            pages = (when - before) * (speeds.get(name, 0.0) + now.get(name, 0.0)) / 2
            done[name] += pages
            for after, share in stages[name].onward.items():
                if after in fed:
                    fed[after] += share * pages
        for stage in seen.stages:
            there[stage.name] = stage.waiting + in_hand.get(stage.name, 0.0)
        for name in stages:
            # All pages that must have arrived, less those that earlier stages passed on: this can only grow.
            new = int(there[name] + done[name] - (1 + _DOUBT_SHARE) * fed[name] - came[name])
            if new > 0:
                came[name] += new
                yield when, name, new
        before, speeds = when, now


class PagesInHand:
    """The pages that busy workers have in hand. A worker that gets a new command finishes its page first."""

    def __init__(self, costs: Costs) -> None:
        self._costs = costs
        self._at: dict[str, tuple[str, ...]] = {}
        self._waiting: dict[str, int] = {}

    def look(self, seen: Snapshot) -> tuple[dict[str, float], dict[str, float]]:
        """Returns the pages in hand, and the pages per second that are being done, by stage."""
        in_hand: dict[str, float] = defaultdict(float)
        speeds: dict[str, float] = defaultdict(float)
        waiting = {stage.name: stage.waiting for stage in seen.stages}
        shorter = {name for name, pages in waiting.items() if pages < self._waiting.get(name, 0)}
        self._waiting = waiting
        for worker in seen.workers:
            at = self._at.pop(worker.name, ())
            if not worker.busy or not worker.holds:
                continue
            if not at or worker.serving > max(_seconds(self._costs, name, worker.kind) for name in at):
                at = self._at_one_of(worker.holds, at, shorter)
            self._at[worker.name] = at
            together = sum(_seconds(self._costs, name, worker.kind) for name in at)
            for name in at:
                in_hand[name] += 1 / len(at)
                speeds[name] += 1 / together
        return in_hand, speeds

    def _at_one_of(self, holds: tuple[str, ...], before: tuple[str, ...], shorter: Collection[str]) -> tuple[str, ...]:
        """Returns the stages a worker is working on: those whose queues get shorter, otherwise the same as before."""
        if len(holds) == 1:
            return holds
        taken = tuple(name for name in holds if name in shorter) or tuple(name for name in before if name in holds)
        return taken or tuple(name for name in holds if self._waiting.get(name)) or holds


class PathChooser:
    """Hands out paths so that the shares of pages that go on to each stage match those measured."""

    def __init__(self, stages: Mapping[str, StageView]) -> None:
        self._stages = stages
        self._gone: dict[str, Counter[str]] = defaultdict(Counter)

    def path(self, first: str) -> tuple[str, ...]:
        path = [first]
        while len(path) < MAX_PATH_LENGTH and (after := self._after(path[-1])):
            path.append(after)
        return tuple(path)

    def _after(self, name: str) -> str:
        """Returns the next stage, the one furthest behind its share; '' when the page is done."""
        shares = {after: share for after, share in self._stages[name].onward.items() if after in self._stages}
        shares[""] = max(0.0, 1 - sum(shares.values()))
        gone = self._gone[name]
        count = gone.total() + 1
        after = max(shares, key=lambda after: shares[after] * count - gone[after])
        gone[after] += 1
        return after
