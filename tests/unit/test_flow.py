"""Estimates made from what was observed."""

from __future__ import annotations

import pytest

from pero_worker.stage import Cost
from pero_worker.watchdog.flow import Flow
from pero_worker.watchdog.learned import Learned
from pero_worker.watchdog.scenario import Scenario, StageModel, WorkerModel

ONWARD = {"a": {"b": 0.5}}


def watched(
    seconds: int, *, comes: float, done: float, waiting: float = 0.0, flow: Flow | None = None, at: int = 0
) -> Flow:
    """A stage `a` that is looked at every second, with pages that come and are done at steady rates."""
    flow = flow or Flow()
    for second in range(at, at + seconds):
        flow.seen(second, {"a": int(waiting)}, {"a": done}, {})
        waiting += comes - done
    return flow


def test_a_stream_is_found() -> None:
    assert watched(1800, comes=2.0, done=2.0).arrivals("a") == pytest.approx(2.0, rel=0.1)


def test_a_stream_that_is_not_served_is_found_by_its_queue() -> None:
    assert watched(1800, comes=2.0, done=0.0).arrivals("a") == pytest.approx(2.0, rel=0.1)


def test_a_heap_that_is_published_at_once_is_no_stream() -> None:
    flow = Flow()
    flow.seen(0, {"a": 0}, {}, {})
    for second in range(1, 450):
        flow.seen(second, {"a": 1000 - 2 * second}, {"a": 2.0}, {})
        assert flow.arrivals("a") < 2.0
    assert flow.arrivals("a") < 0.05


def test_a_stream_that_has_ended_is_forgotten_in_minutes() -> None:
    flow = watched(1800, comes=2.0, done=2.0)
    watched(300, comes=0.0, done=0.0, flow=flow, at=1800)
    assert flow.arrivals("a") < 0.05


def test_pages_from_the_stage_before_are_not_from_outside() -> None:
    flow = Flow()
    for second in range(1800):
        flow.seen(second, {"a": 10, "b": second}, {"a": 2.0}, ONWARD)
    assert flow.arrivals("a") == pytest.approx(2.0, rel=0.1)
    assert flow.arrivals("b") == pytest.approx(0.0, abs=0.1)


def test_nothing_is_known_of_a_stage_that_was_not_seen() -> None:
    assert Flow().arrivals("a") == 0.0


def test_looks_at_the_same_time_change_nothing() -> None:
    flow = watched(1800, comes=2.0, done=2.0)
    before = flow.arrivals("a")
    flow.seen(1799, {"a": 500}, {"a": 2.0}, {})
    assert flow.arrivals("a") == before


def test_a_stage_waits_from_when_its_pages_have_nobody() -> None:
    flow = Flow()
    assert flow.unserved(10.0, "a", waits=True) == 0.0
    assert flow.unserved(25.0, "a", waits=True) == 15.0
    assert flow.unserved(30.0, "a", waits=False) == 0.0
    assert flow.unserved(40.0, "a", waits=True) == 0.0


def test_averages_follow_what_is_measured() -> None:
    measured = Learned()
    measured.load("a", "cpu", 7.0, 100)
    measured.page("a", "cpu", 1.0, "b")
    measured.page("a", "cpu", 2.0, "")
    assert measured.costs("a") == {"cpu": Cost(seconds=pytest.approx(1.1), load_seconds=7.0, memory=100)}  # type: ignore[arg-type]
    assert measured.onward["a"] == {"b": pytest.approx(0.9)}
    assert measured.seconds("a", "gpu") is None


def test_what_is_known_beforehand_is_the_truth() -> None:
    pages = [(0.0, ("a", "b")), (0.0, ("a",)), (0.0, ("a", "b")), (0.0, ("a", "b"))]
    stages, workers = (
        [StageModel(name="a", seconds=2.0, load=5.0, memory=9), StageModel(name="b", seconds=1.0, load=5.0)],
        [WorkerModel(name="w", kind="gpu", speeds={"a": 4.0})],
    )
    known = Learned.beforehand(Scenario(stages=stages, workers=workers, pages=pages))
    assert known.costs("a") == {"gpu": Cost(seconds=0.5, load_seconds=5.0, memory=9)}
    assert known.onward["a"] == {"b": 0.75} and known.onward["b"] == {}
