"""Outlines as the strictest reader wants them, whatever an engine said."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
from hypothesis import given
from strict import faults_of
from test_pagexml import PAGES, page, written

from pero_worker.errors import PageError
from pero_worker.formats import pagexml
from pero_worker.formats.outlines import envelope, whole
from pero_worker.page import Line, Page, Polygon, Region, Word


def box(left: float, top: float, right: float, bottom: float) -> Polygon:
    return (left, top), (right, top), (right, bottom), (left, bottom)


def line(outline: Polygon, *words: Word, baseline: Polygon = ((100.0, 120.0), (300.0, 120.0))) -> Line:
    return Line(
        id="l",
        baseline=baseline,
        polygon=outline,
        heights=(20.0, 8.0),
        text=" ".join(word.text for word in words),
        confidence=0.9,
        words=words,
    )


def only(record: Page) -> Line:
    (found,) = whole(record).lines()
    return found


def on_a_page(*lines: Line, outline: Polygon = ()) -> Page:
    return Page(name="p", width=1000, height=1400, regions=(Region(id="r", polygon=outline, lines=lines),))


def test_what_is_sound_stays_as_it_is() -> None:
    region = whole(page()).regions[1]
    assert region == page().regions[1]


def test_a_line_reaches_around_its_words_and_a_region_around_its_lines() -> None:
    found = whole(
        on_a_page(
            line(box(100, 90, 300, 130), Word(text="a", polygon=box(95.4, 80.6, 200, 126))),
            outline=box(98, 90, 310, 140),
        )
    )
    (region,) = found.regions
    assert region.lines[0].words[0].polygon == box(95, 81, 200, 126)
    assert region.lines[0].polygon == ((94, 80), (200, 80), (301, 89), (301, 131), (100, 131), (94, 127))
    assert faults_of(written(found)) == []
    assert min(region.polygon) == (93, 79)


def test_a_curved_line_does_not_swallow_the_ink_beside_its_curve() -> None:
    curve = tuple((x, 500 + 60 * math.sin(x / 80)) for x in range(100, 600, 20))
    outline = (*((x, y - 20) for x, y in curve), *((x, y + 6) for x, y in reversed(curve)))
    words = [Word(text="w", polygon=box(x + 2, y - 18, x + 30, y + 9)) for x, y in curve[::2]]
    found = only(on_a_page(line(outline, *words, baseline=curve)))
    assert faults_of(written(on_a_page(found))) == []
    for x, y in curve:
        assert -80 < min(v for u, v in found.polygon if abs(u - x) <= 40) - y < 80


@pytest.mark.parametrize(
    "outline",
    [box(200, 90, 200, 130), box(200, 90, 201, 130), box(1000, 90, 1000, 130), box(0, 0, 0, 0), ((5.0, 5.0),), ()],
)
def test_no_word_is_without_width(outline: Polygon) -> None:
    record = on_a_page(line(box(100, 90, 300, 130), Word(text="i", polygon=outline)))
    xs = [x for x, _ in only(record).words[0].polygon]
    assert max(xs) - min(xs) == 3
    assert faults_of(written(record)) == []


def test_upright_text_keeps_an_upright_outline() -> None:
    words = (Word(text="up", polygon=box(398, 300, 431, 500)), Word(text="right", polygon=box(401, 520, 430, 700)))
    found = only(on_a_page(line(box(400, 300, 430, 700), *words, baseline=((422.0, 700.0), (422.0, 300.0)))))
    assert {x for x, _ in found.polygon} <= set(range(396, 434))
    assert faults_of(written(on_a_page(found))) == []


def test_an_outline_that_crosses_itself_is_made_anew() -> None:
    crossed = ((100.0, 90.0), (300.0, 130.0), (300.0, 90.0), (100.0, 130.0))
    record = on_a_page(line(crossed), outline=crossed)
    assert faults_of(written(record)) == []


def test_an_outline_of_very_many_points_is_replaced_by_its_box() -> None:
    many = tuple((100 + x % 997, x % 89) for x in range(100_000))
    assert len(envelope([many], page())) <= 8


def test_an_outline_that_zigzags_over_the_whole_line_is_replaced_by_its_box() -> None:
    zigzag = tuple((100 + place if place % 2 else 1900 - place, place % 89) for place in range(1500))
    assert len(envelope([zigzag], page())) <= 8


def test_a_place_that_is_no_number_is_a_failure_of_the_page() -> None:
    with pytest.raises(PageError, match="no number"):
        whole(on_a_page(line(box(100, math.nan, 300, 130))))


@given(PAGES.filter(lambda record: record.width > 8 and record.height > 8))
def test_whatever_an_engine_says(record: Page) -> None:
    regions = tuple(
        replace(region, lines=tuple(replace(own, text=None) for own in region.lines)) for region in record.regions
    )
    assert [
        fault for fault in faults_of(written(replace(record, regions=regions))) if "another text" not in fault
    ] == []


def test_reading_and_writing_again_changes_nothing() -> None:
    once = written(on_a_page(line(box(100, 90, 300, 130), Word(text="a", polygon=box(95.4, 80.6, 200, 126)))))
    assert written(pagexml.read(once)) == once
