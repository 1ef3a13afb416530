"""What the watchdog wrote down of its moves, as whoever looks reads it."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

import pytest

from pero_worker.cluster.registry.moves import MAX_MOVES, moves_from
from pero_worker.cluster.state import Look
from pero_worker.cluster.telling import moves

NOW = datetime(2026, 11, 25, 12, tzinfo=UTC)
GOOD = {"when": (NOW - timedelta(minutes=3)).isoformat(), "worker": "w1", "stages": ["ocr"], "reason": "it is idle"}


def test_the_newest_move_is_told_first() -> None:
    many = [{**GOOD, "worker": f"w{number}"} for number in range(50)]
    found = moves_from(json.dumps({"moves": many}).encode())
    assert len(found) == MAX_MOVES
    assert moves(Look(moves=found), NOW, 2) == [f"3 min ago: w{number} holds ocr: it is idle" for number in (49, 48)]


@pytest.mark.parametrize(
    "nonsense",
    [
        b"", b"{", b"[1]", b'{"moves": 3}', b'{"moves": [1, null, [], {}, {"when": "x"}]}',
        json.dumps({"moves": [{**GOOD, "when": "2026-11-25T12:00:00"}, {**GOOD, "stages": 3}]}).encode(),
    ],
)  # fmt: skip
def test_what_makes_no_sense_is_left_out(nonsense: bytes) -> None:
    assert moves_from(nonsense) == ()


def test_texts_are_bounded() -> None:
    (found,) = moves_from(json.dumps({"moves": [{**GOOD, "reason": "x" * 10_000, "stages": ["s"] * 100}]}).encode())
    assert len(found.reason) <= 500 and len(found.stages) <= MAX_MOVES
