"""A cluster on a fake clock, with all randomness from one seed, driven by the same policy as the service.

    outcome = Simulation(scenario, PlanRule(), seed=1).run()

The rule sees what the service sees (a `Snapshot`, including estimates), never the true figures of the scenario.
"""

from __future__ import annotations

import heapq
import random
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial

from pero_worker.watchdog.flow import Flow
from pero_worker.watchdog.learned import Learned
from pero_worker.watchdog.scenario import PageOut, Scenario, SimulationResult, WorkerModel
from pero_worker.watchdog.snapshot import UNKNOWN_PAGE_SECONDS, Rule, Snapshot, StageView, WorkerView

_DEBOUNCE_SECONDS = 0.05
"""Time between an event and the look at what it changed."""


@dataclass(slots=True, eq=False, kw_only=True)
class _Page:
    came: float
    path: tuple[str, ...]
    queued: float
    """When it entered its present queue."""
    at: int = 0
    """Its position on the path."""

    @property
    def stage(self) -> str:
        """The stage it is at; '' when it is out."""
        return self.path[self.at] if self.at < len(self.path) else ""


@dataclass(slots=True, eq=False, kw_only=True)
class _SimulatedWorker:
    """The present state of a worker."""

    model: WorkerModel
    holds: tuple[str, ...] = ()
    loaded: set[str] = field(default_factory=set)
    page: _Page | None = None
    loading: float | None = None
    """Since when it has been loading; None: it is not."""
    alive: bool = False
    stopped: bool = False
    """Whether it has become idle and waits for a command, see `Rule.worker_stops_when_idle`."""
    told: float = 0.0
    """When it was commanded to hold its present stages."""
    epoch: int = 0
    """How often it has died."""


class Simulation:
    """One run of a scenario. `record` is called with each snapshot that the rule sees, and its time in seconds."""

    def __init__(
        self, scenario: Scenario, rule: Rule, *, seed: int = 0, record: Callable[[float, Snapshot], None] | None = None
    ) -> None:
        self._scenario, self._rule, self._record = scenario, rule, record
        self._chance = random.Random(seed)  # noqa: S311 - a repeatable run, no secret
        self._now = 0.0
        self._events: list[tuple[float, int, Callable[[], None]]] = []
        self._count = 0
        self._models = {stage.name: stage for stage in scenario.stages}
        self._queues: dict[str, deque[_Page]] = {name: deque() for name in self._models}
        self._workers = {model.name: _SimulatedWorker(model=model) for model in scenario.workers}
        self._flow = Flow()
        self._learned = Learned.beforehand(scenario) if scenario.known else Learned()
        self._look_pending = False
        self._out: list[PageOut] = []
        self._left = len(scenario.pages)
        self._loading = self._work = self._longest = 0.0
        self._moves = 0

    def run(self) -> SimulationResult:
        for worker in self._workers.values():
            self._at(worker.model.joins, partial(self._join, worker))
        if self._scenario.pages:
            self._at(self._scenario.pages[0][0], lambda: self._arrive(0))
        self._at(0.0, self._tick)
        while self._events and self._left:
            when, _, action = heapq.heappop(self._events)
            if 0 < self._scenario.until < when:
                break
            self._now = when
            action()
        return self._outcome()

    def _outcome(self) -> SimulationResult:
        end = self._now
        span = sum(max(0.0, min(end, model.leaves) - model.joins) for model in self._scenario.workers)
        loading = self._loading + sum(end - w.loading for w in self._workers.values() if w.loading is not None)
        longest = max([self._longest, *(end - page.queued for queue in self._queues.values() for page in queue)])
        part = loading / span if span else 0.0
        return SimulationResult(
            makespan=end,
            pages=tuple(self._out),
            loading=part,
            moves=self._moves,
            work=self._work,
            left=self._left,
            max_wait=longest,
        )

    def _at(self, when: float, action: Callable[[], None]) -> None:
        self._count += 1
        heapq.heappush(self._events, (when, self._count, action))

    # -- pages -------------------------------------------------------------------------------------------------

    def _arrive(self, number: int) -> None:
        pages = self._scenario.pages
        touched = set()
        while number < len(pages) and pages[number][0] <= self._now:
            page = _Page(came=self._now, path=pages[number][1], queued=self._now)
            self._queues[page.stage].append(page)
            touched.add(page.stage)
            number += 1
        if number < len(pages):
            self._at(pages[number][0], lambda: self._arrive(number))
        for name in sorted(touched):
            self._serve(name)

    def _serve(self, stage: str) -> None:
        """Has idle workers that hold the stage take its pages; if some are left, the rule may want to know."""
        queue = self._queues[stage]
        for worker in self._workers.values():
            if not queue:
                return
            if stage in worker.holds:
                self._take(worker)
        if queue:
            self._news()

    def _take(self, worker: _SimulatedWorker) -> None:
        """Has the worker take the oldest page of the stages that it holds."""
        if worker.page or worker.loading is not None or worker.stopped or not worker.alive or not worker.holds:
            return
        waiting = [name for name in worker.holds if self._queues[name]]
        if not waiting:
            worker.stopped = self._rule.worker_stops_when_idle
            self._news()
            return
        name = min(waiting, key=lambda name: self._queues[name][0].queued)
        page = worker.page = self._queues[name].popleft()
        self._longest = max(self._longest, self._now - page.queued)
        mean = self._models[name].seconds / worker.model.speeds.get(name, 1.0)
        spread = self._scenario.spread
        seconds = self._chance.gammavariate(1 / spread**2, mean * spread**2) if spread else mean
        epoch = worker.epoch
        self._at(self._now + seconds, lambda: self._finish(worker, page, epoch, seconds))

    def _finish(self, worker: _SimulatedWorker, page: _Page, epoch: int, seconds: float) -> None:
        if epoch != worker.epoch:
            return
        worker.page = None
        self._work += seconds
        done = page.stage
        page.at += 1
        after = page.stage
        self._learned.page(done, worker.model.kind, seconds, after)
        if after:
            page.queued = self._now
            self._queues[after].append(page)
        else:
            self._out.append(PageOut(came=page.came, out=self._now, path=page.path))
            self._left -= 1
        self._load_what_is_missing(worker)
        self._take(worker)
        if after:
            self._serve(after)

    # -- workers -----------------------------------------------------------------------------------------------

    def _load_what_is_missing(self, worker: _SimulatedWorker) -> None:
        worker.loaded &= set(worker.holds)
        name = next((name for name in worker.holds if name not in worker.loaded), "")
        if not name or worker.page or worker.loading is not None or not worker.alive:
            return
        worker.loading = self._now
        seconds = self._models[name].load * self._chance.uniform(0.9, 1.1)
        epoch = worker.epoch
        self._at(self._now + seconds, lambda: self._loaded(worker, epoch, name, seconds))

    def _loaded(self, worker: _SimulatedWorker, epoch: int, name: str, seconds: float) -> None:
        if epoch != worker.epoch:
            return
        worker.loading = None
        worker.loaded.add(name)
        self._loading += seconds
        self._learned.load(name, worker.model.kind, seconds, self._models[name].memory)
        self._load_what_is_missing(worker)
        self._take(worker)
        self._news()

    def _join(self, worker: _SimulatedWorker) -> None:
        worker.alive, worker.told = True, self._now
        self._news()
        epoch, dies = worker.epoch, worker.model.leaves
        if self._scenario.failures:
            dies = min(dies, self._now + self._chance.expovariate(1 / self._scenario.failures))
        if dies < float("inf"):
            self._at(dies, lambda: self._die(worker, epoch))

    def _die(self, worker: _SimulatedWorker, epoch: int) -> None:
        if epoch != worker.epoch:
            return
        if worker.loading is not None:
            self._loading += self._now - worker.loading
        page, worker.page, worker.loading = worker.page, None, None
        worker.epoch += 1
        worker.alive = worker.stopped = False
        worker.holds, worker.loaded = (), set()
        if (back := self._now + self._scenario.repair) < worker.model.leaves:
            self._at(back, lambda: self._join(worker))
        if page:
            self._queues[page.stage].appendleft(page)
            self._serve(page.stage)

    # -- the rule ----------------------------------------------------------------------------------------------

    def _news(self) -> None:
        if self._rule.looks_on_events and not self._look_pending:
            self._look_pending = True
            self._at(self._now + _DEBOUNCE_SECONDS, self._round)

    def _tick(self) -> None:
        self._round()
        self._at(self._now + self._rule.interval, self._tick)

    def _round(self) -> None:
        self._look_pending = False
        seen = self._take_snapshot()
        if self._record:
            self._record(self._now, seen)
        for move in self._rule.decide(self._now, seen):
            worker = self._workers[move.worker]
            if move.stages != worker.holds:
                self._moves += bool(move.stages)
                worker.told = self._now
            worker.holds, worker.stopped = move.stages, False
            self._load_what_is_missing(worker)
            self._take(worker)

    def _take_snapshot(self) -> Snapshot:
        """Returns what the service would see now."""
        working: dict[str, float] = {}
        held: set[str] = set()
        for worker in self._workers.values():
            held.update(worker.holds)
            if worker.page:
                name = worker.page.stage
                speed = 1 / (self._learned.seconds(name, worker.model.kind) or UNKNOWN_PAGE_SECONDS)
                working[name] = working.get(name, 0.0) + speed
        waiting = {name: len(queue) for name, queue in self._queues.items()}
        self._flow.seen(self._now, waiting, working, self._learned.onward)
        return Snapshot(
            stages=tuple(self._stage_view(name, waiting[name], name in held) for name in self._models),
            workers=tuple(self._worker_view(worker) for worker in self._workers.values() if worker.alive),
        )

    def _stage_view(self, name: str, waiting: int, held: bool) -> StageView:
        model = self._models[name]
        return StageView(
            name=name,
            waiting=waiting,
            costs=self._learned.costs(name),
            arrivals=self._flow.arrivals(name),
            onward=dict(self._learned.onward.get(name, {})),
            unserved=self._flow.unserved(self._now, name, waiting > 0 and not held),
            priority=model.priority,
            disabled=model.disabled,
            sharing=model.sharing,
        )

    def _worker_view(self, worker: _SimulatedWorker) -> WorkerView:
        model = worker.model
        return WorkerView(
            name=model.name,
            holds=worker.holds,
            busy=worker.page is not None,
            loading=worker.loading is not None,
            kind=model.kind,
            labels=model.labels,
            memory=model.memory,
            serving=self._now - worker.told,
        )
