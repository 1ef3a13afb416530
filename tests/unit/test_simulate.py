"""The simulated cluster, what the policy is measured against in it, and what the policy must reach there.

A seed gives the same figures on every machine.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import replace
from statistics import fmean

import pytest

from pero_worker.stage import Cost, Sharing
from pero_worker.watchdog.baselines import FixedSplit, UpstreamRule, splits
from pero_worker.watchdog.policy import PlanRule
from pero_worker.watchdog.reconstruct import scenario_from
from pero_worker.watchdog.scenario import Scenario, SimulationResult, StageModel, WorkerModel
from pero_worker.watchdog.simulate import Simulation
from pero_worker.watchdog.snapshot import Move, Rule, Snapshot, StageView, WorkerView

SECONDS = (0.6, 1.4, 2.8)


def batch(load: float, *, pages: int = 300, workers: int = 4, seconds: Sequence[float] = SECONDS) -> Scenario:
    stages = [StageModel(name=f"s{n}", seconds=each, load=load) for n, each in enumerate(seconds)]
    path = tuple(stage.name for stage in stages)
    return Scenario(stages=stages, workers=team(workers), pages=[(0.0, path)] * pages, known=True)


def team(count: int, memory: int | None = None) -> list[WorkerModel]:
    return [WorkerModel(name=f"w{n}", memory=memory) for n in range(count)]


def stream(
    rate: float, start: float, end: float, path: tuple[str, ...], seed: int
) -> list[tuple[float, tuple[str, ...]]]:
    chance, pages, now = random.Random(seed), [], start
    while (now := now + chance.expovariate(rate)) < end:
        pages.append((now, path))
    return pages


def run(scenario: Scenario, rule: Rule | None = None, seed: int = 1) -> SimulationResult:
    return Simulation(scenario, rule or PlanRule(), seed=seed).run()


def over(scenario: Scenario, outcome: SimulationResult) -> float:
    """Returns by what fraction the makespan exceeds the work shared by all workers."""
    return outcome.makespan / (outcome.work / len(scenario.workers)) - 1


def best_split(scenario: Scenario) -> SimulationResult:
    names = [stage.name for stage in scenario.stages]
    return min(
        (run(scenario, FixedSplit(split)) for split in splits(names, len(scenario.workers))),
        key=lambda outcome: outcome.makespan,
    )


# -- the cluster -----------------------------------------------------------------------------------------------------


def test_every_page_comes_out_once_and_went_its_way() -> None:
    scenario = batch(5, pages=50)
    outcome = run(scenario)
    assert outcome.left == 0
    assert sorted(page.path for page in outcome.pages) == sorted(path for _, path in scenario.pages)
    assert all(page.latency > 0 for page in outcome.pages)


def test_the_same_seed_gives_the_same_outcome_and_another_one_another() -> None:
    assert run(batch(5, pages=50)) == run(batch(5, pages=50))
    assert run(batch(5, pages=50)) != run(batch(5, pages=50), seed=2)


def test_pages_of_dead_workers_are_done_by_others() -> None:
    scenario = replace(batch(5), failures=60.0, repair=20.0)
    outcome = run(scenario)
    assert outcome.left == 0 and len(outcome.pages) == len(scenario.pages)
    assert outcome.makespan > run(batch(5)).makespan


def test_a_worker_that_leaves_takes_nothing_with_it() -> None:
    scenario = batch(5, workers=2)
    leaving = replace(scenario, workers=[scenario.workers[0], replace(scenario.workers[1], leaves=60.0)])
    outcome = run(leaving)
    assert outcome.left == 0
    assert outcome.makespan > 1.5 * run(scenario).makespan


def test_a_worker_that_joins_late_helps_from_then() -> None:
    scenario = batch(5, workers=2)
    late = replace(scenario, workers=[scenario.workers[0], replace(scenario.workers[1], joins=200.0)])
    assert run(scenario).makespan < run(late).makespan < run(replace(scenario, workers=team(1))).makespan


def test_it_ends_at_the_given_time_with_what_is_left() -> None:
    outcome = run(replace(batch(5), until=100.0))
    assert 99 < outcome.makespan <= 100
    assert outcome.left == 300 - len(outcome.pages) > 0


def test_nobody_is_sent_to_a_disabled_stage() -> None:
    scenario = batch(5, pages=10, seconds=(1.0,))
    outcome = run(replace(scenario, stages=[replace(scenario.stages[0], disabled=True)], until=300.0))
    assert (outcome.left, outcome.moves) == (10, 0) and outcome.max_wait > 290


def test_latencies_are_summed_up() -> None:
    outcome = run(batch(5, pages=100))
    latencies = sorted(page.latency for page in outcome.pages)
    assert outcome.mean == pytest.approx(fmean(latencies))
    assert outcome.percentile(0.5) == latencies[50] and outcome.percentile(1.0) == latencies[-1]
    assert outcome.unfinished(0.0) == 100 and outcome.unfinished(outcome.makespan) == 0
    assert outcome.after(1.0).pages == ()


def test_what_the_rule_sees_is_the_cluster() -> None:
    frames: list[tuple[float, Snapshot]] = []
    Simulation(batch(5, pages=20), PlanRule(), seed=1, record=lambda when, seen: frames.append((when, seen))).run()
    first, last = frames[0][1], frames[-1][1]
    assert [stage.waiting for stage in first.stages] == [20, 0, 0]
    assert [worker.holds for worker in first.workers] == [()] * 4
    assert any(worker.loading for worker in frames[1][1].workers)
    assert sum(stage.waiting for stage in last.stages) < 20


# -- baselines ----------------------------------------------------------------------------------------------------


def test_a_fixed_split_takes_as_long_as_worked_out_by_hand() -> None:
    """Two stages, a worker each, pages of 1 s and 2 s: 10 pages are through the second 20 s after its first page."""
    stages = [StageModel(name="a", seconds=1.0, load=0.0), StageModel(name="b", seconds=2.0, load=0.0)]
    scenario = Scenario(stages=stages, workers=team(2), pages=[(0.0, ("a", "b"))] * 10, spread=0.0, known=True)
    outcome = run(scenario, FixedSplit({"a": 1, "b": 1}))
    assert outcome.makespan == pytest.approx(21.0)
    assert outcome.mean == pytest.approx(fmean(1.0 + 2.0 * n for n in range(1, 11)))
    assert (outcome.work, outcome.moves) == (pytest.approx(30.0), 2)


def test_a_dead_workers_place_in_a_fixed_split_is_taken_again() -> None:
    outcome = run(replace(batch(5), failures=100.0, repair=20.0), FixedSplit({"s0": 1, "s1": 1, "s2": 2}))
    assert outcome.left == 0


def test_all_splits_are_tried() -> None:
    found = list(splits(["a", "b", "c"], 5))
    assert len(found) == 6 == len({tuple(split.values()) for split in found})
    assert all(sum(split.values()) == 5 and min(split.values()) >= 1 for split in found)


def told(moves: Sequence[Move]) -> list[tuple[str, tuple[str, ...]]]:
    return [(move.worker, move.stages) for move in moves]


def view(name: str, waiting: int, seconds: float = 1.0, **more: int) -> StageView:
    return StageView(name=name, waiting=waiting, costs={"cpu": Cost(seconds=seconds)}, priority=more.get("priority", 0))


def test_upstream_sends_each_free_worker_to_the_highest_score_and_counts_it() -> None:
    """messages x 2 x seconds / (workers + 1): a 100 then 50 then 33, b 60 then 30."""
    seen = Snapshot(stages=(view("a", 50), view("b", 30)), workers=tuple(WorkerView(name=name) for name in "1234"))
    assert told(UpstreamRule().decide(0, seen)) == [("1", ("a",)), ("2", ("b",)), ("3", ("a",)), ("4", ("a",))]


def test_upstream_sends_an_idle_worker_away_from_where_it_was_just_put() -> None:
    seen = Snapshot(stages=(view("a", 9), view("b", 10)), workers=(WorkerView(name="1", holds=("a",)),))
    assert told(UpstreamRule().decide(0, seen)) == [("1", ("b",))]


def test_upstream_does_not_count_workers_that_load() -> None:
    seen = Snapshot(
        stages=(view("a", 10), view("b", 8)),
        workers=(WorkerView(name="1", holds=("a",), loading=True), WorkerView(name="2")),
    )
    assert told(UpstreamRule().decide(0, seen)) == [("2", ("a",))]


def test_upstream_moves_one_busy_worker_a_round_from_the_lowest_score_when_its_time_is_over() -> None:
    rule = UpstreamRule()
    idle = tuple(WorkerView(name=name) for name in "12")
    rule.decide(0, Snapshot(stages=(view("a", 10), view("b", 9)), workers=idle))
    busy = (WorkerView(name="1", holds=("a",), busy=True), WorkerView(name="2", holds=("b",), busy=True))
    seen = Snapshot(stages=(view("a", 1000), view("b", 9)), workers=busy)
    # Locked for ten pages of twice the time, and ten seconds.
    assert rule.decide(20, seen) == []
    assert told(rule.decide(30, seen)) == [("2", ("a",))]


def test_upstream_lets_the_wait_of_a_stage_that_nobody_serves_grow_with_its_priority() -> None:
    rule = UpstreamRule()
    busy = (WorkerView(name="1", holds=("bulk",), busy=True),)
    seen = Snapshot(stages=(view("bulk", 100), view("urgent", 1, priority=9)), workers=busy)
    assert told(rule.decide(0, seen)) == [("1", ("bulk",))]
    later = replace(seen, workers=(WorkerView(name="1", holds=("bulk",)),))
    assert told(rule.decide(9, later)) == [("1", ("bulk",))]
    assert told(rule.decide(11, later)) == [("1", ("urgent",))]


def test_upstream_does_nothing_when_all_queues_are_empty() -> None:
    assert UpstreamRule().decide(0, Snapshot(stages=(view("a", 0),), workers=(WorkerView(name="1"),))) == []
    assert UpstreamRule().decide(0, Snapshot()) == []


def test_upstreams_idle_workers_take_no_page_before_the_next_round() -> None:
    stages = [StageModel(name="a", seconds=0.1, load=0.5)]
    scenario = Scenario(stages=stages, workers=team(1), pages=[(0.0, ("a",)), (5.0, ("a",))], spread=0.0, known=True)
    assert run(scenario, UpstreamRule()).makespan == pytest.approx(10.1)
    assert run(scenario).makespan == pytest.approx(5.1)


# -- what the policy must reach -----------------------------------------------------------------------------------


@pytest.mark.parametrize(("load", "most"), [(1.0, 0.04), (5.0, 0.08), (20.0, 0.25)])
def test_a_batch_is_done_near_the_bound_and_before_the_best_split_and_upstream(load: float, most: float) -> None:
    """300 pages are 360 s of work for each of four workers."""
    scenario = batch(load)
    ours = run(scenario)
    assert over(scenario, ours) < most
    assert ours.makespan < best_split(scenario).makespan
    assert ours.makespan < run(scenario, UpstreamRule()).makespan


def test_a_cluster_that_knows_nothing_yet_learns_in_time() -> None:
    scenario = replace(batch(5), known=False)
    assert over(scenario, run(scenario)) < 0.12


def test_steady_traffic_is_served_as_by_the_best_split() -> None:
    scenario = replace(batch(15, workers=6), pages=stream(0.7 * 6 / sum(SECONDS), 0, 1200, ("s0", "s1", "s2"), 1))
    ours = run(scenario).after(400)
    best = min(run(scenario, FixedSplit(split)).after(400).mean for split in splits(("s0", "s1", "s2"), 6))
    assert ours.mean < 1.1 * best
    assert ours.moves < 20


def test_traffic_that_changes_is_followed() -> None:
    stages = [
        StageModel(name="a0", seconds=1.0, load=20),
        StageModel(name="a1", seconds=2.5, load=20),
        StageModel(name="b0", seconds=2.0, load=20),
        StageModel(name="b1", seconds=1.5, load=20),
    ]
    pages = stream(0.7, 0, 900, ("a0", "a1"), 1) + stream(0.7, 900, 1800, ("b0", "b1"), 2)
    scenario = Scenario(stages=stages, workers=team(5), pages=pages, known=True)
    ours, theirs = run(scenario), run(scenario, UpstreamRule())
    assert ours.mean < theirs.mean / 4
    assert ours.moves < theirs.moves / 4


def test_where_all_stages_fit_into_memory_nobody_changes_any_more() -> None:
    scenario = replace(batch(20, pages=1, workers=2), pages=stream(0.2, 0, 900, ("s0", "s1", "s2"), 1))
    with_memory = run(replace(scenario, workers=team(2, memory=3)))
    without = run(scenario)
    assert with_memory.moves <= 6 < without.moves
    assert with_memory.mean < without.mean / 2


@pytest.mark.parametrize("seed", range(5))
def test_nobody_starves_where_stages_are_more_than_workers(seed: int) -> None:
    chance = random.Random(seed)
    stages = [StageModel(name=f"s{n}", seconds=chance.uniform(0.5, 3.0), load=10) for n in range(4)]
    pages = stream(0.1, 0, 600, ("s0", "s1"), seed) + stream(0.02, 0, 600, ("s2", "s3"), seed + 100)
    outcome = run(Scenario(stages=stages, workers=team(1), pages=sorted(pages), known=True, until=3600))
    assert outcome.left == 0
    assert outcome.max_wait < 300


def test_owners_get_their_shares_of_the_workers() -> None:
    stages = [
        StageModel(name="a", seconds=1, load=2, sharing=Sharing(owner="A")),
        StageModel(name="b", seconds=1, load=2, sharing=Sharing(owner="B", share=3.0)),
    ]
    pages = [(0.0, ("a",))] * 1500 + [(60.0, ("b",))] * 300
    outcome = run(Scenario(stages=stages, workers=team(8), pages=pages, known=True))
    ends = max(page.out for page in outcome.pages if page.path == ("b",))
    both = [page.path for page in outcome.pages if 60 < page.out <= ends]
    assert 0.6 < both.count(("b",)) / len(both) < 0.8


def test_a_fast_worker_is_used_for_what_it_is_fast_at() -> None:
    stages = [StageModel(name="layout", seconds=1.0, load=5), StageModel(name="ocr", seconds=5.0, load=5)]
    workers = [WorkerModel(name="gpu", kind="gpu", speeds={"ocr": 10.0}), *team(2)]
    scenario = Scenario(stages=stages, workers=workers, pages=[(0.0, ("layout", "ocr"))] * 200, known=True)
    # With each worker at what it does best, the GPU's 100 s are the bound.
    assert run(scenario).makespan < 150 < run(replace(scenario, workers=team(3))).makespan


# -- recorded days ------------------------------------------------------------------------------------------------


def retraced(scenario: Scenario) -> tuple[SimulationResult, Scenario]:
    """What a run was, and the scenario that is made of it, seen once a second by a clock that does not begin at 0."""
    frames: list[tuple[float, Snapshot]] = []

    def record(when: float, seen: Snapshot) -> None:
        if not frames or when + 1e6 >= frames[-1][0] + 0.95:
            frames.append((when + 1e6, seen))

    return Simulation(scenario, PlanRule(), seed=1, record=record).run(), scenario_from(frames)


@pytest.mark.parametrize(
    "scenario",
    [
        batch(10),
        replace(batch(10), known=False),
        replace(batch(10), workers=team(4, memory=3)),
        replace(batch(10, workers=8), pages=stream(1.1, 0, 400, ("s0", "s1", "s2"), 1)),
    ],
    ids=["batch", "cold", "memory", "stream"],
)
def test_a_recorded_run_can_be_run_again(scenario: Scenario) -> None:
    before, again = retraced(scenario)
    assert len(again.pages) == pytest.approx(len(scenario.pages), rel=0.05)
    whole = [path for _, path in again.pages if path == ("s0", "s1", "s2")]
    assert len(whole) == pytest.approx(len(scenario.pages), rel=0.05)
    after = run(again, seed=2)
    assert after.left == 0
    assert after.makespan == pytest.approx(before.makespan, rel=0.1)


def test_a_recorded_cluster_keeps_its_workers_stages_and_ways() -> None:
    stages = [
        StageModel(name="a", seconds=1.0, load=5, memory=7, sharing=Sharing(needs="gpu", owner="A", share=2.0)),
        StageModel(name="b", seconds=2.0, load=5, priority=3),
        StageModel(name="off", seconds=1.0, load=5, disabled=True),
    ]
    workers = [
        WorkerModel(name="w1", kind="gpu", speeds={"b": 4.0}, labels=frozenset({"gpu"})),
        WorkerModel(name="w2", memory=50, joins=20.0),
        WorkerModel(name="w3", leaves=30.0),
    ]
    pages = [(0.0, ("a", "b") if n % 4 else ("a",)) for n in range(200)]
    _, again = retraced(Scenario(stages=stages, workers=workers, pages=pages, known=True))
    by_name = {stage.name: stage for stage in again.stages}
    assert by_name["a"].sharing == Sharing(needs="gpu", owner="A", share=2.0) and by_name["a"].memory == 7
    assert by_name["b"].priority == 3 and by_name["off"].disabled
    first, second, third = sorted(again.workers, key=lambda worker: worker.name)
    assert first.kind == "gpu" and first.labels == {"gpu"}
    one, other = (by_name["b"].seconds / speeds["b"] for speeds in (first.speeds, second.speeds))
    assert other / one == pytest.approx(4.0, rel=0.2)
    assert (second.memory, second.joins) == (50, pytest.approx(20.0, abs=1.1))
    assert third.leaves == pytest.approx(30.0, abs=1.1) and first.leaves == float("inf")
    assert [path for _, path in again.pages].count(("a", "b")) == pytest.approx(150, rel=0.1)


def test_a_trace_without_frames_is_an_empty_scenario() -> None:
    assert run(scenario_from(())).pages == ()


def test_stages_that_send_pages_round_in_circles_do_not_make_endless_pages() -> None:
    circle = (StageView(name="a", waiting=3, onward={"b": 1.0}), StageView(name="b", waiting=0, onward={"a": 1.0}))
    again = scenario_from([(0.0, Snapshot(stages=circle, workers=(WorkerView(name="w"),)))])
    assert len(again.pages) == 3 and all(len(path) == 32 for _, path in again.pages)
