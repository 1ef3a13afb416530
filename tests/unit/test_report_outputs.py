"""The output folder and the report in it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from pero_worker.errors import OutputError, UsageError
from pero_worker.jobs.outputs import OutputFolder
from pero_worker.jobs.records import Fingerprint, PageRecord, PageStatus
from pero_worker.jobs.report import Known, Report

PRINT = Fingerprint(size=10, modified_ns=1, pipeline="print-latin", version="v1", dpi=300)


def record(**changes: object) -> PageRecord:
    base = PageRecord(
        page="a/p",
        source="/scans/a/p.jpg",
        page_index=0,
        status=PageStatus.DONE,
        fingerprint=PRINT,
        finished="2026-01-01",
        outputs={"text": "a/p.txt"},
    )
    return replace(base, **changes)  # type: ignore[arg-type]


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[OutputFolder]:
    with closing(OutputFolder(tmp_path / "out")) as folder:
        yield folder


def test_a_write_that_fails_leaves_nothing(folder: OutputFolder) -> None:

    def half(stream: object) -> None:
        stream.write(b"half")  # type: ignore[attr-defined]
        raise OSError(28, "No space left on device")

    target = folder.path("a/p", ".txt")
    with pytest.raises(OutputError, match="No space left"):
        folder.write_with(target, half)
    assert not target.exists()
    assert [p for p in folder.root.rglob("*") if p.is_file() and p.name != "lock"] == []


@pytest.mark.parametrize("name", ["../p", "/etc/p", "a/../../p", ""])
def test_names_cannot_leave_the_folder(folder: OutputFolder, name: str) -> None:
    with pytest.raises(OutputError, match="outside"):
        folder.path(name, ".txt")


def test_one_run_at_a_time(tmp_path: Path) -> None:
    first = OutputFolder(tmp_path)
    with pytest.raises(UsageError, match="another run"):
        OutputFolder(tmp_path)
    first.close()
    OutputFolder(tmp_path).close()


def test_an_output_folder_that_is_a_file(tmp_path: Path) -> None:
    (tmp_path / "out").write_text("")
    with pytest.raises(OutputError, match="cannot write"):
        OutputFolder(tmp_path / "out")


def test_the_report_remembers_and_checks_the_files(folder: OutputFolder) -> None:
    folder.write(folder.path("a/p", ".txt"), b"text")
    with closing(Report(folder)) as report:
        report.add(record())
    with closing(Report(folder)) as again:
        assert again.finished("a/p", PRINT, ("text",))
        assert not again.finished("a/p", PRINT, ("text", "alto"))
        assert not again.finished("a/p", replace(PRINT, version="v2"), ("text",))
        assert not again.finished("a/p", replace(PRINT, modified_ns=2), ("text",))
        assert not again.finished("b", PRINT, ("text",))
        folder.path("a/p", ".txt").unlink()
        assert not again.finished("a/p", PRINT, ("text",))


def test_a_failed_page_is_not_finished(folder: OutputFolder) -> None:
    with closing(Report(folder)) as report:
        report.add(record(status=PageStatus.FAILED, outputs={}))
        assert not report.finished("a/p", PRINT, ())


def test_the_last_word_counts_and_torn_lines_do_no_harm(folder: OutputFolder) -> None:
    with closing(Report(folder)) as report:
        report.add(record(status=PageStatus.FAILED, error="first"))
        report.add(record(lines=7))
    with folder.report.open("a") as stream:
        stream.write('{"page": "torn", "sour')
    with closing(Report(folder)):
        pass
    lines = [json.loads(line) for line in folder.report.read_text().splitlines()]
    assert [(line["page"], line["status"], line["lines"]) for line in lines] == [("a/p", "done", 7)]


def test_a_record_after_a_torn_line_is_not_lost(folder: OutputFolder) -> None:
    folder.report.write_text('{"page": "torn", "sour')
    with closing(Report(folder)) as report:
        report.add(record(outputs={}))
    with closing(Report(folder)) as again:
        assert again.finished("a/p", PRINT, ())


def test_pages_are_known_by_what_they_were_called_on_their_way(folder: OutputFolder) -> None:
    with closing(Report(folder)) as report:
        assert report.holder("a/p") is None
        report.add(record(page_id="x1", request_id="r1"))
        report.add(record(page="b", page_id="x2", status=PageStatus.FAILED))
    with closing(Report(folder)) as again:
        assert again.holder("A/P") == Known(name="a/p", page_id="x1", failed=False)
        assert again.holder("b") == Known(name="b", page_id="x2", failed=True)
        assert again.holder("c") is None
        assert again.delivered("x1", "r1") == Known(name="a/p", page_id="x1", failed=False)
        assert again.delivered("x1", "r2") is None
        assert again.delivered("x2", "any") is not None, "an older report does not say which message it was"
        assert again.failed == 1
        again.add(record(page="b", page_id="x2"))
        assert again.failed == 0


def test_the_report_is_copied_only_when_it_must_be(folder: OutputFolder) -> None:
    with closing(Report(folder)) as report:
        report.add(record())
    before = folder.report.stat().st_ino
    report = Report(folder)
    report.add(record(lines=2))
    report.close(compact=False)
    assert folder.report.stat().st_ino == before
    assert len(folder.report.read_bytes().splitlines()) == 2
    with closing(Report(folder)):
        pass
    assert len(folder.report.read_bytes().splitlines()) == 1
    assert not folder.index.exists()
