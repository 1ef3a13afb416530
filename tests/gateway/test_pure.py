"""What needs no server: fairness, states, names, zips, keys."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path

import pytest

from pero_worker.gateway.bundle import member_of, report_of, stems_of
from pero_worker.gateway.fairness import FairShare
from pero_worker.gateway.keys import keep_whole, make_key, matches, split, whole_of
from pero_worker.gateway.names import page_name_fault, storable_line
from pero_worker.gateway.states import PageState, ProcessingState, finished_state, legacy_state
from pero_worker.gateway.v1.archives import zip_fault
from pero_worker.gateway.v1.engines import natural


def turns(shares: dict[str, float], pages: dict[str, int], seconds: dict[str, float], workers: int) -> dict[str, float]:
    """When each key's last page is done, with a page a worker at a time."""
    fair, left, now, number = FairShare(), dict(pages), 0.0, 0
    running: list[tuple[float, str, str]] = []
    ends: dict[str, float] = {}
    while any(left.values()) or running:
        while len(running) < workers and any(left.values()):
            owner = fair.next([(name, shares[name]) for name, count in left.items() if count])
            left[owner] -= 1
            number += 1
            fair.charge(str(number), owner, shares[owner])
            running.append((now + seconds[owner], owner, str(number)))
        running.sort()
        now, owner, page = running.pop(0)
        fair.settle(page, seconds[owner])
        ends[owner] = now
    return ends


def test_a_small_job_does_not_wait_for_a_large_one() -> None:
    alone = turns({"small": 1.0}, {"small": 10}, {"small": 2.0}, 4)["small"]
    both = turns({"large": 1.0, "small": 1.0}, {"large": 10_000, "small": 10}, {"large": 2.0, "small": 2.0}, 4)
    assert both["small"] <= 3 * alone


def test_workers_seconds_are_shared_and_not_pages() -> None:
    """A key whose pages take ten times as long gets a tenth of the pages."""
    ends = turns({"slow": 1.0, "quick": 1.0}, {"slow": 50, "quick": 500}, {"slow": 10.0, "quick": 1.0}, 2)
    assert ends["quick"] == pytest.approx(ends["slow"], rel=0.1)


def test_shares_count() -> None:
    seconds = {"one": 1.0, "three": 1.0}
    ends = turns({"one": 1.0, "three": 3.0}, {"one": 300, "three": 300}, seconds, 1)
    assert ends["three"] == pytest.approx(400, rel=0.05)


def test_nobody_saves_time_up() -> None:
    fair = FairShare()
    for number in range(100):
        assert fair.next([("busy", 1.0)]) == "busy"
        fair.charge(str(number), "busy", 1.0)
        fair.settle(str(number), 5.0)
    order = []
    for number in range(100, 120):
        owner = fair.next([("busy", 1.0), ("late", 1.0)])
        fair.charge(str(number), owner, 1.0)
        order.append(owner)
    assert order.count("late") in {10, 11}


def test_states() -> None:
    assert finished_state(3, 3) is ProcessingState.FAILED
    assert (finished_state(3, 2), finished_state(0, 0)) == (ProcessingState.DONE, ProcessingState.DONE)
    known = {
        "CREATED", "WAITING", "PROCESSING", "PROCESSED", "NOT_FOUND", "INVALID_FILE", "PROCESSING_FAILED", "CANCELED",
        "EXPIRED",
    }  # fmt: skip
    failures = (None, "NOT_FOUND", "INVALID_FILE", "PROCESSING_FAILED")
    assert {legacy_state(state, failure) for state in PageState for failure in failures} == known


def test_names_in_a_zip_are_told_apart() -> None:
    assert stems_of(["a.jpg", "b.jpg"]) == ["a", "b"]
    assert stems_of(["a.jpg", "a.png", "b"]) == ["a.jpg", "a.png", "b"]
    assert stems_of(["a", "a.jpg"]) == ["a", "a.jpg"]
    names = ["x.tar", "x.tar.gz", "x"]
    assert len(set(stems_of(names))) == 3


@pytest.mark.parametrize(
    "name", ["", ".", "..", "a/b", "a\\b", "a\nb", "a\0", "\ud800", "\u2028", "x" * 256, "ř" * 128]
)
def test_names_that_are_refused(name: str) -> None:
    assert page_name_fault(name)


def test_foreign_lines_can_be_stored() -> None:
    assert storable_line("a\0b\ud800c\nd") == "a?b?c"
    assert storable_line(7) is None and storable_line("  ") is None
    assert storable_line("x" * 10_000) == "x" * 2000


def test_keys() -> None:
    text, secret = make_key("pero", lambda count: b"\1" * count, "server")
    assert text.startswith("pero.") and text not in str(secret)
    assert matches(text, secret, "server")
    assert not matches(text + "x", secret, "server") and not matches(text, secret, "other server")
    kept = keep_whole("an old key", lambda count: b"\2" * count, "server")
    assert kept.whole == whole_of("an old key", "server") != whole_of("another", "server")
    assert matches("an old key", kept, "server") and not matches("another", kept, "server")
    assert split("no.key") is None and split("a.b.c d") is None


def zipped(entries: dict[str, bytes]) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in entries.items():
            archive.writestr(name, content)
    return stream.getvalue()


def test_zips_of_others(tmp_path: Path) -> None:
    path = tmp_path / "x.zip"
    path.write_bytes(zipped({"a.txt": b"text", "b.txt": bytes(65_000_000), "report.jsonl": b'{"page": "a"}\n{\n7\n'}))
    assert zip_fault(path) == ""
    assert member_of(path, "a", "text") == b"text"
    assert member_of(path, "b", "text") is None  # Far too large, though the zip is small.
    assert member_of(path, "../a", "text") is None and member_of(path, "a", "exe") is None
    assert report_of(path) == {"a": {"page": "a"}}
    for content in (b"", b"PK", b"text", path.read_bytes()[:-30], path.read_bytes().replace(b"PK\1\2", b"PK\1\1")):
        path.write_bytes(content)
        assert zip_fault(path)
        assert member_of(path, "a", "text") is None and report_of(path) == {}


def test_versions_in_natural_order() -> None:
    assert sorted(["v10", "v9", "v9a", "1", ""], key=natural) == ["", "1", "v9", "v9a", "v10"]
