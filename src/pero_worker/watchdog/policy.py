"""The plan: which worker should hold which stages. Pure: no I/O, no clock, no randomness.

Stages are considered in order of need: the time until their pages are done, as things stand, times their priority;
stages of owners that have less than their share of the workers come first. The neediest stage gets

1. a worker that holds nothing;
2. a worker that has no work, if its own stages can spare it (`_lends`); with enough memory it keeps them loaded;
3. if nobody serves the stage: a worker that has work, at once if it has memory for both, otherwise once the stage has
   waited, and the worker has served, for many times as long as loading takes.

Then workers that have work move from stages that are done early without them to stages that are done late even with
them, and from owners with too many to owners with too few; and workers that have none move to the stages used most.

Each move costs the time to load: a move is made only for a backlog that takes longer than loading the stage.
"""

from __future__ import annotations

import heapq
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain
from math import inf

from pero_worker.messages import Message, said
from pero_worker.watchdog.board import Board, PlannedWorker, StageLoad
from pero_worker.watchdog.snapshot import Move, Snapshot


@dataclass(frozen=True, slots=True, kw_only=True)
class Tuning:
    """How bold the plan is."""

    turn_in_loads: float = 10.0
    """A worker sent in turn to a stage nobody served stays this many times as long as loading takes; see `_ripe`."""
    patience_in_loads: float = 2.0
    """A stage waits this many times as long as loading takes before it gets a turn; see `_ripe`."""
    gain_per_second_away: float = 2.0
    """Seconds of work that a worker must do elsewhere for each second it spends loading on the way there and back."""
    min_improvement: float = 0.2
    """The fraction of its time by which a stage must be done sooner to be given a worker that has work."""
    min_use: float = 0.4
    """A stage whose use is below this gets no worker before there is a backlog."""
    max_candidates: int = 8
    """Most candidates that are considered for one stage."""


TUNING = Tuning()


def plan(snapshot: Snapshot, tuning: Tuning = TUNING) -> tuple[Move, ...]:
    """Returns the moves that are worth making now, with their reasons; none when all is well."""
    return _Planner(Board(snapshot), tuning).run()


class PlanRule:
    """The plan as a `Rule`."""

    looks_on_events, worker_stops_when_idle = True, False

    def __init__(self, tuning: Tuning = TUNING, *, interval: float = 1.0) -> None:
        """`interval`: seconds between two looks when nothing happens."""
        self.interval = interval
        self._tuning = tuning

    def decide(self, now: float, seen: Snapshot) -> Sequence[Move]:
        return plan(seen, self._tuning)


class _Planner:
    """`_free`: workers that hold nothing, by kind; `_idle`, `_busy`: those without and with work, by what they hold."""

    def __init__(self, board: Board, tuning: Tuning) -> None:
        self._board = board
        self._tuning = tuning
        self._moves: dict[str, Move] = {}
        self._free: dict[str, list[PlannedWorker]] = defaultdict(list)
        self._idle: dict[tuple[str, ...], list[PlannedWorker]] = defaultdict(list)
        self._busy: dict[tuple[str, ...], list[PlannedWorker]] = defaultdict(list)
        # The worker that has served longest goes first.
        for worker in sorted(board.workers, key=lambda worker: (worker.view.serving, worker.view.name)):
            if worker.view.loading:
                continue
            if not worker.holds:
                self._free[worker.view.kind].append(worker)
            else:
                (self._idle if board.has_no_work(worker) else self._busy)[worker.holds].append(worker)

    def run(self) -> tuple[Move, ...]:
        self._help_the_needy()
        self._balance()
        self._settle()
        for worker in chain.from_iterable(self._free.values()):
            if worker.view.holds:
                self._moves[worker.view.name] = Move(
                    worker=worker.view.name, stages=(), why=(said("not_to_be_served"),)
                )
        return tuple(self._moves.values())

    def _help_the_needy(self) -> None:
        stages = list(self._board.stages.values())
        needy = [(self._need(stage), number) for number, stage in enumerate(stages) if stage.pages]
        heapq.heapify(needy)
        while needy:
            need, number = heapq.heappop(needy)
            stage = stages[number]
            if need < (now := self._need(stage)) or self._take_free(stage) or self._take_idle(stage):
                # Its need has become smaller, so others may come first.
                heapq.heappush(needy, (max(now, self._need(stage)), number))
            else:
                self._take_in_turn(stage)

    def _need(self, stage: StageLoad) -> tuple[bool, bool, float]:
        """Returns a sort key: the smaller, the needier."""
        owner = stage.owner
        sated = self._board.held_by_owner[owner] >= self._board.fair[owner]
        if stage.holders:
            return (sated, True, -stage.weight * stage.drain)
        return (sated, False, -stage.weight * (stage.pages * stage.view.seconds("") + stage.view.unserved))

    # -- which workers could help ------------------------------------------------------------------------------

    def _take_free(self, stage: StageLoad) -> bool:
        """Sends a worker that holds nothing. It has nothing to lose: one page more than there are holders is enough."""
        if stage.pages <= stage.holders:
            return False
        found = (next((w for w in group if w.may_hold(stage)), None) for group in self._free.values())
        worker = max(filter(None, found), key=lambda worker: self._board.fit(worker, stage), default=None)
        if worker is None:
            return False
        self._free[worker.view.kind].remove(worker)
        return self._move(worker, stage, (), said("held_nothing"))

    def _take_idle(self, stage: StageLoad) -> bool:
        groups = [holds for holds, group in self._idle.items() if group and stage.name not in holds]
        for holds in heapq.nsmallest(self._tuning.max_candidates, groups, key=self._use):
            worker = next((worker for worker in reversed(self._idle[holds]) if worker.may_hold(stage)), None)
            if worker is None or not self._pays(worker, stage):
                continue
            kept = self._board.kept(worker, stage)
            if all(name in kept or self._lends(worker, self._board.stages[name], stage) for name in holds):
                self._idle[holds].remove(worker)
                return self._move(worker, stage, kept, said("had_no_work"))
        return False

    def _take_in_turn(self, stage: StageLoad) -> None:
        if stage.holders or not stage.view.waiting:
            return
        donors = [worker for group in self._busy.values() for worker in group[-self._tuning.max_candidates :]]
        donors = [worker for worker in donors if worker.may_hold(stage)]
        for worker in heapq.nsmallest(
            self._tuning.max_candidates, donors, key=lambda donor: (self._loss(donor), self._left(donor))
        ):
            kept = self._board.kept(worker, stage)
            beside = set(kept) == set(worker.holds)
            if beside or self._ripe(worker, stage):
                self._busy[worker.holds].remove(worker)
                self._move(worker, stage, kept, said("can_hold_both" if beside else "turn_of_stage"))
                return

    def _balance(self) -> None:
        """Moves workers that have work from stages that are done early to stages that are done late."""
        stages = list(self._board.stages.values())
        late = [(-stage.weight * stage.drain, number) for number, stage in enumerate(stages) if stage.holders]
        heapq.heapify(late)
        early: list[tuple[float, tuple[str, ...]]] = [
            (self._loss(group[-1]), holds) for holds, group in self._busy.items() if group and len(holds) == 1
        ]
        heapq.heapify(early)
        while late and early:
            number, stage = late[0][1], stages[late[0][1]]
            worker, holds = self._balancing(stage, early)
            if worker is None:
                heapq.heappop(late)
                continue
            reason = said("done_without", stage=holds[0], seconds=self._board.done_without(worker, holds[0]))
            self._busy[holds].remove(worker)
            self._move(worker, stage, self._board.kept(worker, stage), reason)
            heapq.heapreplace(late, (-stage.weight * stage.drain, number))
            early = [entry for entry in early if entry[1] != holds]
            if self._busy[holds]:
                early.append((self._loss(self._busy[holds][-1]), holds))
            heapq.heapify(early)

    def _balancing(
        self, stage: StageLoad, early: Sequence[tuple[float, tuple[str, ...]]]
    ) -> tuple[PlannedWorker | None, tuple[str, ...]]:
        """Returns a worker that should move to the stage, from those whose stages are done earliest without them."""
        shorter = 1 - self._tuning.min_improvement
        for loss, holds in heapq.nsmallest(self._tuning.max_candidates, early):
            worker, lender = self._busy[holds][-1], self._board.stages[holds[0]]
            if stage is lender or not worker.may_hold(stage) or not self._pays(worker, stage):
                continue
            with_it = self._board.done_with(worker, stage)
            sooner = with_it < stage.drain * shorter and loss < with_it * shorter
            if self._board.is_due(lender, stage) or (sooner and self._board.may_give(lender, stage)):
                return worker, holds
        return None, ()

    def _settle(self) -> None:
        """Moves workers without work from the least used stages to the most used."""
        used = sorted(self._board.stages.values(), key=lambda stage: (-stage.use, stage.name))
        groups = sorted((holds for holds, group in self._idle.items() if group and len(holds) == 1), key=self._use)
        for holds, stage in zip(groups, used, strict=False):
            worker, lender = self._idle[holds][-1], self._board.stages[holds[0]]
            others = self._board.others(worker, lender.name)
            use = lender.inflow / others if others else inf
            if stage.use < self._tuning.min_use or use >= stage.use * (1 - 2 * self._tuning.min_improvement):
                break
            if worker.may_hold(stage) and worker.view.serving >= self._tuning.turn_in_loads * worker.load(stage):
                self._idle[holds].remove(worker)
                reason = said("use_of_stages", lender=lender.name, lent=lender.use, stage=stage.name, use=stage.use)
                self._move(worker, stage, self._board.kept(worker, stage), reason)

    # -- what it would cost ------------------------------------------------------------------------------------

    def _pays(self, worker: PlannedWorker, stage: StageLoad) -> bool:
        """Returns whether the pages waiting here take longer than loading the stage, and one is left for the worker."""
        if not stage.holders:
            return stage.view.waiting > 0
        return stage.backlog > max(worker.load(stage), stage.view.seconds(worker.view.kind))

    def _lends(self, worker: PlannedWorker, lender: StageLoad, stage: StageLoad) -> bool:
        """Returns whether the worker's own stage can do without it: for good, or for so long that what the worker does
        in the time it would have been idle is worth the way there and back."""
        deadline = stage.drain * stage.weight / lender.weight
        part, others = worker.parts[lender.name], self._board.others(worker, lender.name)
        if deadline == inf:
            # Nobody serves the stage. Even a stage that needs all of the worker's time gives up what it is not using.
            return True
        if not part or (self._board.done_without(worker, lender.name) <= deadline and lender.inflow <= others):
            return True
        away = (deadline - lender.drain) * lender.capacity / part
        needed = max(0.0, min(1.0, (lender.inflow - others) / part))
        return away * (1 - needed) > self._tuning.gain_per_second_away * (worker.load(stage) + worker.load(lender))

    def _ripe(self, worker: PlannedWorker, stage: StageLoad) -> bool:
        """Returns whether it is time for a turn, so that at most a tenth of the worker's time goes into loading."""
        load = worker.load(stage)
        has_waited = stage.view.unserved * stage.weight >= self._tuning.patience_in_loads * load
        return has_waited and worker.view.serving >= self._tuning.turn_in_loads * load

    def _loss(self, worker: PlannedWorker) -> float:
        """Returns the seconds until all the worker's stages are done without it."""
        return max(self._board.done_without(worker, name) for name in worker.holds)

    def _left(self, worker: PlannedWorker) -> float:
        """Returns the seconds until the worker's stages are done, as things stand. When every donor is the last worker
        of its stage, the one with the least to do is taken."""
        return max(self._board.stages[name].drain for name in worker.holds)

    def _use(self, holds: tuple[str, ...]) -> float:
        return max(self._board.stages[name].use for name in holds)

    def _move(self, worker: PlannedWorker, stage: StageLoad, kept: tuple[str, ...], why: Message) -> bool:
        """Plans a move to the stage; `kept`: the stages that the worker keeps along with it."""
        drain, unserved = said("done_in", seconds=stage.drain), said("served_by_nobody", seconds=stage.view.unserved)
        doing, pages = drain if stage.holders else unserved, said("pages", n=round(stage.pages))
        then = said("stage_then", stage=stage.name, pages=pages, doing=doing, load=worker.load(stage))
        holds = (stage.name, *kept)
        self._board.give(worker, holds)
        self._moves[worker.view.name] = Move(worker=worker.view.name, stages=holds, why=(why, then))
        return True
