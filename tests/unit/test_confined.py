"""Polygons within each other, whatever an engine puts where."""

from __future__ import annotations

import math

from hypothesis import given
from hypothesis import strategies as st
from shapely import LineString, Polygon

from pero_worker.formats.confined import confine
from pero_worker.page import Line, Page, Region, Word

WIDTH, HEIGHT = 300, 200
SLACK = 1.5
number = st.floats(-50, 350) | st.sampled_from([0.0, 10.0, 300.0, math.nan, math.inf])
points = st.lists(st.tuples(number, number), max_size=6).map(tuple)
words = st.lists(st.builds(Word, text=st.sampled_from(["a", "bc"]), polygon=points), max_size=3).map(tuple)
lines = st.builds(
    Line,
    id=st.just("l"),
    baseline=points,
    polygon=points,
    text=st.sampled_from(["a", "a bc", "bc  a", None]),
    words=words,
)
regions = st.builds(Region, id=st.just("r"), polygon=points, lines=st.lists(lines, max_size=3).map(tuple))
pages = st.builds(
    Page,
    name=st.just("p"),
    width=st.just(WIDTH),
    height=st.just(HEIGHT),
    regions=st.lists(regions, max_size=2).map(tuple),
)


def checked(found: tuple[tuple[float, float], ...]) -> Polygon:
    """As OCR-D checks it."""
    assert len(found) >= 4
    assert all(x == round(x) and y == round(y) and 0 <= x <= WIDTH and 0 <= y <= HEIGHT for x, y in found)
    shape = Polygon(found).simplify(1.0)
    assert shape.is_valid and not shape.is_empty
    return shape


@given(pages)
def test_everything_lies_within_what_holds_it(page: Page) -> None:
    for region in confine(page).regions:
        outer = checked(region.polygon).buffer(SLACK)
        for line in region.lines:
            shape = checked(line.polygon)
            assert shape.within(outer)
            if line.baseline:
                assert LineString(line.baseline).within(shape.buffer(SLACK))
            for word in line.words:
                assert checked(word.polygon).within(shape.buffer(SLACK))
            assert not line.words or " ".join(word.text for word in line.words) == line.text


def test_a_word_without_width_and_one_that_reaches_out_stay() -> None:
    box = ((10.0, 10.0), (100.0, 10.0), (100.0, 30.0), (10.0, 30.0))
    flat = Word(text="I", polygon=((99.0, 12.0), (99.0, 12.0), (99.0, 28.0), (99.0, 28.0)))
    far = Word(text="am", polygon=((90.0, 5.0), (140.0, 5.0), (140.0, 35.0), (90.0, 35.0)))
    line = Line(id="l", baseline=((10.0, 28.0), (100.0, 28.0)), polygon=box, text="I am", words=(flat, far))
    (region,) = confine(
        Page(name="p", width=WIDTH, height=HEIGHT, regions=(Region(id="r", polygon=box, lines=(line,)),))
    ).regions
    assert [word.text for word in region.lines[0].words] == ["I", "am"]
    assert max(x for x, _ in region.polygon) == 140


def test_nothing_reaches_out_of_a_border() -> None:
    box = ((10.0, 10.0), (200.0, 10.0), (200.0, 30.0), (10.0, 30.0))
    line = Line(
        id="l", baseline=((10.0, 28.0), (200.0, 28.0)), polygon=box, text="I", words=(Word(text="I", polygon=box),)
    )
    border = ((60.0, 0.0), (150.0, 5.0), (150.0, 100.0), (60.0, 100.0))
    (region,) = confine(
        Page(name="p", width=WIDTH, height=HEIGHT, regions=(Region(id="r", polygon=box, lines=(line,)),)), within=border
    ).regions
    found = [*region.polygon, *region.lines[0].polygon, *region.lines[0].baseline, *region.lines[0].words[0].polygon]
    assert all(60 <= x <= 150 for x, _ in found)
    assert region.lines[0].baseline == ((63.0, 28.0), (147.0, 28.0))
