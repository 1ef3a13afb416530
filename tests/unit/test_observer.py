"""From nodes and queue lengths to what the policy sees."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from types import SimpleNamespace
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from pero_worker.cluster.registry import stages, workers
from pero_worker.cluster.registry.stages import StageRecord
from pero_worker.cluster.registry.workers import WorkerState
from pero_worker.stage import Cost
from pero_worker.testing import StandingClock
from pero_worker.watchdog.observer import Command, Observer
from pero_worker.watchdog.policy import PlanRule
from pero_worker.watchdog.snapshot import Snapshot
from pero_worker.wire.measured import Measured


class Cluster:
    """The queues and nodes of a test."""

    def __init__(self, *records: StageRecord) -> None:
        self.clock = StandingClock()
        self.records = list(records)
        self.waiting = dict.fromkeys((record.name for record in records), 0)
        self.states: dict[str, tuple[WorkerState, int]] = {}
        self.observer = Observer(self._lengths, self.clock)

    def _lengths(self, queues: Sequence[str]) -> dict[str, int]:
        return {name: self.waiting[name] for name in queues if name in self.waiting}

    def worker(self, name: str, status: str = "IDLE", version: int = 0, **values: Any) -> None:
        self.states[name] = (WorkerState(name=name, status=status, connected=True, **values), version)

    def look(self, **told: Command) -> Snapshot:
        return self.observer.take_snapshot(self.records, list(self.states.values()), told)


def test_a_worker_of_ours_says_what_it_is() -> None:
    cluster = Cluster(StageRecord(name="ocr", config="x"))
    facts = {"kind": "cuda", "labels": ["cuda", "big"], "memory": 1000}
    cluster.worker("w1", "PROCESSING", stages=("ocr", "layout"), takes_lists=True, facts=facts)
    (worker,) = cluster.look().workers
    assert (worker.holds, worker.busy, worker.loading) == (("ocr", "layout"), True, False)
    assert (worker.kind, worker.labels, worker.memory) == ("cuda", {"cuda", "big"}, 1000)


def test_a_worker_of_upstreams_holds_one_stage() -> None:
    cluster = Cluster(StageRecord(name="ocr", config="x"))
    cluster.worker("w1", "CONFIGURING", stages=("ocr",), facts={"memory": 1000})
    (worker,) = cluster.look().workers
    assert worker.memory is None and worker.loading and not worker.busy


def test_workers_that_cannot_be_told_anything_are_not_seen() -> None:
    cluster = Cluster(StageRecord(name="ocr", config="x"))
    cluster.worker("dead", "DEAD")
    cluster.worker("starting", "STARTING")
    cluster.worker("ending", enabled=False)
    cluster.worker("strange", "DANCING")
    cluster.worker("there")
    assert [worker.name for worker in cluster.look().workers] == ["there"]


def test_what_a_worker_was_told_counts_before_it_comes_back() -> None:
    cluster = Cluster(StageRecord(name="a", config="x"), StageRecord(name="b", config="x"))
    cluster.worker("w1", stages=("a",), version=4)
    (worker,) = cluster.look(w1=Command(stages=("b",), version=5)).workers
    assert worker.holds == ("b",) and worker.loading
    cluster.worker("w1", stages=("b",), version=5)
    (worker,) = cluster.look(w1=Command(stages=("b",), version=5)).workers
    assert worker.holds == ("b",) and not worker.loading


def test_it_is_known_how_long_a_worker_has_served() -> None:
    cluster = Cluster(StageRecord(name="a", config="x"), StageRecord(name="b", config="x"))
    cluster.worker("w1", stages=("a",))
    cluster.look()
    cluster.clock.seconds = 30.0
    assert cluster.look().workers[0].serving == 30.0
    cluster.worker("w1", stages=("b",))
    assert cluster.look().workers[0].serving == 0.0


def test_a_stage_without_a_queue_is_not_seen() -> None:
    cluster = Cluster(StageRecord(name="a", config="x"), StageRecord(name="b", config="x"))
    del cluster.waiting["b"]
    assert [stage.name for stage in cluster.look().stages] == ["a"]


def test_costs_are_what_was_measured_or_else_upstreams_average() -> None:
    measured = Measured(kinds={"cuda": Cost(seconds=0.5, load_seconds=3.0, memory=100)}, onward={"out": 1.0})
    cluster = Cluster(
        StageRecord(name="ours", config="x", measured=measured, mean_seconds=9.0),
        StageRecord(name="its", config="x", mean_seconds=4.0),
    )
    ours, its = cluster.look().stages
    assert ours.seconds("cuda") == 0.5 and ours.onward == {"out": 1.0}
    assert its.seconds("cuda") == 4.0


def test_pages_wait_since_it_was_written_down() -> None:
    began = StandingClock().start - timedelta(seconds=50)
    cluster = Cluster(StageRecord(name="a", config="x", waiting_since=began))
    assert cluster.look().stages[0].unserved == 50.0


def test_who_could_not_load_a_stage_is_not_sent_there_and_the_stage_is_set_apart_when_nobody_can() -> None:
    cluster = Cluster(StageRecord(name="a", config="x", version="1"))
    cluster.worker("w1", facts={"refused": {"a": "no model"}})
    cluster.worker("w2")
    seen = cluster.look()
    assert [worker.refused for worker in seen.workers] == [{"a"}, set()]
    assert seen.stages[0].quarantine == ""
    # Upstream's workers report it through their status.
    cluster.worker("w2", "CONFIGURATION_FAILED", stages=("a",), message="no model here either")
    cluster.worker("w1")
    assert cluster.look().stages[0].quarantine == "", "for a moment it is the status of the stage before"
    cluster.clock.seconds = 3.0
    assert cluster.look().stages[0].quarantine == "no model here either"
    cluster.records = [StageRecord(name="a", config="x", version="2")]
    cluster.worker("w2", stages=("a",))
    seen = cluster.look()
    assert seen.stages[0].quarantine == "" and not any(worker.refused for worker in seen.workers)


def test_facts_that_make_no_sense_do_no_harm() -> None:
    cluster = Cluster(StageRecord(name="a", config="x"))
    cluster.worker("w1", takes_lists=True, facts={"memory": "much", "labels": 5, "refused": [1], "kind": None})
    (worker,) = cluster.look().workers
    assert worker.memory is None and worker.labels == frozenset()


OURS = {"kind": "cpu", "refused": {}}


def test_a_store_that_is_away_is_no_reason_to_send_nobody() -> None:
    cluster = Cluster(StageRecord(name="a", config="x", version="1"))
    cluster.worker("w1", "CONFIGURATION_FAILED", stages=("a",), message="the store is away", facts={"kind": "cpu"})
    for second in (0.0, 3.0, 100.0):
        cluster.clock.seconds = second
        seen = cluster.look()
        assert not seen.workers[0].refused and not seen.stages[0].quarantine and not seen.stages[0].trouble


def test_a_worker_of_upstreams_tries_again_within_seconds() -> None:
    cluster = Cluster(StageRecord(name="a", config="x", version="1"))
    cluster.worker("w1", "CONFIGURATION_FAILED", stages=("a",))
    cluster.look()
    cluster.clock.seconds = 3.0
    assert cluster.look().workers[0].refused == {"a"}
    cluster.worker("w1", "CONFIGURATION_FAILED")
    cluster.clock.seconds = 8.0
    seen = cluster.look()
    assert not seen.workers[0].refused and not seen.stages[0].quarantine
    assert seen.stages[0].trouble == "it cannot be loaded", "nobody has loaded it yet"
    cluster.clock.seconds = 9.0
    cluster.worker("w1", "PROCESSING", stages=("a",))
    cluster.look()
    cluster.clock.seconds = 12.0
    assert cluster.look().stages[0].trouble == ""


def test_who_keeps_the_version_before_goes_on_and_what_is_wrong_is_known() -> None:
    cluster = Cluster(StageRecord(name="a", config="x", version="2"))
    facts = {**OURS, "stages": ["a"], "versions": {"a": "1"}, "refused": {"a": "cut off"}}
    for name in ("w1", "w2"):
        cluster.worker(name, stages=("a",), facts=facts)
    seen = cluster.look()
    assert not any(worker.refused for worker in seen.workers)
    assert (seen.stages[0].quarantine, seen.stages[0].trouble) == ("", "cut off")
    cluster.worker("w1", stages=("a",), facts={**OURS, "stages": ["a"], "versions": {"a": "2"}})
    assert cluster.look().stages[0].trouble == ""


def test_a_worker_that_loads_is_believed_for_as_long_as_loading_takes() -> None:
    slow = Measured(kinds={"cuda": Cost(load_seconds=20.0)})
    cluster = Cluster(StageRecord(name="quick", config="x"), StageRecord(name="slow", config="x", measured=slow))
    cluster.worker("w1", "CONFIGURING", stages=("quick",), facts=OURS)
    cluster.worker("w2", "CONFIGURING", stages=("slow",))
    for second, loading in ((0.0, [True, True]), (59.0, [True, True]), (61.0, [False, True]), (201.0, [False])):
        cluster.clock.seconds = second
        seen = cluster.look()
        assert [worker.loading for worker in seen.workers] == loading
        assert [worker.stuck for worker in seen.workers] == [not one for one in loading]
        assert cluster.observer.behind == (second > 60)
    cluster.worker("w1", "IDLE", stages=("quick",), facts=OURS)
    assert [(worker.name, worker.stuck) for worker in cluster.look().workers] == [("w1", False), ("w2", True)]


def test_a_command_that_never_comes_back_is_not_waited_for_for_ever() -> None:
    cluster = Cluster(StageRecord(name="a", config="x"))
    cluster.worker("w1", version=3, facts=OURS)
    told = {"w1": Command(stages=("a",), version=9)}
    assert cluster.look(**told).workers[0].loading
    cluster.clock.seconds = 11.0
    worker = cluster.look(**told).workers[0]
    assert worker.stuck and not worker.loading and cluster.observer.behind


def test_a_worker_that_is_idle_beside_its_pages_is_noticed_and_in_the_end_not_counted_on() -> None:
    cluster = Cluster(StageRecord(name="a", config="x"), StageRecord(name="b", config="x"))
    cluster.worker("w1", stages=("a",), facts=OURS)
    cluster.worker("w2", stages=("a", "b"), facts={**OURS, "refused": {"a": "cut off"}})
    cluster.waiting["a"] = 5
    cluster.look()
    cluster.clock.seconds = 31.0
    assert {worker.name: worker.stuck for worker in cluster.look().workers} == {"w1": True, "w2": False}
    cluster.clock.seconds = 151.0
    assert [worker.name for worker in cluster.look().workers] == ["w2"]
    cluster.worker("w1", stages=("a",), facts={**OURS, "pages": 1})
    assert [worker.name for worker in cluster.look().workers] == ["w1", "w2"]


def test_a_worker_of_upstreams_that_gave_up_is_told_to_go_on_for_as_long_as_it_takes() -> None:
    cluster = Cluster(StageRecord(name="a", config="x"))
    cluster.worker("its", "PROCESSING_FAILED", stages=("a",))
    cluster.worker("ours", "PROCESSING_FAILED", stages=("a",), facts=OURS)
    assert not any(worker.stuck for worker in cluster.look().workers)
    for second in (11.0, 1000.0):
        cluster.clock.seconds = second
        assert {worker.name: worker.stuck for worker in cluster.look().workers} == {"its": True, "ours": False}
    assert not cluster.observer.behind


def test_a_worker_of_upstreams_may_serve_a_stage_that_was_removed() -> None:
    cluster = Cluster(StageRecord(name="a", config="x"))
    cluster.worker("its", "PROCESSING", stages=("gone",))
    cluster.look()
    cluster.clock.seconds = 3.0
    assert [worker.busy for worker in cluster.look().workers] == [True]


NASTY = st.one_of(
    st.binary(max_size=60),
    st.sampled_from(
        [
            b"[" * 200_000,
            b"\x7f" * 200,
            b'{"kinds": {"cpu": {"seconds": 1e300, "load_seconds": 9e14, "memory": 9e300}}, "onward": {"a": 5, "b": 1}}',
            b'{"kinds": {"cpu": {"seconds": 0, "load_seconds": 1e7, "memory": 0}}, "onward": {"a": 1, "b": 1}}',
            b'{"share": 1e-300, "owner": "x", "needs": ""}',
            b'{"memory": 99999999999999999999, "labels": [null, []], "kind": {}, "refused": {"a": null}, "stages": [[]]}',
            b'{"memory": -1, "refused": {"a": "' + b"x" * 5000 + b'"}, "versions": {"a": []}, "stages": ["a", 5]}',
            b'{"memory": 1e308, "pages": NaN, "failures": "many", "versions": [], "stages": {"a": 1}}',
            b'["a", "b", "a", "../x"]',
            b"0x1p+1000",
            b"0x1p-1074",
            b"0001-01-01T00:00:00+23:59",
            b"9999-12-31T23:59:59-23:59",
            b"true",
            b"a",
            b"IDLE",
            b"PROCESSING",
            b"CONFIGURING",
        ]
    ),
)
Node = tuple[bytes, SimpleNamespace]


def nodes(leaves: Sequence[str]) -> st.SearchStrategy[dict[str, Node]]:
    stat = SimpleNamespace(cversion=1, mtime=0, version=3)
    return st.dictionaries(st.sampled_from(leaves), NASTY.map(lambda value: (value, stat)))


@given(
    st.lists(nodes(stages.LEAVES), min_size=2, max_size=2),
    st.lists(nodes(workers.LEAVES), min_size=1, max_size=3),
    st.integers(0, 10**9),
)
def test_a_plan_is_made_of_whatever_stands_in_zookeeper(
    found_stages: list[dict[str, Node]], found_workers: list[dict[str, Node]], waiting: int
) -> None:
    connected = {"status/connected": (b"true", SimpleNamespace(cversion=1, mtime=0, version=0))}
    cluster = Cluster(*(stages.record_from(name, found) for name, found in zip("ab", found_stages, strict=True)))
    cluster.waiting = dict.fromkeys(cluster.waiting, waiting)
    for number, found in enumerate(found_workers):
        enabled = {"enabled": (b"true", connected["status/connected"][1])}
        cluster.states[f"w{number}"] = (workers.state_from(f"w{number}", {**found, **enabled, **connected}), 3)
    for seconds in (0.0, 3.0, 500.0):
        cluster.clock.seconds = seconds
        seen = cluster.look()
        for move in PlanRule().decide(seconds, seen):
            assert {*move.stages} <= {"a", "b"}
            timedelta(seconds=10 * max((stage.load_seconds("") for stage in seen.stages), default=0.0))
