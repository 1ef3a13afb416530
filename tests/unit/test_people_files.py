"""What a run does to the files of the people who start it: nothing."""

from __future__ import annotations

import os
import signal
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pikepdf
import pytest
import typer
from PIL import Image as Pillow

from pero_worker.cli.running import run_in_terminal
from pero_worker.clock import SystemClock
from pero_worker.errors import PageError
from pero_worker.formats import TextPolicy, pagexml
from pero_worker.inputs.naming import SourceDocument
from pero_worker.jobs.apart import ProcessApart
from pero_worker.jobs.job import JobRequest, run_job
from pero_worker.jobs.listener import NullListener, RunListener, Summary
from pero_worker.jobs.options import RunOptions
from pero_worker.jobs.outputs import OutputFolder
from pero_worker.jobs.plan import PageTask, in_turns, open_documents
from pero_worker.jobs.report import Report
from pero_worker.jobs.workforce import DeathListener, PageOutcome
from pero_worker.page import Page
from pero_worker.request import Payload, Request, StageLog, StageStatus

START = datetime(2026, 1, 1, tzinfo=UTC)
LOG = StageLog(host_id="w", stage="s", start=START, end=START, status=StageStatus.OK)


class Crew:
    """Reads every page as an empty one."""

    pipeline, version, wants_layout = "p", "1", False

    def __init__(self, *, dies_after: int | None = None) -> None:
        self.order: list[str] = []
        self._outcomes: list[PageOutcome] = []
        self._dies_after = dies_after

    def start(self, pages: int, on_death: DeathListener) -> int:
        return 1

    def wants_more(self) -> bool:
        return not self._outcomes

    def hand_in(self, page_id: str, task: PageTask) -> None:
        self.order.append(task.name)
        xml = pagexml.write(Page(name=task.name, width=60, height=40), created=START, creator="test")
        results = (Payload(name=task.image_name, content=b"x"), Payload(name="p.xml", content=xml))
        log = StageLog(host_id="w", stage="s", start=START, end=START, status=StageStatus.OK)
        request = Request(uuid=page_id, page_uuid=page_id, stages=("out",), results=results, logs=(log,))
        self._outcomes.append(PageOutcome(page_id=page_id, request=request))

    def outcomes(self, timeout: float) -> Sequence[PageOutcome]:
        if self._dies_after is not None and len(self.order) > self._dies_after:
            raise SystemError("as a power cut")
        found, self._outcomes = self._outcomes, []
        return found

    def stop(self, finished: bool) -> None: ...


def go(
    *paths: Path | str, output: Path, formats: Sequence[str] = ("text",), crew: Crew | None = None, **options: Any
) -> Summary:
    @contextmanager
    def opened(folder: OutputFolder, listener: RunListener) -> Iterator[Crew]:
        yield crew or Crew()

    request = JobRequest(
        paths=[str(path) for path in paths],
        output=output,
        options=RunOptions(formats=tuple(formats), **options),
        workforce=opened,
    )
    return run_job(request, NullListener(), SystemClock())


def pdf(path: Path, pages: int = 1) -> Path:
    with pikepdf.new() as document:
        for _ in range(pages):
            document.add_blank_page(page_size=(60, 40))
        document.save(path)
    return path


def png(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Pillow.new("L", (60, 40), 200).save(path)
    return path


def visible(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and ".pero-worker" not in path.parts and path.name != "report.jsonl"
    }


def test_a_pdf_that_is_read_in_place_stays_as_it_is_however_often(tmp_path: Path) -> None:
    folder = tmp_path / "d"
    folder.mkdir()
    source = pdf(folder / "book.pdf")
    scan = png(folder / "scan.png")
    before = source.read_bytes(), scan.read_bytes()
    first = go(folder, output=folder, formats=("pdf",))
    assert (first.done, first.failed, first.documents_failed) == (2, 0, []), first.failures
    names = set(visible(folder))
    assert names == {"book.pdf", "scan.png", "book.pdf.pdf", "scan.pdf"}
    for again in (folder, folder / "*"):
        second = go(again, output=folder, formats=("pdf",))
        assert (second.done, second.failed, second.finished_before) == (0, 0, 2)
        assert second.discovery is not None
        assert second.discovery.results.count == 3
        assert second.discovery.no_images.count == 0
    assert set(visible(folder)) == names
    assert (source.read_bytes(), scan.read_bytes()) == before


def test_in_place_through_a_link(tmp_path: Path) -> None:
    folder = tmp_path / "d"
    folder.mkdir()
    before = pdf(folder / "book.pdf").read_bytes()
    (tmp_path / "link").symlink_to(folder)
    go(folder / "book.pdf", output=tmp_path / "link", formats=("pdf",))
    assert (folder / "book.pdf").read_bytes() == before
    assert (folder / "book.pdf.pdf").is_file()


@pytest.mark.parametrize("formats", [("text",), ("text", "pdf")])
def test_somebody_elses_file_is_not_written_over(tmp_path: Path, formats: tuple[str, ...]) -> None:
    folder = tmp_path / "d"
    png(folder / "a.png")
    png(folder / "b.png")
    (folder / "a.txt").write_text("typed by hand")
    (folder / "b.txt").symlink_to("nowhere")
    crew = Crew()
    for _ in range(2):
        summary = go(folder / "a.png", folder / "b.png", output=folder, formats=formats, crew=crew)
        assert (summary.done, summary.failed) == (0, 2)
        assert "a.txt is there already" in summary.failures[0].error
    assert crew.order == []
    assert (folder / "a.txt").read_text() == "typed by hand"
    assert (folder / "b.txt").readlink() == Path("nowhere")


def test_a_whole_document_that_is_somebody_elses_is_not_written_over(tmp_path: Path) -> None:
    folder = tmp_path / "d"
    png(folder / "a.png")
    given = pdf(folder / "a.pdf").read_bytes()
    summary = go(folder / "a.png", output=folder, formats=("pdf",))
    assert summary.failed == 1
    assert (folder / "a.pdf").read_bytes() == given


def test_our_own_results_are_made_anew(tmp_path: Path) -> None:
    scan = png(tmp_path / "d" / "a.png")
    out = tmp_path / "out"
    go(scan, output=out)
    go(scan, output=out, formats=("text", "pdf"))
    assert (out / "a.pdf").is_file()
    Pillow.new("L", (61, 40), 100).save(scan)
    for _ in range(2):
        summary = go(scan, output=out, formats=("text", "pdf"))
        assert (summary.failed, summary.documents_failed) == (0, [])
    assert not (out / ".pero-worker" / "begun").exists()


def test_what_another_format_begins_gives_no_right_to_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scan = png(tmp_path / "d" / "a.png")
    with monkeypatch.context() as patch:
        patch.setattr(Report, "add", lambda *_: (_ for _ in ()).throw(SystemError("as a power cut")))
        with pytest.raises(SystemError):
            go(scan, output=scan.parent, formats=("page",))
    (scan.parent / "a.txt").write_text("typed by hand")
    assert go(scan, output=scan.parent, formats=("page", "text")).failed == 1
    assert (scan.parent / "a.txt").read_text() == "typed by hand"


def test_what_a_crash_left_is_ours_and_no_input(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "d"
    png(folder / "a.png")
    with monkeypatch.context() as patch:
        patch.setattr(Report, "add", lambda *_: (_ for _ in ()).throw(SystemError("as a power cut")))
        with pytest.raises(SystemError):
            go(folder, output=folder, formats=("text", "page"))
    assert (folder / "a.txt").is_file()
    summary = go(folder, output=folder, formats=("text", "page", "pdf"))
    assert (summary.done, summary.failed, summary.documents_failed) == (1, 0, [])
    assert not (folder / ".pero-worker" / "begun").exists()


def test_files_of_a_page_that_failed_later_stay_ours(tmp_path: Path) -> None:
    scan = png(tmp_path / "d" / "a.png")
    out, whole = tmp_path / "out", scan.read_bytes()
    go(scan, output=out)
    scan.write_bytes(b"no picture")
    assert go(scan, output=out).failed == 1
    scan.write_bytes(whole)
    os.utime(scan, ns=(1, 1))
    assert go(scan, output=out).done == 1


def test_text_that_is_there_is_treated_as_asked_the_next_time(tmp_path: Path) -> None:
    source = pdf(tmp_path / "a.pdf")
    out = tmp_path / "out"
    go(source, output=out, formats=("pdf",))
    made = (out / "a.pdf").stat().st_mtime_ns
    go(source, output=out, formats=("pdf",))
    assert (out / "a.pdf").stat().st_mtime_ns == made
    go(source, output=out, formats=("pdf",), text=TextPolicy.FORCE)
    assert (out / "a.pdf").stat().st_mtime_ns > made
    made = (out / "a.pdf").stat().st_mtime_ns
    go(source, output=out, formats=("pdf",), text=TextPolicy.FORCE)
    assert (out / "a.pdf").stat().st_mtime_ns == made


def test_a_pdf_has_as_many_pages_as_page_objects(tmp_path: Path) -> None:
    data = pdf(tmp_path / "a.pdf").read_bytes()
    assert b"/Count 1" in data
    (tmp_path / "a.pdf").write_bytes(data.replace(b"/Count 1", b"/Count 1048574"))
    summary = go(tmp_path / "a.pdf", output=tmp_path / "out")
    assert (summary.done, summary.failed) == (1, 0)


def test_a_document_of_too_many_pages_is_refused_and_others_go_on(tmp_path: Path) -> None:
    pdf(tmp_path / "long.pdf", 5)
    pdf(tmp_path / "short.pdf", 2)
    summary = go(tmp_path / "long.pdf", tmp_path / "short.pdf", output=tmp_path / "out", max_pages=4)
    assert (summary.done, summary.failed) == (2, 1)
    assert "5 pages, more than the 4" in summary.failures[0].error


def test_documents_take_turns(tmp_path: Path) -> None:
    pdf(tmp_path / "a.pdf", 6)
    png(tmp_path / "b.png")
    pdf(tmp_path / "c.pdf", 2)
    crew = Crew()
    go(tmp_path, output=tmp_path / "out", crew=crew)
    assert crew.order[:5] == ["a_0001", "b", "c_0001", "a_0002", "c_0002"]
    assert crew.order[5:] == ["a_0003", "a_0004", "a_0005", "a_0006"]


def test_turns_open_one_document_at_a_time() -> None:
    opened: list[int] = []

    def queues() -> Iterator[list[Any]]:
        for number in range(20):
            opened.append(number)
            yield [number] * (3 if number % 2 else 0)

    found: Iterator[Any] = in_turns(queues())
    assert next(found) == 1
    assert len(opened) == 2
    assert sorted([1, *found]) == sorted([number for number in range(1, 20, 2) for _ in range(3)])


def _die(path: Path) -> int:
    if b"deadly" in path.read_bytes():
        os.kill(os.getpid(), signal.SIGSEGV)
    return 3


def test_a_document_that_kills_its_reader_costs_itself_alone(tmp_path: Path) -> None:
    (tmp_path / "bad").write_bytes(b"deadly")
    (tmp_path / "good").write_bytes(b"fine")
    apart = ProcessApart()
    try:
        with pytest.raises(PageError, match="signal 11"):
            apart.call(_die, tmp_path / "bad")
        assert apart.call(_die, tmp_path / "good") == 3
        with pytest.raises(PageError, match="FileNotFoundError"):
            apart.call(_die, tmp_path / "gone")
    finally:
        apart.close()


def _complain(fail: bool) -> str:
    os.write(2, b"\nTIFFReadDirectory: Warning, odd\x1b[31m tag\nand more\n")
    warnings.warn("of Python", stacklevel=1)
    if fail:
        raise PageError("the picture is damaged", permanent=True)
    return "read"


def test_what_libraries_say_is_told_with_the_failure_and_not_on_the_screen(capfd: pytest.CaptureFixture[str]) -> None:
    apart = ProcessApart()
    try:
        for _ in range(2):
            assert apart.call(_complain, False) == "read"
            with pytest.raises(PageError) as raised:
                apart.call(_complain, True)
            assert raised.value.permanent
            assert str(raised.value).startswith("the picture is damaged (TIFFReadDirectory: Warning, odd")
            assert "\x1b" not in str(raised.value) and "and more" not in str(raised.value)
    finally:
        apart.close()
    assert capfd.readouterr().err == ""


def _sleep(_: int) -> None:
    signal.pause()


def test_a_document_that_is_opened_for_ever_is_given_up() -> None:
    apart = ProcessApart(time_limit=0.1)
    with pytest.raises(PageError, match=r"longer than 0\.1 s"):
        apart.call(_sleep, 1)
    apart.close()


def test_a_pdf_is_opened_by_another_process(tmp_path: Path) -> None:
    class Refusing(ProcessApart):
        def call(self, function: Any, *args: Any, **kwargs: Any) -> Any:
            raise PageError(f"{function.__name__} apart")

    documents = [
        SourceDocument(path=pdf(tmp_path / "a.pdf"), name="a"),
        SourceDocument(path=png(tmp_path / "b.png"), name="b"),
    ]
    found = list(open_documents(documents, "p", "1", 300, apart=Refusing()))
    assert [one.error for one in found] == ["count_pages apart", ""]


def test_a_folder_that_cannot_be_read_is_named_and_tells_in_the_exit_status(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Root, as whom the tests may run, reads everything."""
    (tmp_path / "d" / "closed").mkdir(parents=True)
    png(tmp_path / "d" / "a.png")
    scandir = os.scandir

    def refusing(path: str) -> object:
        if Path(path).name == "closed":
            raise PermissionError(13, "Permission denied", str(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refusing)

    @contextmanager
    def opened(folder: OutputFolder, listener: RunListener) -> Iterator[Crew]:
        yield Crew()

    options = RunOptions(formats=("text",))
    request = JobRequest(paths=[str(tmp_path / "d")], output=tmp_path / "o", options=options, workforce=opened)
    monkeypatch.setattr("pero_worker.processes.Lifetime.begin", lambda _: None)
    with pytest.raises(typer.Exit) as ended:
        run_in_terminal(request, quiet=False)
    assert ended.value.exit_code == 3
    said = capsys.readouterr().out
    assert "1 page done" in said
    assert f"1 folders cannot be read: {tmp_path / 'd' / 'closed'}: Permission denied" in said
