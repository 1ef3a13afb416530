from __future__ import annotations

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from pero_worker.watchdog.policy import Move, StageView, WorkerView, plan, unlock_time

NOW = datetime(2026, 11, 24, tzinfo=UTC)


def moved(*moves: Move) -> dict[str, str]:
    return {move.worker: move.stage for move in moves}


def test_free_workers_go_where_most_work_waits_each_counted() -> None:
    stages = [StageView("a", 100, 1.0), StageView("b", 40, 1.0)]
    decided = plan(stages, [WorkerView("1"), WorkerView("2"), WorkerView("3")], NOW)
    assert sorted(moved(*decided.moves).values()) == ["a", "a", "b"]


def test_a_worker_on_its_way_counts() -> None:
    stages = [StageView("a", 10, 1.0), StageView("b", 6, 1.0)]
    decided = plan(stages, [WorkerView("1", "a", loading=True), WorkerView("2")], NOW)
    assert moved(*decided.moves) == {"2": "b"}


def test_nothing_moves_while_all_have_work() -> None:
    stages = [StageView("a", 10, 1.0), StageView("b", 1000, 1.0)]
    decided = plan(stages, [WorkerView("1", "a", busy=True), WorkerView("2", "b", busy=True)], NOW)
    assert decided.moves == ()


def test_a_stage_that_nobody_serves_begins_to_wait_and_gets_a_worker_whose_turn_is_over() -> None:
    stages = [StageView("a", 10, 1.0), StageView("b", 5, 1.0)]
    locked = WorkerView("1", "a", busy=True, unlock_time=NOW + timedelta(seconds=5))
    first = plan(stages, [locked], NOW)
    assert first.moves == () and first.waiting_since == (("b", NOW),)
    later = NOW + timedelta(seconds=6)
    waiting = [stages[0], StageView("b", 5, 1.0, waiting_since=NOW)]
    second = plan(waiting, [locked], later)
    assert moved(*second.moves) == {"1": "b"}
    assert second.waiting_since == (("a", later), ("b", None))


def test_disabled_stages_get_nobody() -> None:
    assert plan([StageView("a", 10, disabled=True)], [WorkerView("1")], NOW).moves == ()


def test_priority_speaks_for_a_stage_that_waits() -> None:
    since = NOW - timedelta(seconds=100)
    stages = [
        StageView("bulk", 500, 1.0, waiting_since=since),
        StageView("urgent", 1, 1.0, priority=9, waiting_since=since),
    ]
    assert moved(*plan(stages, [WorkerView("1")], NOW).moves) == {"1": "urgent"}


def test_a_worker_is_not_sent_back_to_what_it_could_not_load() -> None:
    stages = [StageView("bad", 100, 1.0), StageView("good", 1, 1.0)]
    assert moved(*plan(stages, [WorkerView("1", "bad", failed=True)], NOW).moves) == {"1": "good"}
    assert plan(stages[:1], [WorkerView("1", "bad", failed=True)], NOW).moves == ()


def test_a_turn_is_ten_pages_and_ten_seconds() -> None:
    assert unlock_time(StageView("a", 1, 2.0), NOW) == NOW + timedelta(seconds=30)


@given(
    st.lists(st.tuples(st.integers(0, 50), st.floats(0.001, 100), st.booleans()), max_size=6),
    st.lists(st.tuples(st.integers(0, 6), st.booleans(), st.booleans(), st.booleans()), max_size=8),
)
def test_any_plan_is_one_that_can_be_carried_out(
    queues: list[tuple[int, float, bool]], hands: list[tuple[int, bool, bool, bool]]
) -> None:
    stages = [StageView(f"s{i}", n, seconds, disabled=off) for i, (n, seconds, off) in enumerate(queues)]
    workers = [
        WorkerView(f"w{i}", f"s{s}", busy, loading, failed) for i, (s, busy, loading, failed) in enumerate(hands)
    ]
    decided = plan(stages, workers, NOW)
    open_stages = {stage.name for stage in stages if stage.messages and not stage.disabled}
    assert len({move.worker for move in decided.moves}) == len(decided.moves)
    assert {move.stage for move in decided.moves} <= open_stages
    for worker in workers:
        idle = not (worker.busy or worker.loading or worker.failed) and worker.stage not in open_stages
        if idle and open_stages:
            assert worker.name in {move.worker for move in decided.moves}, "a worker idles while a page waits"
