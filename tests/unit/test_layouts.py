"""What downloads write, whatever arrives over the wire."""

from __future__ import annotations

from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pero_worker.clock import SystemClock
from pero_worker.cluster.pages.filenames import safe_name, safe_path
from pero_worker.cluster.pages.requestfolders import RequestFolders
from pero_worker.cluster.pages.resulttree import ResultTree
from pero_worker.errors import RequestError
from pero_worker.formats import pagexml
from pero_worker.jobs.outputs import OutputFolder
from pero_worker.page import Page
from pero_worker.request import Payload, Request, StageLog, StageStatus

WHEN = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
LOG = StageLog(host_id="w1", stage="ocr", start=WHEN, end=WHEN, status=StageStatus.OK, log="fine\n", version="7")
PAGE = pagexml.write(Page(name="a.png", width=10, height=10), created=WHEN, creator="test")
REQUEST = Request(
    uuid="abc",
    page_uuid="p1",
    stages=("out",),
    results=(Payload(name="a.png", content=b"image"), Payload(name="a.png_page.xml", content=PAGE)),
    logs=(LOG,),
    start_time=WHEN,
)


def files(folder: Path) -> dict[str, bytes]:
    found = (path for path in folder.rglob("*") if path.is_file() and ".pero-worker" not in path.parts)
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in found}


def test_a_folder_a_request_as_upstream_writes_it(tmp_path: Path) -> None:
    layout = RequestFolders(tmp_path, save_message=True)
    assert layout.write(REQUEST, b"message")
    layout.close()
    assert files(tmp_path) == {
        "abc/a.png": b"image",
        "abc/a.png_page.xml": PAGE,
        "abc/message_body": b"message",
        "abc/abc_info.txt": (
            b"Message id : abc\nPage uuid  : p1\nStart time : 2026-01-02T03:04:05\nRemaining processing stages:\n  out\n"
        ),
        "abc/ocr.log": (
            b"Host id       : w1\nStage         : ocr\nStart time    : 2026-01-02T03:04:05\n"
            b"End time      : 2026-01-02T03:04:05\nStatus        : OK\nStage version : 7\n*** Log ***\nfine\n"
        ),
    }


def test_a_second_delivery_is_recognised(tmp_path: Path) -> None:
    with closing(RequestFolders(tmp_path)) as layout:
        assert layout.write(REQUEST, b"")
        assert not layout.write(REQUEST, b""), "not committed yet"
        layout.seal()()
        assert not layout.write(REQUEST, b"")
    before = files(tmp_path)
    with closing(RequestFolders(tmp_path)) as again:
        assert not again.write(replace(REQUEST, results=()), b"")
    assert files(tmp_path) == before


HOSTILE = ("../../evil", "/etc/evil", "..", ".", "", "a/b", "nul\0byte", "x" * 5000, "\ud800", ".pero-worker", "\\evil")


@pytest.mark.parametrize("name", HOSTILE)
def test_nothing_is_written_outside(name: str, tmp_path: Path) -> None:
    folder = tmp_path / "in" / "side"
    request = replace(
        REQUEST,
        uuid=name or "x",
        source=name,
        page_uuid=name,
        results=(
            Payload(name=name, content=b"1"),
            Payload(name=name, content=b"2"),
            Payload(name="p.xml", content=PAGE),
        ),
        logs=(replace(LOG, stage=name), replace(LOG, stage=name)),
    )
    layout = RequestFolders(folder)
    assert layout.write(request, b"")
    layout.close()
    tree = ResultTree(OutputFolder(folder / "tree"), ("page", "text"), SystemClock())
    tree.write(request, b"")
    tree.close()
    outside = [path for path in tmp_path.rglob("*") if path.is_file() and not path.is_relative_to(folder)]
    assert outside == []
    written = [path for path in folder.glob("*/*") if path.is_file() and path.read_bytes() in {b"1", b"2"}]
    assert len(written) == 2, "both results are kept, whatever they are called"


def test_a_request_without_an_id_is_refused(tmp_path: Path) -> None:
    with closing(RequestFolders(tmp_path)) as layout, pytest.raises(RequestError):
        layout.write(replace(REQUEST, uuid=""), b"")


@given(st.text())
def test_any_name_becomes_a_component(name: str) -> None:
    safe = safe_name(name)
    assert safe not in {"", ".", ".."} and "/" not in safe and "\0" not in safe and len(safe.encode()) <= 255
    assert ".." not in safe_path(name).split("/")


def test_results_come_back_under_the_names_they_were_published_from(tmp_path: Path) -> None:
    tree = ResultTree(OutputFolder(tmp_path), ("page",), SystemClock())
    assert tree.write(replace(REQUEST, source="box/a"), b"")
    assert not tree.write(replace(REQUEST, source="box/a"), b"")
    assert tree.write(replace(REQUEST, page_uuid="other", source="box/a"), b"")
    tree.close()
    assert set(files(tmp_path)) == {"box/a.page.xml", "box/a_other.page.xml", "report.jsonl"}
    again = ResultTree(OutputFolder(tmp_path), ("page",), SystemClock())
    assert not again.write(replace(REQUEST, source="box/a"), b"")
    again.close()


def test_a_broken_result_is_a_failed_page(tmp_path: Path) -> None:
    tree = ResultTree(OutputFolder(tmp_path), ("page",), SystemClock())
    assert tree.write(
        replace(REQUEST, results=(Payload(name="a.png", content=b""), Payload(name="a.xml", content=b"<no"))), b""
    )
    assert tree.failed == 1
    tree.close()
