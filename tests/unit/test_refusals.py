"""Stages that workers could not load."""

from __future__ import annotations

from pero_worker.watchdog.refusals import FORGET_AFTER_SECONDS, Refusals, quarantine


def test_a_refusal_is_remembered_for_a_while_and_for_one_version() -> None:
    refusals = Refusals()
    refusals.note("w1", "ocr", "1", "no such file", 100.0)
    assert refusals.of_stage("ocr", "1", 101.0) == {"w1": "no such file"}
    assert refusals.of_stage("layout", "1", 101.0) == {}
    assert refusals.of_stage("ocr", "1", 100.0 + FORGET_AFTER_SECONDS) == {}
    refusals.note("w1", "ocr", "1", "no such file", 1000.0)
    assert refusals.of_stage("ocr", "2", 1001.0) == {}


def test_the_same_refusal_seen_again_is_no_new_one() -> None:
    refusals = Refusals()
    refusals.note("w1", "ocr", "1", "broken", 0.0)
    refusals.note("w1", "ocr", "1", "broken", FORGET_AFTER_SECONDS - 1)
    assert refusals.of_stage("ocr", "1", FORGET_AFTER_SECONDS) == {}


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
