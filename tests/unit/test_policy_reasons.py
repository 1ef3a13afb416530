"""How a plan explains its moves, and how priority, kinds and refusals weigh in: one line of the rule per test."""

from __future__ import annotations

import pytest
from unit.test_policy import planned, stage, worker

from pero_worker.stage import Cost
from pero_worker.watchdog.policy import PlanRule, Tuning, plan
from pero_worker.watchdog.snapshot import Snapshot, StageView, WorkerView


def reasons(stages: list[StageView], workers: list[WorkerView]) -> list[str]:
    return [move.reason for move in plan(Snapshot(stages=tuple(stages), workers=tuple(workers)))]


@pytest.mark.parametrize(
    ("stages", "workers", "expected"),
    [
        ([stage("a", disabled=True)], [worker("w", "a")], "what it held is not to be served"),
        (
            [stage("a"), stage("b", 1)],
            [worker("w")],
            "it held nothing; b: 1 page, served by nobody for 0 s, 5.0 s to load",
        ),
        (
            [stage("a"), stage("b", 3)],
            [worker("w", "a")],
            "it had no work; b: 3 pages, served by nobody for 0 s, 5.0 s to load",
        ),
        (
            [stage("a", 1000, memory=4), stage("b", 1, memory=4)],
            [worker("w", "a", busy=True, memory=8)],
            "it can hold both; b: 1 page, served by nobody for 0 s, 5.0 s to load",
        ),
        (
            [stage("a", 1000), stage("b", 1, unserved=10.0)],
            [worker("w", "a", busy=True)],
            "it is this stage's turn; b: 1 page, served by nobody for 10 s, 5.0 s to load",
        ),
        (
            [stage("a", 100), stage("b", 1000)],
            [worker("1", "a", busy=True), worker("2", "a", busy=True), worker("3", "b", busy=True)],
            "a is done in 100 s without it; b: 1000 pages, done in 1000 s, 5.0 s to load",
        ),
        (
            [stage("a", arrivals=0.9), stage("b", arrivals=0.1)],
            [worker("1", "a"), worker("2", "b"), worker("3", "b")],
            "b is 5% used, a 90%; a: 0 pages, done in 0 s, 5.0 s to load",
        ),
    ],
)
def test_each_way_to_a_stage_says_why(stages: list[StageView], workers: list[WorkerView], expected: str) -> None:
    assert reasons(stages, workers) == [expected]


def test_a_rule_plans_with_its_own_tuning() -> None:
    seen = Snapshot(stages=(stage("a", 1000), stage("b", 1, unserved=10.0)), workers=(worker("w", "a", busy=True),))
    assert PlanRule().decide(0.0, seen)
    assert not PlanRule(Tuning(patience_in_loads=3.0)).decide(0.0, seen)


def test_a_stage_of_high_priority_waits_less_for_its_turn() -> None:
    busy = [worker("w", "a", busy=True)]
    assert planned([stage("a", 1000), stage("b", 1, unserved=2.0)], busy) == {}
    assert planned([stage("a", 1000), stage("b", 1, unserved=2.0, priority=4)], busy) == {"w": ("b",)}


def test_where_one_worker_cannot_help_the_next_one_does() -> None:
    stages = [stage("a"), stage("b", arrivals=0.2), stage("c", 3)]
    workers = [worker("1", "a", refused=frozenset({"c"})), worker("2", "b")]
    assert planned(stages, workers) == {"2": ("c",)}


def test_where_the_worker_that_is_missed_least_cannot_help_a_late_stage_the_next_one_does() -> None:
    stages = [stage("a", 20), stage("b", 100), stage("late", 10_000)]
    workers = [
        worker("1", "a", busy=True, refused=frozenset({"b", "late"})),
        worker("2", "a", busy=True, refused=frozenset({"b", "late"})),
        worker("3", "b", busy=True),
        worker("4", "b", busy=True),
        worker("5", "late", busy=True),
    ]
    assert planned(stages, workers) == {"4": ("late",)}


def test_a_worker_does_not_go_for_less_work_than_one_page_of_its_kind_takes() -> None:
    def busy(seconds_on_new: float) -> list[StageView]:
        costs = {
            "cpu": Cost(seconds=1.0, load_seconds=1.0),
            "new": Cost(seconds=seconds_on_new, load_seconds=1.0),
        }
        return [StageView(name="a", waiting=40, costs=costs), stage("b")]

    workers = [worker("1", "a", busy=True), worker("2", "b", kind="new")]
    assert planned(busy(10.0), workers) == {"2": ("a",)}
    assert planned(busy(50.0), workers) == {}


def test_a_stage_of_high_priority_lends_no_worker_that_it_needs() -> None:
    def stages(priority: int) -> list[StageView]:
        return [stage("a", 400, load=30), stage("b", arrivals=0.5, load=30, priority=priority)]

    workers = [worker("1", "a", busy=True), worker("2", "b")]
    assert planned(stages(0), workers) == {"2": ("a",)}
    assert planned(stages(9), workers) == {}


def test_a_stage_is_given_a_worker_with_work_only_if_it_is_done_a_fifth_sooner() -> None:
    workers = [*(worker(str(n), "late", busy=True) for n in range(4)), worker("x", "a", busy=True)]
    workers.append(worker("y", "a", busy=True))
    assert planned([stage("a", 2), stage("late", 1000)], workers[1:]) == {"y": ("late",)}
    assert planned([stage("a", 2), stage("late", 1000)], workers) == {}
