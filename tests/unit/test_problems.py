"""What an operator is told about a cluster, from one look at it."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from pero_worker.cluster.problems import find_problems
from pero_worker.cluster.registry.workers import WorkerState
from pero_worker.cluster.state import ClusterState, Look, Problem, Severity, StageState

NOW = datetime(2026, 3, 1, 3, 0, tzinfo=UTC)
IDLE = WorkerState(name="w1", status="IDLE", connected=True, facts={"labels": ["cpu"]})


def problems(*stages: StageState, workers: tuple[WorkerState, ...] = (IDLE,), **more: Any) -> tuple[Problem, ...]:
    look = Look(stages=stages, workers=workers, **{"leader": "dog", **more})
    return find_problems(look, NOW)


def stage(**facts: Any) -> StageState:
    return StageState(**{"name": "ocr", "messages": 16, "workers": 1, **facts})


def ago(seconds: float) -> datetime:
    return NOW - timedelta(seconds=seconds)


def test_a_cluster_that_works_has_no_problem() -> None:
    assert problems(stage(last_page=ago(3)), stage(name="empty", messages=0, workers=0)) == ()


def test_a_stage_that_cannot_be_loaded_says_why_and_since_when() -> None:
    (found,) = problems(stage(workers=0, trouble="the archive is cut short", trouble_since=ago(600)))
    assert found.severity is Severity.CRITICAL and found.since == ago(600)
    assert "the archive is cut short" in found.text and "rollback ocr" in found.remedy


def test_a_version_that_fails_beside_one_that_works_is_a_warning() -> None:
    (found,) = problems(stage(workers=1, trouble="truncated"))
    assert found.severity is Severity.WARNING


@pytest.mark.parametrize("workers", [(), (WorkerState(name="w1", status="DEAD"),)])
def test_pages_without_any_worker(workers: tuple[WorkerState, ...]) -> None:
    (found,) = problems(stage(workers=0, waiting_since=ago(99)), workers=workers)
    assert "there is no worker, and 16 pages wait" in found.text and found.since == ago(99)
    assert problems(stage(workers=0, messages=0), workers=workers) == ()


def test_a_label_that_no_worker_has() -> None:
    (found,) = problems(stage(workers=0, needs="cuda"))
    assert found.text == "not served: no worker has the label cuda" and "--label cuda" in found.remedy
    gpu = WorkerState(name="w2", status="IDLE", connected=True, facts={"labels": ["cuda"]})
    assert problems(stage(workers=0, needs="cuda"), workers=(IDLE, gpu)) == ()


@pytest.mark.parametrize(
    ("mean", "idle", "stands"), [(1.0, 61, True), (1.0, 59, False), (30.0, 299, False), (30.0, 301, True)]
)
def test_a_queue_that_stands_still(mean: float, idle: float, stands: bool) -> None:
    found = problems(stage(mean_seconds=mean, last_page=ago(idle)))
    assert [problem.since for problem in found] == ([ago(idle)] if stands else [])
    assert problems(stage(mean_seconds=mean, last_page=ago(idle), messages=0)) == ()


FAILING = {"labels": ["cpu"], "failing": {"since": ago(28).isoformat(), "text": "the store is away\nmore"}}


def test_workers_that_cannot_begin_leave_their_stage_standing_still() -> None:
    """A store that is away is no fault of the stage; since when is told although they try again and again."""
    for status in ("CONFIGURATION_FAILED", "CONFIGURING"):
        stuck = WorkerState(name="w1", status=status, connected=True, stages=("ocr",), since=ago(2), facts=FAILING)
        (found, *_) = problems(stage(), workers=(stuck,))
        assert (found.severity, found.subject, found.since) == (Severity.CRITICAL, "stage ocr", ago(28))
        assert found.text == "not served: 16 pages wait, and its workers cannot begin: the store is away"
        works = replace(IDLE, name="w2", stages=("ocr",))
        assert not any(one.subject == "stage ocr" for one in problems(stage(), workers=(stuck, works)))
        assert not any(one.subject == "stage ocr" for one in problems(stage(messages=0), workers=(stuck,)))
    for nonsense in (3, {}, {"since": "x", "text": ""}, {"since": "2026-01-01T00:00:00", "text": 7}):
        odd = WorkerState(name="w1", status="CONFIGURING", stages=("ocr",), facts={"failing": nonsense})
        assert all(one.since is None for one in problems(stage(), workers=(odd,)))


def test_a_stage_that_idle_workers_were_told_of_and_do_not_hold() -> None:
    """Its store is away, and another of their stages is served: nothing else on the screen would say so."""
    told = replace(IDLE, stages=("lay", "ocr"), facts={"stages": ["lay"]})
    (found,) = problems(stage(waiting_since=ago(9)), workers=(told,))
    assert found.severity is Severity.CRITICAL and found.since == ago(9)
    assert found.text == "not served: 16 pages wait, and no worker has been able to load it"
    for other in (
        replace(told, status="CONFIGURING"),
        replace(told, status="PROCESSING"),
        replace(told, facts={"stages": ["lay", "ocr"]}),
        replace(told, facts={"stages": 3}),
        replace(told, facts={}),
    ):
        assert problems(stage(last_page=ago(3)), workers=(told, other)) == ()
    assert problems(stage(messages=0), workers=(told,)) == ()


def test_pages_that_nobody_will_fetch_make_a_missing_watchdog_worse() -> None:
    (found,) = problems(stage(workers=0), leader="")
    assert (found.severity, found.subject) == (Severity.CRITICAL, "watchdog")
    (found,) = problems(stage(workers=1, last_page=ago(3)), leader="")
    assert found.severity is Severity.WARNING


def test_pages_have_no_worker_since_the_last_one_went() -> None:
    """This is for clusters where no watchdog has noted it."""
    gone = (
        WorkerState(name="w1", status="ZK_CONNECTION_FAILED", since=ago(8)),
        WorkerState(name="w2", status="DEAD", since=ago(80)),
    )
    assert problems(stage(workers=0), workers=gone)[0].since == ago(8)


@pytest.mark.parametrize(
    ("alarms", "texts"),
    [
        (("low on disk",), ["low on disk"]),
        (("low on memory",), ["low on memory"]),
        (("low on memory & disk",), ["low on disk", "low on memory"]),
        (("low on disk", "low on memory"), ["low on disk", "low on memory"]),
        (("low on <b>ideas",), ["takes no more pages (low on <b>ideas)"]),
    ],
)
def test_each_alarm_of_rabbitmq_is_told(alarms: tuple[str, ...], texts: list[str]) -> None:
    found = problems(alarms=alarms)
    assert len(found) == len(texts)
    assert all(text in one.text for text, one in zip(texts, found, strict=True))


def test_a_killed_worker_is_told_from_one_that_was_stopped() -> None:
    gone = WorkerState(name="w2", status="ZK_CONNECTION_FAILED", since=ago(8))
    stopped = WorkerState(name="w3", status="DEAD", since=ago(8))
    (found,) = problems(workers=(IDLE, gone, stopped))
    assert found.subject == "worker w2" and "killed" in found.text and found.since == ago(8)
    assert (gone.word, stopped.word) == ("gone", "stopped")


def test_an_alarm_of_rabbitmq_comes_before_all_else() -> None:
    found = problems(alarms=("low on disk",), dead_letters=1)
    assert [problem.subject for problem in found] == ["RabbitMQ", "pero.dead"]
    assert "low on disk" in found[0].text and "make room" in found[0].remedy
    assert found[1].text == "1 unusable message"


def test_a_server_that_is_away_blames_no_stage() -> None:
    (found,) = problems(stage(messages=None), away=(("RabbitMQ", "connection refused"),))
    assert found.subject == "RabbitMQ" and "connection refused" in found.text
    (found,) = problems(stage(messages=None))
    assert "has no queue" in found.text


def test_no_watchdog_and_a_disabled_stage_that_pages_wait_for() -> None:
    assert {problem.subject for problem in problems(stage(disabled=True), leader="")} == {"watchdog", "stage ocr"}
    assert problems(leader="") == ()


def test_the_severity_of_a_state_is_that_of_its_worst_problem() -> None:
    look = Look(stages=(stage(workers=0),), dead_letters=2)
    assert ClusterState(look=look, problems=find_problems(look, NOW)).severity is Severity.CRITICAL
    assert ClusterState(look=Look(), problems=()).severity is Severity.OK


def test_values_that_make_no_sense_are_named() -> None:
    evil = WorkerState(name="evil", status="DEAD", unreadable=("info",))
    found = problems(stage(last_page=ago(3), unreadable=("measured",)), workers=(IDLE, evil))
    assert [(one.severity, one.subject) for one in found] == [(Severity.WARNING, "ZooKeeper")] * 2
    assert "/pero/queue/ocr/measured" in found[0].text and "/pero/worker/status/evil/info" in found[1].text


def test_what_happened_in_the_future_shows_a_wrong_clock() -> None:
    for there in ({"last_page": ago(-3600)}, {"waiting_since": ago(-3600)}):
        (found,) = problems(stage(**there))
        assert found.subject == "clocks" and "3600 s or more behind" in found.text and "NTP" in found.remedy
    (found,) = problems(stage(last_page=ago(3)), workers=(replace(IDLE, since=ago(-90)),))
    assert found.subject == "clocks"
    assert problems(stage(last_page=ago(-2)), workers=(replace(IDLE, since=ago(-30)),)) == ()
