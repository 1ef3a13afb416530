"""A run over documents, with a workforce that answers at once."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

import pytest
from PIL import Image

from pero_worker.clock import SystemClock
from pero_worker.formats import pagexml
from pero_worker.inputs.discover import discover
from pero_worker.jobs import run as module
from pero_worker.jobs.listener import Summary
from pero_worker.jobs.options import RunOptions
from pero_worker.jobs.outputs import OutputFolder
from pero_worker.jobs.plan import PageTask
from pero_worker.jobs.records import PageRecord
from pero_worker.jobs.run import run
from pero_worker.jobs.workforce import DeathListener, PageOutcome
from pero_worker.page import Page
from pero_worker.request import Payload, Request, StageLog, StageStatus

NOW = SystemClock().now()
LOG = StageLog(host_id="w", stage="s", start=NOW, end=NOW, status=StageStatus.OK)
XML = pagexml.write(Page(name="p", width=20, height=10), created=SystemClock().now(), creator="test")


class Workforce:
    """Holds one page at a time; what becomes of those in `xml` is their PAGE XML there, else an empty page."""

    pipeline = "p"
    version = "1"
    wants_layout = False

    def __init__(self, xml: dict[str, bytes]) -> None:
        self.xml = xml
        self.taken: list[str] = []
        self.in_hand: list[PageOutcome] = []

    def start(self, pages: int, on_death: DeathListener) -> int:
        return 1

    def wants_more(self) -> bool:
        return not self.in_hand

    def hand_in(self, page_id: str, task: PageTask) -> None:
        self.taken.append(task.name)
        results = (
            Payload(name="a.png", content=b"image"),
            Payload(name="a.png_page.xml", content=self.xml.get(task.name, XML)),
        )
        self.in_hand.append(
            PageOutcome(
                page_id=page_id,
                request=Request(uuid=page_id, page_uuid=page_id, stages=("out",), results=results, logs=(LOG,)),
            )
        )

    def outcomes(self, timeout: float) -> Sequence[PageOutcome]:
        found, self.in_hand = self.in_hand, []
        return found

    def stop(self, finished: bool) -> None:
        assert finished


class Listener:
    def __init__(self) -> None:
        self.expected: list[tuple[int, int]] = []
        self.settled = 0

    def notice(self, text: str) -> None:
        raise AssertionError

    def started(self, workers: int) -> None:
        pass

    def expects(self, pages: int, finished_before: int) -> None:
        self.expected.append((pages, finished_before))

    def page_settled(self, record: PageRecord) -> None:
        self.settled += 1

    def worker_died(self, exit_code: int, pages: int) -> None:
        raise AssertionError

    def making_documents(self, documents: int) -> None:
        pass


@pytest.fixture
def scans(tmp_path: Path) -> Path:
    """Thirty images, a TIFF of three pages, and something broken."""
    folder = tmp_path / "scans"
    folder.mkdir()
    picture = Image.new("L", (20, 10))
    for number in range(30):
        picture.save(folder / f"{number}.png")
    picture.save(folder / "three.tif", save_all=True, append_images=[picture, picture])
    (folder / "broken.png").write_bytes(b"\x89PNG broken")
    return folder


def go(scans: Path, workforce: Workforce, listener: Listener, formats: str = "text") -> Summary:
    documents = discover([str(scans)]).documents
    options = RunOptions(formats=tuple(formats.split(",")))
    with closing(OutputFolder(scans.parent / "out")) as folder:
        return run(documents, workforce, folder, options, listener, SystemClock())


def test_documents_are_opened_as_workers_want_pages(scans: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_LOOK_AHEAD", 4)
    opened: list[int] = []

    class Watching(Workforce):
        def hand_in(self, page_id: str, task: PageTask) -> None:
            opened.append(len(listener.expected))
            super().hand_in(page_id, task)

    listener = Listener()
    summary = go(scans, Watching({}), listener)
    assert opened[:8] == [4, 4, 4, 4, 5, 6, 7, 8]
    assert (summary.done, summary.failed) == (33, 1)
    assert listener.expected[0] == (32, 0), "a document counts as one page until it is opened"
    assert listener.expected[-1] == (34, 0)
    assert listener.settled == 34


def test_the_next_run_does_what_failed(scans: Path) -> None:
    first = go(scans, Workforce({"three_0002": b"<no"}), Listener())
    assert (first.done, first.failed) == (32, 2)
    assert {record.page for record in first.failures} == {"broken", "three_0002"}
    again, listener = Workforce({}), Listener()
    second = go(scans, again, listener)
    assert again.taken == ["three_0002"]
    assert (second.done, second.failed, second.finished_before) == (1, 1, 32)
    assert listener.expected[-1] == (2, 32)


def test_the_summary_names_the_first_failures(scans: Path) -> None:
    summary = go(scans, Workforce({str(number): b"<no" for number in range(30)}), Listener())
    assert summary.failed == 31
    assert len(summary.failures) == 20


def test_a_format_added_later_is_made_of_the_results_that_are_there(scans: Path) -> None:
    (scans / "broken.png").unlink()
    out = scans.parent / "out"
    go(scans, Workforce({}), Listener(), "page,text")
    again, listener = Workforce({}), Listener()
    summary = go(scans, again, listener, "page,text,alto,hocr")
    assert again.taken == []
    assert (summary.done, summary.failed) == (33, 0)
    assert listener.settled == 33
    made = {path.name: path.read_bytes() for path in out.glob("*.alto.xml")}
    assert len(made) == 33
    assert go(scans, again, Listener(), "page,text,alto,hocr").finished_before == 33
    # Made from nothing but the scans, they are the same except for the time.
    for path in out.iterdir():
        if path.is_file():
            path.unlink()
    go(scans, Workforce({}), Listener(), "page,text,alto,hocr")
    for name, content in made.items():
        assert _without_time((out / name).read_bytes()) == _without_time(content)


def _without_time(alto: bytes) -> list[bytes]:
    return [line for line in alto.splitlines() if b"processingDateTime" not in line]


def test_without_the_page_xml_of_this_very_scan_a_page_is_read_again(scans: Path) -> None:
    (scans / "broken.png").unlink()
    out = scans.parent / "out"
    go(scans, Workforce({}), Listener(), "page")
    (out / "3.page.xml").unlink()
    (out / "4.page.xml").write_bytes(b"<torn")
    Image.new("L", (30, 10)).save(scans / "5.png")
    again = Workforce({})
    go(scans, again, Listener(), "alto")
    assert sorted(again.taken) == ["3", "4", "5"]


def test_a_hidden_page_xml_will_do_when_it_is_of_the_latest_run(scans: Path) -> None:
    (scans / "broken.png").unlink()
    (scans / "three.tif").unlink()
    go(scans, Workforce({}), Listener(), "pdf")
    again = Workforce({})
    go(scans, again, Listener(), "text")
    assert again.taken == []
    assert len(list((scans.parent / "out").glob("*.txt"))) == 30
