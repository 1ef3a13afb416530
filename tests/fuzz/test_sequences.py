"""Hostile input that is none by itself: requests that meet in one folder, values beside each other, indices past a table.

An error that ends the program, a crash, or a result that another one takes away is a finding.
"""

from __future__ import annotations

import pickle
import tempfile
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import patch

import numpy as np
import pytest
from fuzz.test_hostile import CASES, WHEN, many, mutated
from hypothesis import given, settings
from hypothesis import strategies as st

from pero_worker.clock import SystemClock
from pero_worker.cluster.pages.requestfolders import RequestFolders
from pero_worker.cluster.pages.resulttree import ResultTree
from pero_worker.cluster.problems import find_problems
from pero_worker.cluster.registry import stages, workers
from pero_worker.cluster.state import Look, StageState
from pero_worker.errors import OutputError, PageError, RequestError
from pero_worker.formats import pagexml
from pero_worker.jobs.outputs import OutputFolder
from pero_worker.page import Line, Page, Region
from pero_worker.request import Payload, Request, StageLog, StageStatus
from pero_worker.testing import StandingClock
from pero_worker.watchdog.observer import Observer
from pero_worker.watchdog.policy import PlanRule

fewer = settings(many, max_examples=max(CASES // 3, 50))
SQUARE = ((0.0, 0.0), (9.0, 0.0), (9.0, 9.0))
# Few, so that they meet: as path and as part of one, apart by case, by composition, by what is cleaned away.
NAMES = st.sampled_from(
    [
        *(
            "a",
            "A",
            "a/b",
            "a.txt",
            "a.txt/b",
            "a.page.xml",
            "a.page.xml/c",
            "é",
            "e\u0301",
            "../a",
            "/a",
            "a\0",
            "a\n",
        ),
        *("", "report.jsonl", ".pero-worker/lock", "x" * 250, "x" * 250 + "y", "/".join(["x" * 190] * 30), "CON"),
    ]
)


def request(number: int, uuid: str, page: str, source: str, result: str, *, job: bool, failed: bool) -> Request:
    """Its text is `text NUMBER` and nobody else's."""
    line = Line(id="l", baseline=SQUARE[:2], polygon=SQUARE, heights=(3.0, 1.0), text=f"text {number}", confidence=0.5)
    layout = Page(name="a.png", width=100, height=100, regions=(Region(id="r", polygon=SQUARE, lines=(line,)),))
    xml = pagexml.write(layout, created=WHEN, creator="fuzz")
    status = StageStatus.FAILED if failed else StageStatus.OK
    return Request(
        uuid=uuid,
        page_uuid=page,
        stages=("out",),
        results=(Payload(name=result, content=b"image"), Payload(name=f"{result}_page.xml", content=xml)),
        logs=(StageLog(host_id="w", stage="ocr", start=WHEN, end=WHEN, status=status, log="bad" if failed else ""),),
        source=source,
        job="job" if job else "",
    )


@st.composite
def requests(draw: st.DrawFn) -> Sequence[Request]:
    return [
        request(number, *(draw(NAMES) for _ in range(4)), job=draw(st.booleans()), failed=draw(st.booleans()))
        for number in range(draw(st.integers(2, 6)))
    ]


def texts_in(folder: Path) -> str:
    return "\n".join(
        path.read_text("utf-8", "replace")
        for path in folder.rglob("*")
        if path.is_file() and path.name != "report.jsonl"
    )


@fewer
@given(requests(), st.sets(st.integers(0, 5)))
def test_requests_that_meet_in_one_folder(sent: Sequence[Request], commits: set[int]) -> None:
    for make in (RequestFolders, lambda path: ResultTree(OutputFolder(path), ("page", "text"), SystemClock())):
        with tempfile.TemporaryDirectory() as name, patch("os.fsync"):
            home = Path(name) / "deep" / "in"
            layout: Any = make(home)
            there = set()
            for number, one in enumerate(sent):
                try:
                    written = layout.write(one, f"body {number}".encode())
                except (PageError, RequestError) as error:
                    assert not isinstance(error, OutputError)
                    continue
                if written is not None and not one.failed:
                    there.add(f"text {number}")
                if number in commits:
                    layout.seal()()
            layout.close()
            found = texts_in(home)
            assert {text for text in there if text not in found} == set(), "what was taken for done is there"
            outside = [path for path in Path(name).rglob("*") if path.is_file() and not path.is_relative_to(home)]
            assert not outside


VALUES = mutated(
    (
        b'{"version": 1, "kinds": {"cpu": {"seconds": 1.5, "load": 2}}, "onward": {"b": 0.5}}',
        b'{"owner": "x", "share": 3, "needs": "cuda"}',
        b'{"version": "1", "reason": "no", "since": "2026-11-24T16:51:02+00:00"}',
        b'{"memory": 1000, "labels": ["a"], "versions": {"a": "1"}, "refused": {"b": "why"}, "stages": ["a"]}',
        b"0x1.9cccccccccccdp-2",
        b"2026-11-24T16:51:02.116297+00:00",
        b"true",
        b"PROCESSING",
        b"a\0b",
        b"[" * 5000,
        b"9" * 400,
        b"-1e308",
        b"\x7f" * 8,
    )
)


def nodes(leaves: Sequence[str]) -> st.SearchStrategy[dict[str, tuple[bytes, Any]]]:
    stat = SimpleNamespace(cversion=1, version=3, mtime=1, last_modified=1.0, last_modified_transaction_id=1)
    return st.dictionaries(st.sampled_from(leaves), VALUES.map(lambda value: (value, stat)), max_size=len(leaves))


@many
@given(
    st.lists(nodes(stages.LEAVES), min_size=2, max_size=2),
    st.lists(nodes(workers.LEAVES), max_size=3),
    st.lists(st.integers(0, 10**9), min_size=2, max_size=2),
)
def test_what_stands_in_zookeeper_is_planned_with_and_told(
    found_stages: list[Any], found_workers: list[Any], waiting: list[int]
) -> None:
    clock = StandingClock()
    lengths = dict(zip("ab", waiting, strict=True))
    observer = Observer(lambda names: {name: lengths[name] for name in names if name in lengths}, clock)
    records = [stages.record_from(name, found) for name, found in zip("ab", found_stages, strict=True)]
    states = [(workers.state_from(f"w{number}", found), 3) for number, found in enumerate(found_workers)]
    for seconds in (1.0, 20.0, 200.0):
        clock.sleep(seconds)
        seen = observer.take_snapshot(records, states, {})
        for move in PlanRule().decide(clock.monotonic(), seen):
            assert {*move.stages} <= {"a", "b"}
    shown = tuple(
        StageState(
            name=record.name,
            messages=lengths[record.name],
            workers=0,
            mean_seconds=record.mean_seconds,
            waiting_since=record.waiting_since,
            last_page=record.last_page,
        )
        for record in records
    )
    find_problems(Look(leader="x", stages=shown, workers=tuple(state for state, _ in states)), datetime.now(UTC))


@many
@given(st.data())
def test_logits_that_point_past_their_table(data: st.DataObject) -> None:
    """A matrix whose parts are changed by themselves: what is accepted can be used."""
    sparse = pytest.importorskip("scipy.sparse")
    from pero_worker.engines.pero.logits import load_logits  # noqa: PLC0415 - needs the engine's packages

    matrix = sparse.csc_matrix(np.eye(5, 4, dtype=np.float32))
    part = data.draw(st.sampled_from(("data", "indices", "indptr", "_shape", "characters", "coords")))
    number = data.draw(st.sampled_from((-1, 0, 4, 5, 2**31 - 1, -(2**31))))
    content: dict[str, Any] = {"l": matrix, "line_characters": {"l": list("abcd")}, "logit_coords": {"l": [0, 5]}}
    if part in {"data", "indices", "indptr"}:
        values = getattr(matrix, part).copy()
        values[data.draw(st.integers(0, len(values) - 1))] = number
        setattr(matrix, part, values[: data.draw(st.integers(0, len(values)))] if data.draw(st.booleans()) else values)
    elif part == "_shape":
        matrix._shape = (number, data.draw(st.sampled_from((4, 0, -1, 10**9))))
    elif part == "characters":
        content["line_characters"]["l"] = list("abcd")[: data.draw(st.integers(0, 4))]
    else:
        content["logit_coords"]["l"] = [number, data.draw(st.sampled_from((None, -1, 10**9, "x")))]
    try:
        lines = load_logits(pickle.dumps(content))
    except PageError:
        return
    for line in lines.values():
        again = sparse.csc_matrix((line.data, line.indices, line.indptr), shape=line.shape)
        again.check_format(full_check=True)
        assert again.toarray().shape[1] <= len(line.characters or ())
