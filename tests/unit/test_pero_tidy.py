"""Order and false lines of drawn layouts."""

from __future__ import annotations

import math
from configparser import ConfigParser
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pero_worker.engines.pero.tidy import Tidying, sorted_lines, without_false_lines
from pero_worker.page import Line, Page, Polygon, Region

HEIGHTS = (30.0, 10.0)
WIDTH, HEIGHT = 1400, 1000


def line(text: str | None, left: float, y: float, right: float, confidence: float | None = 0.9) -> Line:
    """Makes a line whose baseline is at `y`."""
    outline = ((left, y - HEIGHTS[0]), (right, y - HEIGHTS[0]), (right, y + HEIGHTS[1]), (left, y + HEIGHTS[1]))
    return Line(
        id=f"{text}@{left:g},{y:g}",
        baseline=((left, y), (right, y)),
        polygon=outline,
        heights=HEIGHTS,
        text=text,
        confidence=confidence,
    )


def region(name: str, *lines: Line) -> Region:
    points = [point for one in lines for point in one.polygon]
    (left, top), (right, bottom) = (tuple(map(pick, zip(*points, strict=True))) for pick in (min, max))
    return Region(id=name, polygon=((left, top), (right, top), (right, bottom), (left, bottom)), lines=lines)


def page(*regions: Region) -> Page:
    return Page(name="p.png", width=WIDTH, height=HEIGHT, regions=regions)


def texts(result: Page) -> str:
    return " ".join(str(one.text) for one in result.lines())


def turned(before: Page, degrees: float) -> Page:
    cos, sin = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))

    def turn(points: Polygon) -> Polygon:
        return tuple((x * cos - y * sin, x * sin + y * cos) for x, y in points)

    return replace(
        before,
        regions=tuple(
            Region(
                id=one.id,
                polygon=turn(one.polygon),
                lines=tuple(replace(x, baseline=turn(x.baseline), polygon=turn(x.polygon)) for x in one.lines),
            )
            for one in before.regions
        ),
    )


CATALOGUE = page(
    region("prices", *(line(f"{n}.-", 1000, 100 + 60 * n, 1080) for n in range(6))),
    region("titles", *(line(f"title{n}", 100, 100 + 60 * n, 700) for n in range(6))),
)
TWO_COLUMNS = page(
    region("right", *(line(f"r{n}", 720, 200 + 50 * n, 1300) for n in range(6))),
    region("heading", line("heading", 200, 100, 1200)),
    region("left", *(line(f"l{n}", 100, 200 + 50 * n, 680) for n in range(6))),
)


def test_prices_stay_with_their_titles_and_make_one_region() -> None:
    result = sorted_lines(CATALOGUE)
    assert texts(result) == " ".join(f"title{n} {n}.-" for n in range(6))
    assert [one.id for one in result.regions] == ["titles"]
    assert result.regions[0].polygon == ((100, 70), (1080, 70), (1080, 410), (100, 410))


def test_columns_are_read_one_after_the_other_and_stay_regions() -> None:
    result = sorted_lines(TWO_COLUMNS)
    assert texts(result) == "heading l0 l1 l2 l3 l4 l5 r0 r1 r2 r3 r4 r5"
    assert result.regions == (TWO_COLUMNS.regions[1], TWO_COLUMNS.regions[2], TWO_COLUMNS.regions[0])


@pytest.mark.parametrize("degrees", [-4.0, -1.5, 2.0, 4.0])
@pytest.mark.parametrize("layout", [CATALOGUE, TWO_COLUMNS], ids=["catalogue", "columns"])
def test_a_skewed_page_is_read_as_a_straight_one(layout: Page, degrees: float) -> None:
    assert texts(sorted_lines(turned(layout, degrees))) == texts(sorted_lines(layout))


def test_the_first_line_of_a_paragraph_is_read_first_though_it_is_a_region_of_its_own() -> None:
    body = region("body", *(line(f"b{n}", 100, 150 + 50 * n, 900) for n in range(3)))
    first = region("first", line("indented", 200, 100, 900))
    assert texts(sorted_lines(page(body, first))) == "indented b0 b1 b2"


def test_regions_without_lines_are_kept_last() -> None:
    picture = Region(id="picture", polygon=((0, 0), (9, 0), (9, 9)))
    result = sorted_lines(replace(TWO_COLUMNS, regions=(picture, *TWO_COLUMNS.regions)))
    assert [one.id for one in result.regions] == ["heading", "left", "right", "picture"]


@pytest.mark.parametrize(
    ("text", "confidence"), [("", 1.0), (" ", 1.0), (",", 0.99), (".'", 0.97), ("- -", 0.4), ("†*(", 0.59), ("—", 0.2)]
)
def test_specks_are_dropped_and_their_regions_with_them(text: str, confidence: float) -> None:
    speck = region("speck", line(text, 20, 500, 60, confidence))
    assert without_false_lines(page(region("body", line("body", 100, 100, 900)), speck)).regions == (
        region("body", line("body", 100, 100, 900)),
    )


@pytest.mark.parametrize(
    ("text", "confidence"),
    [("a", 0.01), ("7", 0.2), ("-", 0.9), ("* * *", 0.8), ("—", 0.7), ("...", 0.9), ("§", None), (None, None)],
)
def test_what_may_be_text_is_kept(text: str | None, confidence: float | None) -> None:
    one = page(region("r", line(text, 100, 100, 300, confidence)))
    assert without_false_lines(one) == one


def test_lines_read_with_little_confidence_are_none() -> None:
    before = page(region("r", line("a page", 100, 100, 900, 0.9), line("wtlil", 100, 150, 900, 0.3)))
    assert texts(without_false_lines(before, 0.35)) == "a page"
    assert texts(without_false_lines(before, 0.3)) == "a page wtlil"
    hard = page(region("r", line("here", 100, 100, 900, 0.9), line("unreadable hand", 100, 150, 900, 0.3)))
    assert without_false_lines(hard, 0.35) == hard
    unknown = page(region("r", line("a page", 100, 100, 900, None), line(None, 100, 150, 900, None)))
    assert without_false_lines(unknown, 0.35) == unknown


def test_a_line_found_twice_is_kept_once_the_longer_one() -> None:
    whole, part = line("the whole line", 100, 100, 900), line("whole", 300, 104, 500)
    assert texts(without_false_lines(page(region("a", part, line("next", 100, 150, 900)), region("b", whole)))) == (
        "next the whole line"
    )


def test_neighbours_are_not_taken_for_each_other() -> None:
    close = page(
        region("r", line("above", 100, 100, 900), line("below", 100, 132, 900), line("beside", 890, 100, 1200))
    )
    assert without_false_lines(close) == close


def test_lines_with_the_same_id_are_told_apart() -> None:
    same = [replace(line(text, 100, y, 900), id="x") for text, y in (("b", 200.0), ("", 150.0), ("a", 100.0))]
    assert texts(Tidying(sort_lines=True, drop_false_lines=True)(page(region("r", *same)))) == "a b"


def test_nothing_is_done_unless_the_configuration_asks() -> None:
    messy = page(region("r", line("b", 100, 200, 900), line(",", 100, 150, 120), line("a", 100, 100, 900)))
    config = ConfigParser()
    assert Tidying.of(config)(messy) == messy
    config.read_dict({"WORKER": {"SORT_LINES": "yes"}})
    assert texts(Tidying.of(config)(messy)) == "a , b"
    config.read_dict({"WORKER": {"SORT_LINES": "no", "DROP_FALSE_LINES": "yes"}})
    assert texts(Tidying.of(config)(messy)) == "b a"


@given(
    st.lists(
        st.tuples(st.text("a,. ", max_size=3), *[st.integers(-50, 1500)] * 3, st.integers(0, 3)),
        min_size=1,
        max_size=12,
    )
)
def test_whatever_the_layout_every_other_line_is_there_once(parts: list[tuple[str, int, int, int, int]]) -> None:
    lines = [line(text, left, y, right) for text, left, y, right, _ in parts]
    layout = page(
        *(
            Region(id=f"r{n}", polygon=(), lines=tuple(o for o, p in zip(lines, parts, strict=True) if p[4] == n))
            for n in range(4)
        )
    )
    assert sorted(map(id, sorted_lines(layout).lines())) == sorted(map(id, layout.lines()))
    assert set(map(id, Tidying(sort_lines=True, drop_false_lines=True)(layout).lines())) <= set(map(id, lines))
