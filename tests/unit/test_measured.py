"""What workers measure about a stage, as stored in ZooKeeper."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pero_worker.coordinators.writebehind import next_pause
from pero_worker.stage import Cost
from pero_worker.wire.measured import Measured, decode_measured, encode_measured


def test_the_golden_value() -> None:
    measured = Measured(kinds={"cpu": Cost(seconds=1.5, load_seconds=4.0, memory=300)}, onward={"ocr": 1.0})
    assert encode_measured(measured) == (
        b'{"kinds": {"cpu": {"load_seconds": 4.0, "memory": 300, "seconds": 1.5}}, "onward": {"ocr": 1.0}}'
    )
    assert decode_measured(encode_measured(measured)) == measured


def test_a_new_mean_counts_half() -> None:
    measured = Measured().with_pages("cpu", 2.0, {"ocr": 10}).with_pages("cpu", 1.0, {"ocr": 5, "out": 5})
    assert measured.kinds["cpu"].seconds == 1.5
    assert measured.onward == {"ocr": 0.75, "out": 0.25}


def test_kinds_are_measured_apart() -> None:
    measured = Measured().with_pages("cpu", 2.0, {}).with_load("cuda", 30.0, 1000).with_load("cuda", 10.0, 2000)
    assert measured.kinds == {"cpu": Cost(seconds=2.0), "cuda": Cost(load_seconds=20.0, memory=1500)}


def test_a_way_that_pages_take_no_more_is_forgotten() -> None:
    measured = Measured(onward={"old": 1.0})
    for _ in range(8):
        measured = measured.with_pages("cpu", 1.0, {"new": 10})
    assert list(measured.onward) == ["new"]


@pytest.mark.parametrize(
    "value",
    [
        b"",
        b"{",
        b"[]",
        b'{"kinds": 5, "onward": []}',
        b"[" * 5000,
        b" " * 200_000 + b'{"kinds": {"cpu": {"seconds": 1}}}',
    ],
)
def test_what_cannot_be_read_was_not_measured(value: bytes) -> None:
    assert decode_measured(value) == Measured()


@pytest.mark.parametrize("wrong", ["x", None, True, -1, 1e300, 9e15, float("nan"), 10**400, [1], {"a": 1}])
def test_what_is_no_number_was_not_measured(wrong: object) -> None:
    value = json.dumps(
        {"kinds": {"cpu": {"seconds": wrong, "load_seconds": 2, "memory": wrong}}, "onward": {"a": wrong}}
    )
    assert decode_measured(value.encode()) == Measured(kinds={"cpu": Cost(load_seconds=2.0)})
    nan = b'{"kinds": {"cpu": {"seconds": NaN}}, "onward": {"a": Infinity}}'
    assert decode_measured(nan) == Measured(kinds={"cpu": Cost()})


@given(st.binary(max_size=300) | st.text(max_size=100).map(str.encode))
def test_any_bytes_can_be_read(value: bytes) -> None:
    decode_measured(value)


def test_nothing_takes_longer_than_can_be() -> None:
    value = json.dumps({"kinds": {"cpu": {"seconds": 9e14, "load_seconds": 9e14}}, "onward": {"a": 1e9}}).encode()
    assert decode_measured(value) == Measured(kinds={"cpu": Cost()})


def test_what_stays_the_same_is_told_ever_more_rarely() -> None:
    """Each report wakes the watchdog, and costs ZooKeeper four writes per worker."""
    pauses = [pause := next_pause(1.0, is_urgent=True)]
    pauses += [pause := next_pause(pause, is_urgent=False) for _ in range(5)]
    assert pauses == [1, 2, 4, 8, 8, 8]
    assert next_pause(pause, is_urgent=True) == 1
