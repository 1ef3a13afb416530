"""Stages that workers could not load."""

from __future__ import annotations

import pytest

from pero_worker.watchdog.refusals import MAX_FORGET_AFTER_SECONDS, Refusals, quarantine

W1 = {"w1": 15.0}


def test_a_refusal_is_remembered_for_a_while_and_for_one_version() -> None:
    refusals = Refusals()
    refusals.note("w1", "ocr", "1", "no such file", 100.0)
    assert refusals.of_stage("ocr", "1", 101.0, W1) == {"w1": "no such file"}
    assert refusals.of_stage("layout", "1", 101.0, W1) == {}
    assert refusals.of_stage("ocr", "1", 115.0, W1) == {}
    refusals.note("w1", "ocr", "1", "no such file", 1000.0)
    assert refusals.of_stage("ocr", "1", 1001.0, W1) == {"w1": "no such file"}
    assert refusals.of_stage("ocr", "2", 1001.0, W1) == {}


def test_the_same_refusal_seen_again_is_no_new_one() -> None:
    refusals = Refusals()
    refusals.note("w1", "ocr", "1", "broken", 0.0)
    refusals.note("w1", "ocr", "1", "broken", 14.0)
    assert refusals.of_stage("ocr", "1", 15.0, W1) == {}


@pytest.mark.parametrize(("tries", "wait"), [(1, 30.0), (2, 60.0), (4, 240.0), (9, MAX_FORGET_AFTER_SECONDS)])
def test_who_has_other_work_is_sent_there_ever_more_rarely(tries: int, wait: float) -> None:
    refusals, now = Refusals(), 0.0
    for _ in range(tries - 1):
        refusals.note("w1", "ocr", "1", "broken", now)
        now += MAX_FORGET_AFTER_SECONDS
        assert refusals.of_stage("ocr", "1", now, W1, {"w1"}) == {}
    refusals.note("w1", "ocr", "1", "broken", now)
    assert refusals.of_stage("ocr", "1", now + wait - 1, W1, {"w1"}) == {"w1": "broken"}
    assert refusals.of_stage("ocr", "1", now + wait, W1, {"w1"}) == {}


def test_a_worker_that_is_gone_has_refused_nothing() -> None:
    refusals = Refusals()
    refusals.note("w1", "ocr", "1", "broken", 0.0)
    assert refusals.of_stage("ocr", "1", 1.0, {}) == {}
    assert refusals.of_stage("ocr", "1", 1.0, W1) == {}


def test_why_a_stage_cannot_be_loaded_is_known_until_somebody_has_loaded_it() -> None:
    refusals = Refusals()
    assert refusals.trouble("ocr", "1") == ""
    refusals.note("w1", "ocr", "1", "no such file", 0.0)
    refusals.note("w2", "ocr", "1", "cut off", 1.0)
    refusals.of_stage("ocr", "1", 100.0, {**W1, "w2": 15.0})
    assert refusals.trouble("ocr", "1") == "cut off"
    assert refusals.trouble("ocr", "2") == ""
    refusals.note_loaded("ocr", "1", since=0.5)
    assert refusals.trouble("ocr", "1") == "cut off", "that worker has still loaded the version before"
    refusals.note_loaded("ocr", "1")
    assert refusals.trouble("ocr", "1") == ""


def test_two_that_cannot_and_none_that_can_are_enough() -> None:
    workers = {"w1", "w2", "w3"}
    assert quarantine({"w1": "bad"}, workers, set()) == ""
    assert quarantine({"w1": "bad", "w2": "bad"}, workers, set()) == "bad"
    assert quarantine({"w1": "bad", "w2": "bad"}, workers, {"w3"}) == ""
    assert quarantine({"w1": "bad", "gone": "bad"}, workers, set()) == ""


def test_the_only_worker_is_enough_where_there_is_but_one() -> None:
    assert quarantine({"w1": "bad"}, {"w1"}, set()) == "bad"
    assert quarantine({"w1": ""}, {"w1"}, set()) == "it cannot be loaded"
    assert quarantine({}, set(), set()) == ""
