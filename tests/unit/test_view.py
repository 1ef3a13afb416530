from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import numpy as np
import pytest

from pero_worker.errors import PageError
from pero_worker.formats import pagexml
from pero_worker.inputs.images import PageScan
from pero_worker.page import Line, Page, Region, Word
from pero_worker.work import EngineInput, EngineOutput
from pero_worker.worker.upright import _Text, process_upright
from pero_worker.worker.view import View, orientation_of, turns_of

BOX = ((10.0, 4.0), (30.0, 4.0), (30.0, 12.0), (10.0, 12.0))
LINE = Line(
    id="l",
    baseline=((10.0, 10.0), (30.0, 10.0)),
    polygon=BOX,
    heights=(6.0, 2.0),
    text="word",
    confidence=0.9,
    words=(Word(text="word", polygon=BOX, confidence=0.9),),
)
PAGE = Page(name="p", width=60, height=40, regions=(Region(id="r", polygon=BOX, lines=(LINE,)),))


@pytest.mark.parametrize("turns", range(4))
@pytest.mark.parametrize("aspect", [0.5, 1.0, 2.0])
def test_what_is_seen_comes_back_where_it_was(turns: int, aspect: float) -> None:
    view = View(width=60, height=40, aspect=aspect, turns=turns)
    back = view.stored(view.seen(PAGE))
    assert back.orientation == orientation_of(turns)
    assert replace(back, orientation=0.0) == PAGE


@pytest.mark.parametrize("turns", range(4))
@pytest.mark.parametrize("aspect", [0.5, 1.0, 2.0])
def test_image_and_coordinates_go_the_same_way(turns: int, aspect: float) -> None:
    image = np.full((40, 60, 3), 255, np.uint8)
    image[4:12, 10:30] = 0
    view = View(width=60, height=40, aspect=aspect, turns=turns)
    seen = view.image(image)
    page = view.seen(PAGE)
    assert seen.shape[:2] == (page.height, page.width)
    ys, xs = np.nonzero(seen[:, :, 0] < 128)
    points = np.array(page.regions[0].polygon)
    assert (xs.min(), ys.min()) == pytest.approx(points.min(axis=0), abs=1.01)
    assert (xs.max() + 1, ys.max() + 1) == pytest.approx(points.max(axis=0), abs=1.01)
    # Where rows are fewer, they are stretched, not columns squeezed: no dot of the scan is lost.
    assert seen.size >= image.size


def test_a_page_lying_to_the_left_is_turned_clockwise() -> None:
    seen = View(width=2, height=1, turns=1).image(np.array([[[1] * 3, [2] * 3]], np.uint8))
    assert seen[:, :, 0].tolist() == [[1], [2]]


@pytest.mark.parametrize(
    ("orientation", "turns"), [(0, 0), (90, 1), (180, 2), (-90, 3), (1.5, 0), (89.5, 1), (45, 0), (-179.5, 2)]
)
def test_orientation_means_quarter_turns_or_nothing(orientation: float, turns: int) -> None:
    assert turns_of(orientation) == turns


@pytest.mark.parametrize("orientation", [90.0, 180.0, -90.0, 0.0, 1.25])
def test_page_xml_keeps_the_orientation(orientation: float) -> None:
    data = pagexml.write(replace(PAGE, orientation=orientation), created=datetime(2026, 1, 1, tzinfo=UTC), creator="c")
    assert pagexml.read(data).orientation == orientation
    assert (b"orientation=" in data) == bool(orientation)


@pytest.mark.parametrize("text", ["nan", "inf", "-180", "x", "", "1e9"])
def test_an_orientation_that_is_none_is_passed_over(text: str) -> None:
    data = pagexml.write(replace(PAGE, orientation=90.0), created=datetime(2026, 1, 1, tzinfo=UTC), creator="c")
    assert pagexml.read(data.replace(b'"90.000"', f'"{text}"'.encode())).orientation == 0


class Seeing:
    """Finds whatever is dark on the page and calls it a line."""

    needs_image = True
    description = "seeing"

    def process(self, work: EngineInput) -> EngineOutput:
        self.given = work
        assert work.image is not None
        ys, xs = np.nonzero(work.image[:, :, 0] < 128)
        left, top, right, bottom = map(float, (xs.min(), ys.min(), xs.max() + 1, ys.max() + 1))
        box = ((left, top), (right, top), (right, bottom), (left, bottom))
        line = Line(
            id="l",
            baseline=((left, bottom), (right, bottom)),
            polygon=box,
            heights=(bottom - top, 1.0),
            text="a line of words",
            confidence=0.9,
        )
        page = Page(
            name="p",
            width=work.image.shape[1],
            height=work.image.shape[0],
            regions=(Region(id="r", polygon=box, lines=(line,)),),
        )
        return EngineOutput(page=page)

    def close(self) -> None: ...


def test_a_fax_is_read_with_square_pixels_and_told_of_as_it_is_stored() -> None:
    image = np.full((100, 200, 3), 255, np.uint8)
    image[10:20, 50:150] = 0
    engine = Seeing()
    scan = PageScan(image=image, dpi=204, aspect=98 / 204)
    page = process_upright(engine, EngineInput(name="p", size=1), scan, max_pixels=10**6).page
    assert engine.given.image is not None
    assert engine.given.image.shape[:2] == (208, 200)
    assert page is not None
    assert (page.width, page.height, page.orientation) == (200, 100, 0.0)
    (line,) = page.lines()
    assert np.array(line.polygon).ravel() == pytest.approx([50, 10, 150, 10, 150, 20, 50, 20], abs=0.6)
    assert line.heights is not None
    assert line.heights[0] == pytest.approx(10, abs=0.6)


def test_a_fax_that_would_be_too_large_is_refused() -> None:
    scan = PageScan(image=np.zeros((100, 200, 3), np.uint8), aspect=0.5)
    with pytest.raises(PageError, match="square pixels"):
        process_upright(Seeing(), EngineInput(name="p", size=1), scan, max_pixels=30_000)


def test_a_layout_of_a_turned_page_is_turned_for_the_engine() -> None:
    image = np.full((40, 60, 3), 255, np.uint8)
    image[4:12, 10:30] = 0
    given = replace(PAGE, orientation=90.0)
    engine = Seeing()
    page = process_upright(
        engine, EngineInput(name="p", size=1, page=given), PageScan(image=image), max_pixels=10**6
    ).page
    assert engine.given.image is not None
    assert engine.given.image.shape[:2] == (60, 40)
    assert engine.given.page is not None
    assert engine.given.page.width == 40
    assert page is not None
    assert (page.width, page.height, page.orientation) == (60, 40, 90.0)
    (line,) = page.lines()
    assert np.array(line.polygon).min(axis=0) == pytest.approx([10, 4], abs=1)


class Reading(Seeing):
    """Is sure of a page whose darker line lies above the lighter one, as if that told it which way is up."""

    def __init__(self, *, upright: float = 0.9, other: float = 0.2) -> None:
        self.calls: list[tuple[int, ...]] = []
        self._sure = {True: upright, False: other}

    def process(self, work: EngineInput) -> EngineOutput:
        assert work.image is not None
        self.calls.append(work.image.shape[:2])
        ys, xs = np.nonzero(work.image[:, :, 0] < 128)
        across = bool(len(ys)) and np.ptp(xs) > np.ptp(ys)
        light = np.nonzero((work.image[:, :, 0] >= 30) & (work.image[:, :, 0] < 128))[0]
        above = bool(len(light)) and ys.mean() < light.mean()
        text = "a line of words" if across else "i"
        page = super().process(work).page
        assert page is not None
        (line,) = page.lines()
        line = replace(line, text=text, confidence=self._sure[bool(across and above)])
        return EngineOutput(
            page=replace(page, regions=(replace(page.regions[0], lines=(line,)),)), seconds={"ocr": 1.0}
        )


def lying(turns: int) -> PageScan:
    """A page that has to be turned clockwise so often."""
    image = np.full((300, 400, 3), 255, np.uint8)
    image[90:110, 100:300] = 0
    image[130:140, 100:300] = 60
    return PageScan(image=np.ascontiguousarray(np.rot90(image, turns)))


@pytest.mark.parametrize("turns", range(4))
def test_a_page_that_lies_wrong_is_turned_and_told_of_as_it_lies(turns: int) -> None:
    engine = Reading()
    scan = lying(turns)
    page = process_upright(engine, EngineInput(name="p", size=1), scan, max_pixels=10**6).page
    assert page is not None
    assert page.orientation == orientation_of(turns)
    assert (page.height, page.width) == scan.image.shape[:2]
    (line,) = page.lines()
    assert line.text == "a line of words"
    ys, xs = np.nonzero(scan.image[:, :, 0] < 128)
    points = np.array(line.polygon)
    assert points.min(axis=0) == pytest.approx([xs.min(), ys.min()], abs=1)
    assert points.max(axis=0) == pytest.approx([xs.max() + 1, ys.max() + 1], abs=1)
    assert len(engine.calls) == (1 if turns == 0 else 6)


@pytest.mark.parametrize("turns", range(4))
def test_nothing_is_turned_when_that_is_not_wanted_or_a_layout_is_there(turns: int) -> None:
    scan = lying(turns)
    layout = replace(PAGE, width=scan.image.shape[1], height=scan.image.shape[0])
    for work, rotate in ((EngineInput(name="p", size=1), False), (EngineInput(name="p", size=1, page=layout), True)):
        engine = Reading()
        page = process_upright(engine, work, scan, max_pixels=10**6, rotate=rotate).page
        assert page is not None
        assert page.orientation == 0
        assert len(engine.calls) == 1


def test_a_page_that_is_hard_to_read_in_any_position_stays_as_it_is() -> None:
    engine = Reading(upright=0.25, other=0.2)
    page = process_upright(engine, EngineInput(name="p", size=1), lying(2), max_pixels=10**6).page
    assert page is not None
    assert page.orientation == 0
    # The parts are half as high and half as wide.
    assert engine.calls[1:] == [(150, 200), (200, 150), (150, 200), (200, 150)]


def test_a_blank_page_is_read_once() -> None:
    class Blank(Seeing):
        calls = 0

        def process(self, work: EngineInput) -> EngineOutput:
            self.calls += 1
            return EngineOutput(page=Page(name="p", width=40, height=30))

    engine = Blank()
    for paper in (np.full((400, 300, 3), 240, np.uint8), np.zeros((400, 300, 3), np.uint8)):
        process_upright(engine, EngineInput(name="p", size=1), PageScan(image=paper), max_pixels=10**6)
    assert engine.calls == 2


def test_words_in_a_column_do_not_run_across() -> None:
    """As engines that find words one by one read a page that lies sideways."""
    tall = tuple(
        Word(text="word", polygon=((x, 0.0), (x + 10, 0.0), (x + 10, 60.0), (x, 60.0)), confidence=0.99)
        for x in (0.0, 20.0, 40.0)
    )
    line = Line(
        id="l",
        baseline=((0.0, 60.0), (50.0, 60.0)),
        polygon=((0.0, 0.0), (90.0, 0.0), (90.0, 60.0), (0.0, 60.0)),
        heights=None,
        text="word word word",
        confidence=0.99,
        words=tall,
    )
    text = _Text.of(
        Page(name="p", width=100, height=100, regions=(Region(id="r", polygon=line.polygon, lines=(line,)),))
    )
    assert (text.letters, text.sure) == (14, 0)
    assert _Text.of(PAGE).sure == pytest.approx(4 * 0.9)
