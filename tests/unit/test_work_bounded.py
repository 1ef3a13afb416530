"""Work on a message grows as the message does: counted, not timed."""

from __future__ import annotations

import math
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from pero_worker.cluster.pages.filenames import FileNames
from pero_worker.errors import RequestError
from pero_worker.formats import alto, hocr, words
from pero_worker.formats.xmltext import Ids
from pero_worker.page import Line, Page, Region
from pero_worker.request import Payload, Request, StageLog, StageStatus
from pero_worker.wire import message_pb2 as pb
from pero_worker.wire.requests import MAX_LOGS, MAX_RESULTS, decode_request, encode_request

WHEN = datetime(2026, 1, 2, tzinfo=UTC)
LOG = StageLog(host_id="w", stage="s", start=WHEN, end=WHEN, status=StageStatus.OK)


class Counting(set):  # type: ignore[type-arg]
    """A set that counts how often it was asked."""

    asked = 0

    def __contains__(self, item: object) -> bool:
        self.asked += 1
        return super().__contains__(item)


@pytest.mark.parametrize(
    "wanted",
    [
        ["same"] * 3000,
        ["", *[f"line{number:04d}" for number in range(3000, 0, -1)], *[""] * 3000],
        [*[f"line{number:04d}" for number in range(1, 3000)], *["line0001"] * 3000],
    ],
)
def test_ids_are_given_out_in_one_go(wanted: list[str]) -> None:
    ids = Ids()
    ids._taken = Counting()
    given = [ids.take(name, "line") for name in wanted]
    assert len(set(given)) == len(given)
    assert ids._taken.asked < 5 * len(wanted)


@pytest.mark.parametrize(
    "names", [["a.png"] * 3000, [f"a_{n}.png" for n in range(2, 3000)] + ["a.png"] * 3000, ["A", "a"] * 2000]
)
def test_names_of_results_are_given_out_in_one_go(names: list[str]) -> None:
    files = FileNames[int]()
    files._taken = Counting()
    for number, name in enumerate(names):
        files.add(name, number)
    assert list(files.content.values()) == list(range(len(names)))
    assert len({name.casefold() for name in files.content}) == len(names)
    assert files._taken.asked < 5 * len(names)


def line(count: int) -> Line:
    baseline = tuple((float(x), float(x % 7)) for x in range(count))
    return Line(id="l", baseline=baseline, polygon=baseline, heights=(3.0, 1.0), text="a " * count, confidence=1.0)


@pytest.mark.parametrize("write", [alto.write, hocr.write])
def test_words_of_a_long_line_are_measured_in_one_go(write: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    class Counted:
        dist_calls = 0

        def __getattr__(self, name: str) -> Any:
            return getattr(math, name)

        def dist(self, a: Any, b: Any) -> float:
            self.dist_calls += 1
            return math.dist(a, b)

    counted = Counted()
    monkeypatch.setattr(words, "math", counted)
    page = Page(
        name="p",
        width=4000,
        height=100,
        regions=(Region(id="r", polygon=((0.0, 0.0), (9.0, 0.0), (9.0, 9.0)), lines=(line(2000),)),),
    )
    assert write(page, created=WHEN, creator="t").count(b"a") > 2000
    assert counted.dist_calls < 10 * 2000


@pytest.mark.parametrize(
    "baseline",
    [
        ((0.0, 0.0), (10.0, 0.0)),
        ((0.0, 0.0), (0.0, 0.0), (5.0, 0.0), (5.0, 0.0), (10.0, 0.0), (10.0, 0.0)),
        ((10.0, 0.0), (5.0, 0.0), (0.0, 0.0)),
    ],
)
def test_words_lie_where_they_lay(baseline: tuple[tuple[float, float], ...]) -> None:
    made = words.words_of(replace(line(2), baseline=baseline, text="aa bb"))
    xs = [sorted({x for x, _ in word.polygon}) for word in made]
    left, right = (xs[0], xs[1]) if baseline[0][0] == 0 else (xs[1], xs[0])
    assert left == pytest.approx([0.0, 4.0]) and right == pytest.approx([6.0, 10.0])


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"results": tuple(Payload(name="a", content=b"") for _ in range(MAX_RESULTS + 1))}, "results"),
        ({"logs": (LOG,) * (MAX_LOGS + 1)}, "logs"),
        ({"uuid": "x" * 5000}, "its id"),
        ({"page_uuid": "x" * 5000}, "page's id"),
        ({"job": "x" * 5000}, "its job"),
        ({"source": "x" * 50_000}, "its source"),
        ({"stages": ("amq.direct", "out")}, "keeps such names"),
    ],
)
def test_counts_and_lengths_of_a_message_are_bounded(change: dict[str, Any], reason: str) -> None:
    request = Request(
        uuid="u", page_uuid="p", stages=("s", "out"), results=(Payload(name="a", content=b""),), logs=(LOG,)
    )
    assert decode_request(encode_request(request)) == request
    with pytest.raises(RequestError, match=reason):
        decode_request(encode_request(replace(request, **change)))


def test_seconds_are_numbers() -> None:
    message = pb.ProcessingRequest.FromString(
        encode_request(Request(uuid="u", page_uuid="p", stages=("s",), results=(), logs=(LOG,)))
    )
    message.logs[0].seconds.update({"total": float("nan"), "ocr": float("-inf"), "read": 0.5})
    message.logs[0].seconds.update({f"p{number}": 1.0 for number in range(10_000)})
    (log,) = decode_request(message.SerializeToString()).logs
    assert all(math.isfinite(value) for value in log.seconds.values())
    assert len(log.seconds) <= 100
