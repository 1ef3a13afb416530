"""A farm on a fake clock: pages, workers and failures by a seed, driven by the very policy of the service.

    outcome = Simulation(scenario, Planned(), seed=1).run()

The rule sees what the service sees (a `Snapshot`, estimates included), never the truth of the scenario.
"""

from __future__ import annotations

import heapq
import random
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from pero_worker.stage import Cost
from pero_worker.watchdog.flow import Flow
from pero_worker.watchdog.policy import plan
from pero_worker.watchdog.snapshot import Move, Snapshot, StageView, WorkerView


@dataclass(frozen=True, slots=True)
class StageModel:
    """How a stage really is. `seconds`: mean of a page on a worker of speed 1; `load`: seconds; `memory`: bytes."""

    name: str
    seconds: float
    load: float
    memory: int = 1
    priority: int = 0
    owner: str = ""
    share: float = 1.0
    needs: str = ""


@dataclass(frozen=True, slots=True)
class WorkerModel:
    """`speeds`: pages a second relative to 1, by stage; `memory` None = one stage at a time."""

    name: str
    kind: str = "cpu"
    speeds: Mapping[str, float] = field(default_factory=dict)
    memory: int | None = None
    joins: float = 0.0
    labels: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Scenario:
    """`pages`: (time, stages) in the order of time; `spread`: of the time of a page, as a part of its mean;
    `failures`: mean seconds between two deaths of a worker, 0 = none, `repair`: seconds until it is back;
    `known`: whether times, ways and loads were measured before the first page came."""

    stages: Sequence[StageModel]
    workers: Sequence[WorkerModel]
    pages: Sequence[tuple[float, tuple[str, ...]]]
    spread: float = 0.3
    failures: float = 0.0
    repair: float = 60.0
    known: bool = False
    until: float = 0.0


class Rule(Protocol):
    """What decides. `interval`: seconds between its looks; `reacts`: it also looks as soon as something happens;
    `leaves`: an idle worker takes no new page before it is told again, as upstream's."""

    interval: float
    reacts: bool
    leaves: bool

    def decide(self, now: float, seen: Snapshot) -> Sequence[Move]: ...


class Planned:
    """Our policy."""

    interval, reacts, leaves = 1.0, True, False

    def decide(self, now: float, seen: Snapshot) -> Sequence[Move]:
        return plan(seen)


@dataclass(frozen=True, slots=True)
class Outcome:
    """`latencies` in seconds, of pages that came out, in the order of their coming out; `loading`: part of all workers'
    time; `work`: seconds that all pages took; `left`: pages that did not come out before the end."""

    makespan: float
    latencies: tuple[float, ...]
    loading: float
    moves: int
    work: float
    left: int
    longest_wait: float

    @property
    def mean(self) -> float:
        return sum(self.latencies) / len(self.latencies) if self.latencies else float("inf")

    def percentile(self, part: float) -> float:
        ordered = sorted(self.latencies)
        return ordered[min(int(part * len(ordered)), len(ordered) - 1)] if ordered else float("inf")


@dataclass(slots=True, eq=False)
class _Page:
    born: float
    stages: tuple[str, ...]
    at: int = 0
    queued: float = 0.0


@dataclass(slots=True, eq=False)
class _Worker:
    model: WorkerModel
    holds: tuple[str, ...] = ()
    loaded: set[str] = field(default_factory=set)
    page: _Page | None = None
    loading: bool = False
    alive: bool = False
    left: bool = False
    told: float = 0.0
    epoch: int = 0
    loading_since: float = 0.0


@dataclass(slots=True)
class _Measured:
    seconds: float | None = None
    load: float | None = None


DEBOUNCE = 0.05
HALF = 0.9
"""Of an average, the part that stays when a new value comes in."""


class Simulation:
    def __init__(
        self, scenario: Scenario, rule: Rule, *, seed: int = 0, record: Callable[[float, Snapshot], None] | None = None
    ) -> None:
        self._scenario, self._rule, self._record = scenario, rule, record
        self._chance = random.Random(seed)
        self._now = 0.0
        self._events: list[tuple[float, int, Callable[[], None]]] = []
        self._count = 0
        self._models = {stage.name: stage for stage in scenario.stages}
        self._queues: dict[str, deque[_Page]] = {stage.name: deque() for stage in scenario.stages}
        self._workers = [_Worker(model) for model in scenario.workers]
        self._flow = Flow()
        self._times: dict[tuple[str, str], _Measured] = {}
        self._onward: dict[str, dict[str, float]] = {name: {} for name in self._models}
        self._look_pending = False
        self._next_look = 0.0
        self._latencies: list[float] = []
        self._left = len(scenario.pages)
        self._loading = self._work = self._longest = 0.0
        self._moves = 0
        self._alive_time = 0.0
        if scenario.known:
            self._know()

    def run(self) -> Outcome:
        scenario = self._scenario
        for worker in self._workers:
            self._at(worker.model.joins, lambda worker=worker: self._join(worker))
        if scenario.pages:
            self._at(scenario.pages[0][0], lambda: self._arrive(0))
        self._at(0.0, self._tick)
        last = 0.0
        while self._events and self._left:
            when, _, action = heapq.heappop(self._events)
            if scenario.until and when > scenario.until:
                break
            self._now = when
            action()
            last = when
        span = sum(max(0.0, last - worker.model.joins) for worker in self._workers) or 1.0
        for worker in self._workers:
            if worker.loading:
                self._loading += last - worker.loading_since
        waits = [last - page.queued for queue in self._queues.values() for page in queue]
        return Outcome(
            last,
            tuple(self._latencies),
            self._loading / span,
            self._moves,
            self._work,
            self._left,
            max([self._longest, *waits]),
        )

    # -- what happens ------------------------------------------------------------------------------------------

    def _at(self, when: float, action: Callable[[], None]) -> None:
        self._count += 1
        heapq.heappush(self._events, (when, self._count, action))

    def _arrive(self, number: int) -> None:
        pages = self._scenario.pages
        touched = set()
        while number < len(pages) and pages[number][0] <= self._now:
            page = _Page(self._now, pages[number][1], queued=self._now)
            self._queues[page.stages[0]].append(page)
            touched.add(page.stages[0])
            number += 1
        if number < len(pages):
            self._at(pages[number][0], lambda: self._arrive(number))
        for name in sorted(touched):
            self._serve(name)

    def _serve(self, stage: str) -> None:
        """Idle workers that hold the stage take its pages; if some are left, the rule may want to know."""
        queue = self._queues[stage]
        for worker in self._workers:
            if not queue:
                return
            if stage in worker.holds:
                self._take(worker)
        if queue:
            self._news()

    def _take(self, worker: _Worker) -> None:
        """The oldest page of the stages that the worker holds."""
        if worker.page or worker.loading or worker.left or not worker.alive or not worker.holds:
            return
        waiting = [name for name in worker.holds if self._queues[name]]
        if not waiting:
            if self._rule.leaves:
                worker.left = True
            self._news()
            return
        name = min(waiting, key=lambda name: self._queues[name][0].queued)
        page = self._queues[name].popleft()
        self._longest = max(self._longest, self._now - page.queued)
        worker.page = page
        mean = self._models[name].seconds / worker.model.speeds.get(name, 1.0)
        spread = self._scenario.spread
        seconds = self._chance.gammavariate(1 / spread**2, mean * spread**2) if spread else mean
        epoch = worker.epoch
        self._at(self._now + seconds, lambda: self._finish(worker, epoch, seconds))

    def _finish(self, worker: _Worker, epoch: int, seconds: float) -> None:
        page = worker.page
        if epoch != worker.epoch or page is None:
            return
        worker.page = None
        name = page.stages[page.at]
        self._work += seconds
        self._measure(name, worker, seconds=seconds)
        page.at += 1
        onward = self._onward[name]
        after = page.stages[page.at] if page.at < len(page.stages) else ""
        for known in {*onward, after} - {""}:
            onward[known] = HALF * onward.get(known, float(known == after)) + (1 - HALF) * (known == after)
        if after:
            page.queued = self._now
            self._queues[after].append(page)
        else:
            self._latencies.append(self._now - page.born)
            self._left -= 1
        self._load_what_is_missing(worker)
        self._take(worker)
        if after:
            self._serve(after)

    def _load_what_is_missing(self, worker: _Worker) -> None:
        worker.loaded &= set(worker.holds)
        missing = [name for name in worker.holds if name not in worker.loaded]
        if not missing or worker.page or worker.loading or not worker.alive:
            return
        name = missing[0]
        worker.loading, worker.loading_since = True, self._now
        seconds = self._models[name].load * self._chance.uniform(0.9, 1.1)
        epoch = worker.epoch
        self._at(self._now + seconds, lambda: self._loaded(worker, epoch, name, seconds))

    def _loaded(self, worker: _Worker, epoch: int, name: str, seconds: float) -> None:
        if epoch != worker.epoch:
            return
        worker.loading = False
        worker.loaded.add(name)
        self._loading += seconds
        self._measure(name, worker, load=seconds)
        self._load_what_is_missing(worker)
        self._take(worker)
        self._news()

    def _join(self, worker: _Worker) -> None:
        worker.alive = True
        worker.told = self._now
        self._news()
        if self._scenario.failures:
            worker_epoch = worker.epoch
            self._at(
                self._now + self._chance.expovariate(1 / self._scenario.failures),
                lambda: self._die(worker, worker_epoch),
            )

    def _die(self, worker: _Worker, epoch: int) -> None:
        if epoch != worker.epoch:
            return
        if worker.loading:
            self._loading += self._now - worker.loading_since
        page, worker.page = worker.page, None
        worker.epoch += 1
        worker.alive = worker.loading = worker.left = False
        worker.holds, worker.loaded = (), set()
        self._at(self._now + self._scenario.repair, lambda: self._join(worker))
        if page:
            name = page.stages[page.at]
            self._queues[name].appendleft(page)
            self._serve(name)

    # -- the rule ----------------------------------------------------------------------------------------------

    def _news(self) -> None:
        if self._rule.reacts and not self._look_pending:
            self._look_pending = True
            self._at(self._now + DEBOUNCE, self._look_early)

    def _look_early(self) -> None:
        self._look_pending = False
        self._look()

    def _tick(self) -> None:
        self._look()
        self._at(self._now + self._rule.interval, self._tick)

    def _look(self) -> None:
        seen = self.snapshot()
        if self._record:
            self._record(self._now, seen)
        workers = {worker.model.name: worker for worker in self._workers}
        for move in self._rule.decide(self._now, seen):
            worker = workers[move.worker]
            if not worker.alive:
                continue
            changed = move.stages != worker.holds
            self._moves += changed and bool(move.stages)
            worker.holds, worker.left = move.stages, False
            if changed:
                worker.told = self._now
            self._load_what_is_missing(worker)
            self._take(worker)

    def snapshot(self) -> Snapshot:
        """What the service would see now."""
        busy: dict[str, float] = {}
        held: set[str] = set()
        for worker in self._workers:
            held.update(worker.holds)
            if worker.page:
                name = worker.page.stages[worker.page.at]
                busy[name] = busy.get(name, 0.0) + 1 / self._seconds(name, worker.model.kind)
        waiting = {name: len(queue) for name, queue in self._queues.items()}
        self._flow.seen(self._now, waiting, busy, self._onward)
        stages = []
        for model in self._scenario.stages:
            name = model.name
            costs = {
                kind: Cost(found.seconds, found.load, model.memory)
                for (stage, kind), found in self._times.items()
                if stage == name
            }
            stages.append(
                StageView(
                    name,
                    waiting[name],
                    costs,
                    self._flow.arrivals(name),
                    dict(self._onward[name]),
                    self._flow.unserved(self._now, name, bool(waiting[name]) and name not in held),
                    model.priority,
                    needs=model.needs,
                    owner=model.owner,
                    share=model.share,
                )
            )
        workers = tuple(
            WorkerView(
                worker.model.name,
                worker.holds,
                worker.page is not None,
                worker.loading,
                worker.model.kind,
                worker.model.labels,
                worker.model.memory,
                self._now - worker.told,
            )
            for worker in self._workers
            if worker.alive
        )
        return Snapshot(tuple(stages), workers)

    # -- what is measured --------------------------------------------------------------------------------------

    def _measure(self, stage: str, worker: _Worker, *, seconds: float | None = None, load: float | None = None) -> None:
        found = self._times.setdefault((stage, worker.model.kind), _Measured())
        if seconds is not None:
            found.seconds = seconds if found.seconds is None else HALF * found.seconds + (1 - HALF) * seconds
        if load is not None:
            found.load = load if found.load is None else HALF * found.load + (1 - HALF) * load

    def _seconds(self, stage: str, kind: str) -> float:
        found = self._times.get((stage, kind))
        return found.seconds if found and found.seconds else 1.0

    def _know(self) -> None:
        for model in self._scenario.stages:
            for worker in self._scenario.workers:
                mean = model.seconds / worker.speeds.get(model.name, 1.0)
                self._times[model.name, worker.kind] = _Measured(mean, model.load)
        for _, stages in self._scenario.pages:
            for name, after in zip(stages, stages[1:], strict=False):
                self._onward[name][after] = self._onward[name].get(after, 0.0) + 1
            self._onward[stages[-1]].setdefault("", 0.0)
            self._onward[stages[-1]][""] += 1
        for name, counts in self._onward.items():
            total = sum(counts.values())
            self._onward[name] = {after: count / total for after, count in counts.items() if after}
