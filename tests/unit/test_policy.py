"""What the plan does, one behaviour per test. Snapshots are written by hand."""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from pero_worker.stage import Cost, Sharing
from pero_worker.watchdog.policy import plan
from pero_worker.watchdog.snapshot import Move, Snapshot, StageView, WorkerView

LOAD = 5.0


def stage(
    name: str,
    waiting: int = 0,
    seconds: float = 1.0,
    *,
    load: float = LOAD,
    memory: int | None = None,
    onward: Mapping[str, float] | None = None,
    sharing: Sharing | None = None,
    **more: object,
) -> StageView:
    costs = {"cpu": Cost(seconds=seconds, load_seconds=load, memory=memory)}
    view = StageView(name=name, waiting=waiting, costs=costs, onward=onward or {}, sharing=sharing or Sharing())
    return replace(view, **more)  # type: ignore[arg-type]


def worker(name: str, *holds: str, **more: object) -> WorkerView:
    """Makes a worker that has served for a long time."""
    return replace(WorkerView(name=name, holds=holds, serving=10_000.0), **more)  # type: ignore[arg-type]


def planned(stages: list[StageView], workers: list[WorkerView]) -> dict[str, tuple[str, ...]]:
    return {move.worker: move.stages for move in plan(Snapshot(stages=tuple(stages), workers=tuple(workers)))}


def carried_out(snapshot: Snapshot, moves: tuple[Move, ...]) -> Snapshot:
    """The same cluster, its workers told what the plan says, and loading it."""
    told = {move.worker: move.stages for move in moves}
    workers = (
        replace(w, holds=told[w.name], loading=bool(told[w.name]), serving=0.0) if w.name in told else w
        for w in snapshot.workers
    )
    return replace(snapshot, workers=tuple(workers))


# -- workers without work -----------------------------------------------------------------------------------------


def test_nothing_to_plan_on_gives_no_moves() -> None:
    assert plan(Snapshot()) == ()
    assert planned([stage("a", 5)], []) == {}
    assert planned([], [worker("w")]) == {}
    assert planned([stage("a")], [worker("w")]) == {}


def test_a_worker_that_holds_nothing_goes_where_a_page_waits() -> None:
    assert planned([stage("a"), stage("b", 1)], [worker("w")]) == {"w": ("b",)}


def test_workers_that_hold_nothing_are_shared_out_by_work() -> None:
    moves = planned([stage("a", 300, 0.5), stage("b", 100, 4.5)], [worker(f"w{n}") for n in range(4)])
    assert sorted(moves.values()) == [("a",), ("b",), ("b",), ("b",)]


def test_one_page_gets_one_worker() -> None:
    assert len(planned([stage("a", 1)], [worker("1"), worker("2")])) == 1


def test_a_worker_that_has_no_work_goes_where_a_page_waits() -> None:
    assert planned([stage("a"), stage("b", 3)], [worker("w", "a")]) == {"w": ("b",)}


def test_a_worker_that_waits_serves_what_nobody_serves_even_if_its_own_stage_needs_all_its_time() -> None:
    stages = [stage("a", 1), stage("b", arrivals=1.0)]
    assert planned(stages, [worker("w", "b")]) == {"w": ("a",)}


def test_a_worker_that_loads_counts_for_the_stage_and_is_left_alone() -> None:
    stages = [stage("a", 10), stage("b", 8)]
    assert planned(stages, [worker("1", "a", loading=True), worker("2")]) == {"2": ("b",)}
    assert planned(stages[:1], [worker("1", "a", loading=True, serving=0.0)]) == {}


def test_a_worker_is_told_to_drop_what_is_not_to_be_served() -> None:
    assert planned([stage("a", disabled=True)], [worker("w", "a")]) == {"w": ()}
    assert planned([], [worker("w", "gone")]) == {"w": ()}


# -- loading is weighed -------------------------------------------------------------------------------------------


def test_help_comes_only_for_a_backlog_that_takes_longer_than_loading() -> None:
    busy = [worker("1", "a", busy=True), worker("2", "b")]
    assert planned([stage("a", 20, load=30), stage("b")], busy) == {}
    assert planned([stage("a", 40, load=30), stage("b")], busy) == {"2": ("a",)}


def test_a_worker_that_is_needed_where_it_is_does_not_go_for_a_short_time() -> None:
    """b's flow needs its worker: it may go only for far more work than the way there and back costs."""
    stages = [stage("a", 60, load=30), stage("b", arrivals=0.9, load=30)]
    assert planned(stages, [worker("1", "a", busy=True), worker("2", "b")]) == {}
    stages[0] = stage("a", 6000, load=30)
    stages[1] = stage("b", arrivals=0.1, load=30)
    assert planned(stages, [worker("1", "a", busy=True), worker("2", "b")]) == {"2": ("a",)}


def test_workers_with_work_move_when_their_stage_is_done_far_sooner_without_them() -> None:
    workers = [worker(f"w{n}", "a", busy=True) for n in range(3)] + [worker("w3", "b", busy=True)]
    assert planned([stage("a", 100), stage("b", 110)], workers) == {}
    assert list(planned([stage("a", 100), stage("b", 1000)], workers).values()) == [("b",), ("b",)]


def test_a_plan_that_is_carried_out_is_not_undone() -> None:
    snapshot = Snapshot(
        stages=(stage("a", 100), stage("b", 1000), stage("c", 50, 0.2), stage("d", 3)),
        workers=(*(worker(f"w{n}", "a", busy=True) for n in range(5)), worker("w5"), worker("w6", "c")),
    )
    moves = plan(snapshot)
    assert moves
    after = carried_out(snapshot, moves)
    assert plan(after) == ()
    loaded = tuple(replace(w, loading=False, busy=True) for w in after.workers)
    assert plan(replace(after, workers=loaded)) == ()


# -- looking ahead ------------------------------------------------------------------------------------------------


def test_a_stage_is_prepared_for_the_pages_that_will_come() -> None:
    stages = [stage("first", 100, onward={"second": 1.0}), stage("second")]
    assert sorted(planned(stages, [worker("1"), worker("2")]).values()) == [("first",), ("second",)]


def test_only_the_share_of_pages_that_goes_on_counts() -> None:
    stages = [stage("first", 100, onward={"second": 0.01}), stage("second")]
    moves = planned(stages, [worker(f"w{n}") for n in range(10)])
    assert list(moves.values()).count(("second",)) == 1


def test_stages_that_go_round_in_circles_do_no_harm() -> None:
    stages = [stage("a", 5, onward={"b": 0.5, "a": 0.1}), stage("b", onward={"a": 0.5, "gone": 1.0})]
    assert sorted(planned(stages, [worker("1"), worker("2")]).values()) == [("a",), ("b",)]


def test_workers_without_work_settle_where_most_of_them_are_used() -> None:
    stages = [stage("a", arrivals=0.9), stage("b", arrivals=0.1)]
    workers = [worker("1", "a"), *(worker(str(n), "b") for n in range(2, 5))]
    assert list(planned(stages, workers).values()) == [("a",)]


# -- turns --------------------------------------------------------------------------------------------------------


def test_a_stage_that_nobody_serves_gets_its_turn_when_it_has_waited_for_twice_its_load() -> None:
    busy = [worker("w", "a", busy=True)]
    assert planned([stage("a", 1000), stage("b", 1, unserved=9.0)], busy) == {}
    assert planned([stage("a", 1000), stage("b", 1, unserved=10.0)], busy) == {"w": ("b",)}


def test_a_turn_lasts_ten_times_the_load() -> None:
    stages = [stage("a", 1000), stage("b", 1, unserved=500.0)]
    assert planned(stages, [worker("w", "a", busy=True, serving=49.0)]) == {}
    assert planned(stages, [worker("w", "a", busy=True, serving=50.0)]) == {"w": ("b",)}


def test_the_turn_is_taken_from_the_stage_that_misses_it_least() -> None:
    stages = [stage("a", 1000), stage("b", 10), stage("c", 1, unserved=60.0)]
    workers = [worker("1", "a", busy=True), worker("2", "b", busy=True)]
    assert planned(stages, workers)["2"] == ("c",)


# -- what the administrator says ----------------------------------------------------------------------------------


def test_priority_goes_first() -> None:
    assert planned([stage("bulk", 500), stage("urgent", 100, priority=9)], [worker("w")]) == {"w": ("urgent",)}


def test_a_disabled_stage_gets_nobody_and_its_followers_expect_nothing_from_it() -> None:
    stages = [stage("a", 100, disabled=True, onward={"b": 1.0}), stage("b")]
    assert planned(stages, [worker("w")]) == {}


def test_a_stage_in_quarantine_gets_nobody() -> None:
    assert planned([stage("bad", 100, quarantine="no model"), stage("good", 1)], [worker("w")]) == {"w": ("good",)}


def test_a_worker_is_not_sent_to_what_it_could_not_load() -> None:
    stages = [stage("bad", 100), stage("good", 1)]
    moves = planned(stages, [worker("1", refused=frozenset({"bad"})), worker("2")])
    assert moves == {"1": ("good",), "2": ("bad",)}


def test_a_stage_that_needs_a_label_goes_to_a_worker_that_has_it() -> None:
    stages = [stage("ocr", 100, sharing=Sharing(needs="gpu")), stage("layout", 10)]
    moves = planned(stages, [worker("1"), worker("2", labels=frozenset({"gpu"}))])
    assert moves == {"1": ("layout",), "2": ("ocr",)}


# -- kinds and memory ---------------------------------------------------------------------------------------------


def test_the_speed_of_a_workers_kind_counts() -> None:
    fast = StageView(
        name="a",
        waiting=90,
        costs={"cpu": Cost(seconds=3.0, load_seconds=LOAD), "gpu": Cost(seconds=0.5, load_seconds=LOAD)},
    )
    with_fast = planned([fast, stage("b", 60)], [worker("0", "a", kind="gpu", busy=True), worker("1"), worker("2")])
    with_slow = planned([fast, stage("b", 60)], [worker("0", "a", busy=True), worker("1"), worker("2")])
    assert list(with_fast.values()).count(("a",)) < list(with_slow.values()).count(("a",))


def test_a_worker_goes_on_holding_what_fits_beside() -> None:
    stages = [stage("a", memory=4), stage("b", 3, memory=4)]
    assert planned(stages, [worker("w", "a", memory=8)]) == {"w": ("b", "a")}
    assert planned(stages, [worker("w", "a", memory=7)]) == {"w": ("b",)}


def test_what_is_least_needed_is_dropped_first() -> None:
    stages = [stage("a", memory=4, arrivals=0.1), stage("b", memory=4, arrivals=0.3), stage("c", 9, memory=4)]
    assert planned(stages, [worker("w", "a", "b", memory=8)]) == {"w": ("c", "b")}


def test_a_stage_of_unknown_size_is_taken_for_a_large_one() -> None:
    stages = [stage("a", memory=10**9), stage("b", 3)]
    assert planned(stages, [worker("w", "a", memory=2 * 10**9)]) == {"w": ("b",)}
    assert planned(stages, [worker("w", "a", memory=4 * 10**9)]) == {"w": ("b", "a")}


def test_a_worker_with_room_takes_a_stage_that_nobody_serves_at_once() -> None:
    stages = [stage("a", 1000, memory=4), stage("b", 1, memory=4)]
    assert planned(stages, [worker("w", "a", busy=True, memory=8, serving=0.0)]) == {"w": ("b", "a")}


# -- shares -------------------------------------------------------------------------------------------------------


def test_owners_get_workers_by_their_shares() -> None:
    stages = [
        stage("a", 10_000, sharing=Sharing(owner="A", share=1.0)),
        stage("b", 500, sharing=Sharing(owner="B", share=3.0)),
    ]
    moves = planned(stages, [worker(f"w{n}") for n in range(8)])
    assert list(moves.values()).count(("b",)) == 6


def test_an_owner_with_too_much_gives_to_one_who_has_too_little() -> None:
    stages = [stage("a", 10_000, sharing=Sharing(owner="A")), stage("b", 500, sharing=Sharing(owner="B"))]
    workers = [worker(f"w{n}", "a", busy=True) for n in range(7)] + [worker("w7", "b", busy=True)]
    assert list(planned(stages, workers).values()) == [("b",)] * 3


def test_what_an_owner_cannot_use_is_the_others() -> None:
    stages = [stage("a", 10_000, sharing=Sharing(owner="A")), stage("b", 1, sharing=Sharing(owner="B", share=100.0))]
    moves = planned(stages, [worker(f"w{n}") for n in range(4)])
    assert sorted(moves.values()) == [("a",), ("a",), ("a",), ("b",)]


# -- whatever comes -----------------------------------------------------------------------------------------------

NAMES = [f"s{n}" for n in range(5)]
times = st.floats(0, 1e6, allow_nan=False)
costs = st.builds(
    Cost, seconds=st.none() | times, load_seconds=st.none() | times, memory=st.none() | st.integers(0, 10)
)
views = st.builds(
    StageView,
    name=st.just(""),
    waiting=st.integers(0, 5) | st.integers(0, 10**6),
    costs=st.dictionaries(st.sampled_from(["cpu", "gpu"]), costs),
    arrivals=times,
    onward=st.dictionaries(st.sampled_from(NAMES), st.floats(0, 1), max_size=3),
    unserved=times,
    priority=st.integers(0, 9),
    disabled=st.integers(0, 5).map(lambda n: n == 0),
    quarantine=st.sampled_from(["", "", "", "no model"]),
    sharing=st.builds(
        Sharing,
        needs=st.sampled_from(["", "", "", "gpu"]),
        owner=st.sampled_from(["", "", "A", "B"]),
        share=st.floats(0, 100),
    ),
)
hands = st.builds(
    WorkerView,
    name=st.just(""),
    holds=st.lists(st.sampled_from([*NAMES, "gone"]), max_size=2, unique=True).map(tuple),
    busy=st.booleans(),
    loading=st.booleans(),
    kind=st.sampled_from(["cpu", "gpu", "new"]),
    labels=st.sampled_from([frozenset(), frozenset({"gpu"})]),
    memory=st.none() | st.integers(0, 20),
    serving=times,
    refused=st.frozensets(st.sampled_from(NAMES), max_size=1),
)


@st.composite
def clusters(draw: st.DrawFn) -> Snapshot:
    """Busy workers hold something; loading ones are not busy; who loads or holds several could."""
    stages = [replace(view, name=name) for name, view in zip(NAMES, draw(st.lists(views, max_size=5)), strict=False)]
    workers = []
    for number, view in enumerate(draw(st.lists(hands, max_size=7))):
        holds = view.holds[:1] if view.memory is None else view.holds
        loading = view.loading and bool(holds)
        workers.append(
            replace(
                view, name=f"w{number}", holds=holds, loading=loading, busy=view.busy and bool(holds) and not loading
            )
        )
    return Snapshot(stages=tuple(stages), workers=tuple(workers))


def may_hold(view: WorkerView, wanted: StageView) -> bool:
    return (
        not wanted.disabled
        and not wanted.quarantine
        and wanted.name not in view.refused
        and (not wanted.sharing.needs or wanted.sharing.needs in view.labels)
    )


@given(clusters())
def test_any_plan_can_be_carried_out(cluster: Snapshot) -> None:
    stages = {view.name: view for view in cluster.stages}
    workers = {view.name: view for view in cluster.workers}
    moves = plan(cluster)
    assert len({move.worker for move in moves}) == len(moves)
    for move in moves:
        view = workers[move.worker]
        assert not view.loading
        assert move.reason
        assert set(move.stages) != set(view.holds)
        assert all(name in stages and may_hold(view, stages[name]) for name in move.stages)
        if len(move.stages) > 1:
            assert view.memory is not None
            assert sum(stages[name].memory(view.kind) for name in move.stages) <= view.memory


@given(clusters())
def test_no_worker_idles_while_a_page_waits_that_nobody_serves(cluster: Snapshot) -> None:
    after = carried_out(cluster, plan(cluster))
    held = {name for view in after.workers for name in view.holds}
    waiting = {view.name: view for view in after.stages if view.waiting}
    for view in after.workers:
        if not view.loading and not view.busy and not any(name in waiting for name in view.holds):
            assert not [s.name for s in waiting.values() if s.name not in held and may_hold(view, s)]


@given(clusters())
def test_a_cluster_that_stands_still_is_left_alone_before_long(cluster: Snapshot) -> None:
    """Each round the loads are done and no page moves. What moved must not keep moving forever."""
    for _ in range(4 * (len(cluster.workers) + 1)):
        moves = plan(cluster)
        if not moves:
            return
        after = carried_out(cluster, moves)
        cluster = replace(after, workers=tuple(replace(view, loading=False) for view in after.workers))
    raise AssertionError("workers go round in circles")


@given(clusters(), st.randoms(use_true_random=False))
def test_the_order_in_which_the_cluster_is_told_does_not_matter_to_a_plan_twice(
    cluster: Snapshot, chance: random.Random
) -> None:
    assert plan(cluster) == plan(cluster)
    shuffled = list(cluster.workers)
    chance.shuffle(shuffled)
    assert sorted(plan(replace(cluster, workers=tuple(shuffled))), key=lambda move: move.worker) == sorted(
        plan(cluster), key=lambda move: move.worker
    )
