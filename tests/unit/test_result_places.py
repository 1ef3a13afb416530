"""Results whose names collide, folders that others used before, links that lead elsewhere."""

from __future__ import annotations

import errno
import json
import os
import stat
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import asdict, replace
from pathlib import Path

import pytest
from unit.test_layouts import LOG, REQUEST, files
from unit.test_report_outputs import PRINT, record

from pero_worker.clock import SystemClock
from pero_worker.cluster.pages.requestfolders import RequestFolders
from pero_worker.cluster.pages.resulttree import ResultTree
from pero_worker.errors import OutputError, PageError, UsageError
from pero_worker.jobs import confined
from pero_worker.jobs.outputs import OutputFolder, ResultPathError
from pero_worker.jobs.records import PageStatus
from pero_worker.jobs.report import Report
from pero_worker.request import Payload, Request, StageStatus


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[OutputFolder]:
    with closing(OutputFolder(tmp_path / "out")) as folder:
        yield folder


def tree(folder: Path) -> closing[ResultTree]:
    return closing(ResultTree(OutputFolder(folder), ("page",), SystemClock()))


def requested(source: str, page: str, **changes: object) -> Request:
    return replace(REQUEST, uuid=f"m-{page}", page_uuid=page, source=source, **changes)  # type: ignore[arg-type]


# -- one run at a time ------------------------------------------------------------------------------------------


def test_a_run_that_is_refused_leaves_the_first_one_alone(tmp_path: Path) -> None:
    with closing(OutputFolder(tmp_path)) as first:
        first.write(first.path("a", ".txt"), b"waits to be put in place")
        with pytest.raises(UsageError, match="another run"):
            OutputFolder(tmp_path)

        def disturbed(stream: object) -> None:
            stream.write(b"half of it, ")  # type: ignore[attr-defined]
            with pytest.raises(UsageError, match="another run"):
                OutputFolder(tmp_path)
            stream.write(b"and the other half")  # type: ignore[attr-defined]

        first.write_with(first.path("b", ".pdf"), disturbed)
        first.commit()
    assert files(tmp_path) == {"a.txt": b"waits to be put in place", "b.pdf": b"half of it, and the other half"}


def test_downloads_of_folders_share_a_folder_with_all_others(tmp_path: Path) -> None:
    """Two of them, one that crashed, and an `ocr` that keeps its pages in the same place."""
    with closing(OutputFolder(tmp_path)) as run:
        job = run.job_id
        run.write_with(run.path("a", ".page.xml", hidden=True), lambda stream: stream.write(b"master"))
        run.write(run.path("a", ".txt"), b"not yet in place")
        crashed = tmp_path / ".pero-worker/requests/dead/abc"
        crashed.mkdir(parents=True)
        (crashed / "a.png").write_bytes(b"half")
        with closing(RequestFolders(tmp_path)) as first:
            assert not crashed.exists()
            assert first.write(REQUEST, b"")
            with closing(RequestFolders(tmp_path)) as second:
                assert second.write(replace(REQUEST, uuid="other"), b"")
                assert second.write(REQUEST, b""), "who is sooner is not known yet"
            first.seal()()
        run.commit()
        assert run.job_id == job
    assert {path.split("/")[0] for path in files(tmp_path)} == {"abc", "other", "a.txt"}
    assert (tmp_path / ".pero-worker/pages/a.page.xml").read_bytes() == b"master"


# -- names ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("first", ["a", "a.page.xml/b"])
def test_a_file_and_a_folder_of_the_same_name(first: str, tmp_path: Path) -> None:
    second = {"a": "a.page.xml/b", "a.page.xml/b": "a"}[first]
    with tree(tmp_path) as results:
        assert results.write(requested(first, "1"), b"")
        assert results.write(requested(second, "2"), b""), "in the same group"
        results.seal()()
        assert results.write(requested("c", "3"), b"")
    with tree(tmp_path) as results:
        assert results.write(requested(f"{first}.page.xml/x", "4"), b""), "in a later one"
        assert results.failed == 0
    assert len([path for path in tmp_path.rglob("*.xml") if path.is_file()]) == 4
    for line in json_lines(tmp_path):
        assert (tmp_path / line["outputs"]["page"]).read_bytes(), line["page"]


def json_lines(folder: Path) -> list[dict]:  # type: ignore[type-arg]
    return [json.loads(line) for line in (folder / "report.jsonl").read_text().splitlines()]


@pytest.mark.parametrize(
    "source",
    ["/".join(["x" * 190] * 30), "x" * 5000, "/".join(["d"] * 3000), "žluť" * 200, "a/\ud800/\u202e/" + "b/" * 600],
)
def test_names_that_no_system_takes_are_shortened(source: str, tmp_path: Path) -> None:
    with tree(tmp_path) as results:
        assert results.write(requested(source, "1"), b"")
        assert results.write(requested(source + "x", "2"), b"")
        assert results.failed == 0
    assert len({line["outputs"]["page"] for line in json_lines(tmp_path)}) == 2


def test_pages_of_one_name_all_get_one_of_their_own(tmp_path: Path) -> None:
    """Their ids begin alike, like those of programs that number pages."""
    with tree(tmp_path) as results:
        for number in range(8):
            assert results.write(requested("book/p1", f"page-000000000{number}"), b"")
        assert results.write(requested("Book/P1", "case"), b""), "file systems that ignore case have one place for both"
        assert not results.write(requested("Book/P1", "case"), b"")
    lines = json_lines(tmp_path)
    assert len({line["outputs"]["page"].casefold() for line in lines}) == len(lines) == 9
    assert len(list(tmp_path.rglob("*.page.xml"))) == 9


def test_the_same_page_id_in_two_jobs_is_two_pages(tmp_path: Path) -> None:
    with tree(tmp_path) as results:
        for message, source in (("m1", "a"), ("m2", "a"), ("m3", "b")):
            assert results.write(replace(REQUEST, uuid=message, page_uuid="1", source=source), b"")
            assert not results.write(replace(REQUEST, uuid=message, page_uuid="1", source=source), b"")
    assert len(list(tmp_path.rglob("*.page.xml"))) == 3


def test_a_page_that_is_tried_again_takes_the_place_of_its_failure(tmp_path: Path) -> None:
    failed = (replace(LOG, status=StageStatus.FAILED, log="no light"),)
    with tree(tmp_path) as results:
        assert results.write(requested("a", "1", logs=failed), b"")
        assert not results.write(requested("a", "1", logs=failed), b"")
        assert results.failed == 1
        assert results.write(replace(requested("a", "1"), uuid="again"), b"")
        assert results.failed == 0
        assert not results.write(requested("a", "1", logs=failed, job="j"), b""), "an old copy of the failure"
    assert [line["status"] for line in json_lines(tmp_path)] == ["done"]


@pytest.mark.parametrize("ids", [("a/b", "a_b", "a\\b"), ("ABC", "abc"), ("x" * 300, "x" * 301), (".a", "_a")])
def test_no_two_requests_share_a_folder(ids: tuple[str, ...], tmp_path: Path) -> None:
    for _ in range(2):
        with closing(RequestFolders(tmp_path)) as layout:
            fresh = [layout.write(replace(REQUEST, uuid=identity), b"") for identity in ids]
    assert fresh == [None] * len(ids)
    told = {content.split(b"\n")[0].decode() for name, content in files(tmp_path).items() if name.endswith("_info.txt")}
    assert told == {f"Message id : {identity}" for identity in ids}


def test_results_of_one_name_are_all_kept(tmp_path: Path) -> None:
    results = tuple(
        Payload(name=name, content=str(number).encode())
        for number, name in enumerate(["a", "a", "A", "a_2", "message_body"])
    )
    with closing(RequestFolders(tmp_path, save_message=True)) as layout:
        layout.write(replace(REQUEST, results=results, logs=()), b"the message")
    found = files(tmp_path)
    assert {content for name, content in found.items() if "info" not in name} == {
        b"0",
        b"1",
        b"2",
        b"3",
        b"4",
        b"the message",
    }
    assert found["abc/message_body"] == b"the message"


def test_the_last_run_of_a_stage_has_the_plain_name(tmp_path: Path) -> None:
    logs = tuple(replace(LOG, log=f"try {number}") for number in (1, 2, 3))
    with closing(RequestFolders(tmp_path)) as layout:
        layout.write(replace(REQUEST, logs=logs), b"")
    said = {
        name: content.decode().splitlines()[-1] for name, content in files(tmp_path).items() if name.endswith(".log")
    }
    assert said == {"abc/ocr_1.log": "try 1", "abc/ocr_2.log": "try 2", "abc/ocr.log": "try 3"}


# -- what a crash left ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "left", [{}, {"a.png": b"ima"}, {"a.png": b""}, {"a.png": b"\0\0\0\0"}, {"abc_info.txt": b"Mess"}]
)
def test_a_folder_that_somebody_elses_crash_left_is_filled(left: dict[str, bytes], tmp_path: Path) -> None:
    with closing(RequestFolders(tmp_path / "whole")) as layout:
        layout.write(REQUEST, b"")
    (tmp_path / "crashed/abc").mkdir(parents=True)
    for name, content in left.items():
        (tmp_path / "crashed/abc" / name).write_bytes(content)
    with closing(RequestFolders(tmp_path / "crashed")) as layout:
        assert layout.write(REQUEST, b"")
        assert not layout.write(REQUEST, b"")
    assert files(tmp_path / "crashed") == files(tmp_path / "whole")


def test_what_somebody_wrote_into_the_folder_stays(tmp_path: Path) -> None:
    with closing(RequestFolders(tmp_path)) as layout:
        layout.write(REQUEST, b"")
    (tmp_path / "abc/a.png_page.xml").write_bytes(b"corrected by hand")
    (tmp_path / "abc/notes.txt").write_bytes(b"mine")
    with closing(RequestFolders(tmp_path)) as layout:
        assert not layout.write(REQUEST, b"")
    assert (tmp_path / "abc/a.png_page.xml").read_bytes() == b"corrected by hand"


def test_a_file_where_the_folder_should_be(tmp_path: Path) -> None:
    (tmp_path / "abc").write_bytes(b"mine")
    with closing(RequestFolders(tmp_path)) as layout:
        assert layout.write(REQUEST, b"")
    assert (tmp_path / "abc").read_bytes() == b"mine"
    assert sum(name.endswith("a.png") for name in files(tmp_path)) == 1


# -- links ------------------------------------------------------------------------------------------------------


def test_links_in_the_output_folder_lead_nowhere(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "file").write_bytes(b"precious")
    out = tmp_path / "out"
    (out / ".pero-worker").mkdir(parents=True)
    (out / "box").symlink_to(outside)
    (out / "a.page.xml").symlink_to(outside / "file")
    (out / "dangling.page.xml").symlink_to(outside / "new")
    (out / ".pero-worker/pages").symlink_to(outside)
    (out / ".pero-worker/requests").symlink_to(outside)
    with tree(out) as results:
        for source in ("box/a", "a", "dangling", "c"):
            assert results.write(requested(source, source), b"")
        assert results.failed == 0
    with closing(OutputFolder(out)) as folder, pytest.raises(ResultPathError):
        folder.write_with(folder.path("p", ".page.xml", hidden=True), lambda stream: stream.write(b"master"))
    with pytest.raises(OutputError):
        RequestFolders(out)
    assert files(outside) == {"file": b"precious"}
    # Like any file that is not ours, it stays, and the page gets another name.
    assert (out / "a.page.xml").is_symlink() and len(list(out.glob("a_*.page.xml"))) == 1


@pytest.mark.parametrize("name", [".pero-worker/lock", ".pero-worker", "report.jsonl", ".pero-worker/unfinished"])
def test_links_in_place_of_what_is_ours_are_refused(name: str, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "file").write_bytes(b"precious")
    out = tmp_path / "out"
    (out / name).parent.mkdir(parents=True, exist_ok=True)
    (out / name).symlink_to(outside if name.endswith(("worker", "unfinished")) else outside / "file")
    with pytest.raises(OutputError), tree(out) as results:
        results.write(requested("a", "1"), b"")
    assert files(outside) == {"file": b"precious"}


def test_results_get_the_rights_that_the_user_wants(tmp_path: Path) -> None:
    before = os.umask(0o077)
    try:
        with tree(tmp_path / "out") as results:
            results.write(requested("box/a", "1"), b"")
    finally:
        os.umask(before)
    for path in [tmp_path / "out", *(tmp_path / "out").rglob("*")]:
        assert not stat.S_IMODE(path.stat().st_mode) & 0o077, path


# -- disks that fail --------------------------------------------------------------------------------------------


def failing(code: int) -> Callable[..., None]:
    def fail(*_arguments: object, **_options: object) -> None:
        raise OSError(code, os.strerror(code))

    return fail


@pytest.mark.parametrize("code", [errno.ENAMETOOLONG, errno.ENOTDIR, errno.EISDIR, errno.ELOOP, errno.EEXIST])
def test_a_name_is_one_results_failure(code: int, folder: OutputFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(confined.ConfinedFolder, "is_folder", failing(code))
    with pytest.raises(PageError, match="cannot write"):
        folder.write(folder.path("a", ".txt"), b"x")


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EIO, errno.EROFS, errno.EACCES, errno.EDQUOT])
def test_a_disk_that_fails_ends_the_run(code: int, folder: OutputFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "access", lambda *_: False)
    monkeypatch.setattr(confined.ConfinedFolder, "create", failing(code))
    with pytest.raises(OutputError, match="cannot write"):
        folder.write(folder.path("a", ".txt"), b"x")


def test_rights_of_one_folder_are_its_own_matter(folder: OutputFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(confined.ConfinedFolder, "is_folder", failing(errno.EACCES))
    with pytest.raises(ResultPathError):
        folder.write(folder.path("a", ".txt"), b"x")


def test_what_cannot_be_read_is_not_a_full_disk(folder: OutputFolder, tmp_path: Path) -> None:
    def copy(_stream: object) -> None:
        (tmp_path / "gone.pdf").read_bytes()

    with pytest.raises(PageError, match=r"cannot read .*gone.pdf"):
        folder.write_with(folder.path("a", ".pdf"), copy)


def test_nothing_is_noted_of_what_could_not_be_put_in_place(
    folder: OutputFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    with closing(Report(folder)) as report:
        report.add(record())
        report.add(record(page="b"))
    before = folder.report.read_bytes()
    report = Report(folder)
    folder.write(folder.path("a/p", ".txt"), b"new")
    report.add(record(lines=9))
    with monkeypatch.context() as patched:
        patched.setattr(confined.ConfinedFolder, "move", failing(errno.ENOSPC))
        with pytest.raises(OutputError):
            report.commit()
    report.close()
    assert folder.report.read_bytes() == before


# -- reports of others ------------------------------------------------------------------------------------------

STRANGE = [
    '{"page":5}',
    '{"page":"x","fingerprint":3}',
    "[" * 200_000,
    '{"a":' * 100_000,
    '"page"',
    "null",
    "[]",
    "\x00" * 50,
    json.dumps(asdict(record()) | {"outputs": ["page"]}),
    json.dumps(asdict(record()) | {"outputs": {"text": 5}}),
    json.dumps(asdict(record()) | {"page": ["a"]}),
    json.dumps(asdict(record()) | {"lines": "many"}),
    json.dumps(asdict(record()) | {"fingerprint": {"size": []}}),
    json.dumps(asdict(record()) | {"page_id": {}}),
    json.dumps(asdict(record()) | {"status": ["done"]}),
    json.dumps(asdict(record(outputs={"text": "../../../etc/passwd"}))),
    json.dumps(asdict(record(outputs={"text": "/etc/passwd"}))),
]


@pytest.mark.parametrize("line", STRANGE)
def test_a_strange_line_is_a_page_not_done(line: str, folder: OutputFolder) -> None:
    folder.report.write_text(line + "\n" + json.dumps(asdict(record(page="b", outputs={}))) + "\n")
    for _ in range(2):
        with closing(Report(folder)) as report:
            assert not report.finished("a/p", PRINT, ("text",))
            assert not report.finished("x", PRINT, ("text",))
            assert report.finished("b", PRINT, ())
            report.holder("x")
            report.delivered("x", "y")
            report.add(record(page="c", status=PageStatus.FAILED))
            report.add(record(page="c", outputs={}))
    assert folder.report.read_text().count('"page":"c"') == 1


def test_lines_of_a_newer_program_are_kept_until_the_page_is_done_again(folder: OutputFolder) -> None:
    newer = [
        json.dumps(asdict(record(page=page, page_id=f"id-{page}")) | {"rotated": 90}) for page in ("new", "other")
    ] + ['{"job": "x", "format": 2}', json.dumps(asdict(record(page="odd")) | {"status": "skipped"})]
    folder.report.write_text("\n".join(newer) + "\n")
    with closing(Report(folder)) as report:
        assert not report.finished("new", PRINT, ())
        assert report.delivered("id-new", "") is not None
        report.add(record(page="other", lines=1))
        report.add(record(page="other", lines=2))
    lines = folder.report.read_text().splitlines()
    assert [line for line in lines if line in newer] == [newer[0], *newer[2:]]
    assert len(lines) == 4


@pytest.mark.parametrize("content", [b"", b"\0" * 100, b"text\n\0\0\0"])
def test_an_empty_or_torn_result_is_made_again(content: bytes, folder: OutputFolder) -> None:
    folder.write_with(folder.path("a/p", ".txt"), lambda stream: stream.write(b"text\n"))
    with closing(Report(folder)) as report:
        report.add(record(lines=1))
    with closing(Report(folder)) as report:
        assert report.finished("a/p", PRINT, ("text",))
    folder.path("a/p", ".txt").write_bytes(content)
    with closing(Report(folder)) as report:
        assert not report.finished("a/p", PRINT, ("text",))


def test_a_page_without_lines_has_an_empty_text(folder: OutputFolder) -> None:
    folder.write_with(folder.path("a/p", ".txt"), lambda stream: stream.write(b""))
    with closing(Report(folder)) as report:
        report.add(record(lines=0))
    with closing(Report(folder)) as report:
        assert report.finished("a/p", PRINT, ("text",))


def test_a_number_that_json_does_not_know(folder: OutputFolder) -> None:
    with closing(Report(folder)) as report:
        report.add(record(seconds={"total": float("nan"), "ocr": float("inf"), "read": 1.0}))
    (line,) = json.loads("[" + folder.report.read_text() + "]", parse_constant=pytest.fail)
    assert line["seconds"] == {"total": None, "ocr": None, "read": 1.0}


@pytest.mark.parametrize("content", [b"", b"\0" * 16, b"../x", "ž".encode() * 40])
def test_a_torn_job_id_is_made_anew(content: bytes, folder: OutputFolder) -> None:
    (folder.root / ".pero-worker/job").write_bytes(content)
    made = folder.job_id
    assert len(made) == 16 and folder.job_id == made


def test_a_result_from_a_cluster_is_not_written_over_somebody_elses_file(tmp_path: Path) -> None:
    (tmp_path / "box").mkdir()
    (tmp_path / "box/a.page.xml").write_text("by hand")
    with tree(tmp_path) as results:
        assert results.write(requested("box/a", "p1"), b"")
        results.seal()()
    assert (tmp_path / "box/a.page.xml").read_text() == "by hand"
    assert (tmp_path / "box/a_p1.page.xml").is_file()
    assert not (tmp_path / ".pero-worker/begun").exists()


def test_what_a_crashed_download_left_is_written_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Files in place, and neither the report nor the cluster told: the page comes again."""
    results = ResultTree(OutputFolder(tmp_path), ("page",), SystemClock())
    with monkeypatch.context() as patch:
        patch.setattr(Report, "add", lambda *_: None)
        assert results.write(requested("box/a", "p1"), b"")
    results._folder.commit()
    results._folder.close()
    # As the system does when a process dies.
    results._report._lines.close()
    results._claims._stream.close()
    assert (tmp_path / "box/a.page.xml").is_file()
    with tree(tmp_path) as again:
        assert again.write(requested("box/a", "p1"), b"")
        again.seal()()
    assert set(files(tmp_path)) == {"box/a.page.xml", "report.jsonl"}
