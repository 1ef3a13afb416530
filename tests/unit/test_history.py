"""Earlier versions of a stage, as stored in ZooKeeper."""

from __future__ import annotations

import json
import random
import zlib
from datetime import UTC, datetime

import pytest

from pero_worker.wire.history import MAX_VERSIONS, StageVersion, decode_history, encode_history, withdrawn, without

V1 = StageVersion(
    version="1", config="[WORKER]\n", archive="m/1.tar", archive_digest="ab", since=datetime(2026, 1, 1, tzinfo=UTC)
)


def test_what_is_written_is_read() -> None:
    history = (V1, withdrawn(StageVersion(version="2", config="[WORKER]\nDUMMY=č\n")))
    assert decode_history(encode_history(history)) == history
    assert without(history, "1") == history[1:]


def test_the_oldest_are_forgotten_first_and_the_node_stays_small() -> None:
    many = [StageVersion(version=str(number), config="x") for number in range(15)]
    assert [one.version for one in decode_history(encode_history(many))] == [str(n) for n in range(5, 15)]
    assert MAX_VERSIONS == 10
    chance = random.Random(1)
    large = [
        StageVersion(version=str(number), config="".join(chance.choices("abcdefghijklmnop0123456789", k=400_000)))
        for number in range(4)
    ]
    value = encode_history(large)
    assert len(value) <= 500_000
    assert [one.version for one in decode_history(value)] == ["3"]


@pytest.mark.parametrize(
    "value",
    [
        b"",
        b"no zlib",
        zlib.compress(b"[" * 100_000),
        zlib.compress(b"{}"),
        zlib.compress(b"[" + b" " * 50_000_000 + b"]"),
        zlib.compress(json.dumps([{"version": 5, "config": "x"}, "x", {"version": "1"}]).encode()),
        encode_history([V1])[:-5],
    ],
)
def test_what_cannot_be_read_is_left_out(value: bytes) -> None:
    assert decode_history(value) == ()
