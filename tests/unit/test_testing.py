"""The tools that people test their engines with."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest
from PIL import Image

from pero_worker.errors import PageError, TransientError
from pero_worker.page import Line, Page, Region
from pero_worker.testing import FaultyEngine, StandingClock, run_engine

BOX = ((1.0, 2.0), (9.0, 2.0), (9.0, 8.0), (1.0, 8.0))
PAGE = Page(
    name="scan.png",
    width=20,
    height=10,
    regions=(
        Region(
            id="r",
            polygon=BOX,
            lines=(Line(id="l", baseline=BOX[3:1:-1], polygon=BOX, heights=(6.0, 1.0), text="a line"),),
        ),
    ),
)


@pytest.fixture
def scan(tmp_path: Path) -> Path:
    Image.new("RGB", (20, 10), "white").save(tmp_path / "scan.png")
    return tmp_path / "scan.png"


def test_engines_follow_each_other_as_in_a_worker(scan: Path) -> None:
    layout, text = FaultyEngine(page=PAGE, needs_image=True), FaultyEngine()
    assert run_engine(scan, layout, text) == PAGE
    assert layout.seen[0].page is None and layout.seen[0].image is not None
    assert layout.seen[0].image.shape == (10, 20, 3)
    assert text.seen[0].page == PAGE and text.seen[0].image is None
    assert run_engine(scan, FaultyEngine()) is None
    given = FaultyEngine()
    assert run_engine(scan, given, page=PAGE) == PAGE and given.seen[0].page == PAGE


def test_whatever_an_engine_raises_is_the_failure_of_its_page(scan: Path) -> None:
    faulty = FaultyEngine(faults=[PageError("no"), ZeroDivisionError("oh"), TransientError("later")], page=PAGE)
    with pytest.raises(PageError, match="no"):
        run_engine(scan, faulty)
    with pytest.raises(PageError, match=r"faulty 1\.0 raised ZeroDivisionError: oh"):
        run_engine(scan, faulty)
    with pytest.raises(TransientError, match="later"):
        run_engine(scan, faulty)
    assert run_engine(scan, faulty) == PAGE
    faulty.close()
    assert faulty.closed


def test_a_result_that_cannot_be_written_is_found(scan: Path) -> None:
    endless = Page(name="scan.png", width=20, height=10, regions=(Region(id="r", polygon=((float("nan"), 0.0),) * 3),))
    with pytest.raises(PageError):
        run_engine(scan, FaultyEngine(page=endless))


def test_a_standing_clock_goes_when_it_is_told() -> None:
    clock = StandingClock()
    clock.sleep(90)
    assert clock.monotonic() == 90 and clock.now() - clock.start == timedelta(seconds=90)
