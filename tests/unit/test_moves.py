"""The watchdog's record of its moves, as a reader sees it."""

from __future__ import annotations

import json
import math
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from pero_worker.cluster.registry.moves import MAX_MOVES, moves_from
from pero_worker.cluster.state import Look
from pero_worker.cluster.telling import moves
from pero_worker.messages import said, to_plain

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


WHY = said("stage_then", stage="ocr", pages=said("pages", n=1), doing=said("done_in", seconds=2.0), load=1.5)


def test_reasons_come_back_as_they_were_said() -> None:
    (found,) = moves_from(json.dumps({"moves": [{**GOOD, "why": [to_plain(WHY)]}]}).encode())
    assert found.why == (WHY,) and str(found.why[0]) == "ocr: 1 page, done in 2 s, 1.5 s to load"


DEEP: dict[str, Any] = {"kind": "name", "values": {"name": "x"}}
for _ in range(9):
    DEEP = {"kind": "name", "values": {"name": DEEP}}


@pytest.mark.parametrize(
    "why",
    [
        3, [3], [{}], [{"kind": "nobody", "values": {}}], [{"kind": "name", "values": {}}], [DEEP], [to_plain(WHY), 3],
        [{"kind": "name", "values": {"name": [1]}}], [{"kind": "done_in", "values": {"seconds": "soon"}}],
        [{"kind": "done_in", "values": {"seconds": None}}], [{"kind": "name", "values": {str(n): 1 for n in range(99)}}],
        [to_plain(said("done_in", seconds=math.inf))], [{"kind": ["name"], "values": {"name": 1}}],
    ],
)  # fmt: skip
def test_a_reason_that_cannot_be_said_stays_as_it_is_written(why: Any) -> None:
    (found,) = moves_from(json.dumps({"moves": [{**GOOD, "why": why}]}).encode())
    assert found.why == () and found.reason == "it is idle"


def test_texts_are_bounded() -> None:
    (found,) = moves_from(json.dumps({"moves": [{**GOOD, "reason": "x" * 10_000, "stages": ["s"] * 100}]}).encode())
    assert len(found.reason) <= 500 and len(found.stages) <= MAX_MOVES
