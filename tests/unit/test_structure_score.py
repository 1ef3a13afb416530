"""The measures of order and regions, against values worked out by hand."""

from __future__ import annotations

from dataclasses import replace

from structure import Structure, compare
from textscore import bag_errors

from pero_worker.page import Line, Page, Region


def line(left: float, top: float) -> Line:
    right, base = left + 100.0, top + 20.0
    polygon = ((left, top), (right, top), (right, base + 5), (left, base + 5))
    return Line(id=f"l{left}-{top}", baseline=((left, base), (right, base)), polygon=polygon, heights=(18.0, 6.0))


def region(kind: str, *lines: Line) -> Region:
    xs, ys = zip(*(point for one in lines for point in one.polygon), strict=True)
    outline = ((min(xs), min(ys)), (max(xs), min(ys)), (max(xs), max(ys)), (min(xs), max(ys)))
    return Region(id=f"{kind}{len(lines)}", polygon=outline, lines=lines, kind=kind)


LEFT, RIGHT = ([line(left, 30.0 * row) for row in range(4)] for left in (0.0, 200.0))
TRUTH = Page(name="p", width=400, height=200, regions=(region("paragraph", *LEFT), region("heading", *RIGHT)))


def test_what_is_right_has_no_errors() -> None:
    assert compare(TRUTH, TRUTH) == Structure(pairs=28, steps=7, regions=4, hits=2, kinds=2)


def test_rows_across_two_columns() -> None:
    rows = [one for row in zip(LEFT, RIGHT, strict=True) for one in row]
    found = compare(TRUTH, replace(TRUTH, regions=(region("paragraph", *rows),)))
    # Each line of the right column comes before those of the left one that are lower: 3 + 2 + 1 pairs.
    assert found == Structure(pairs=28, inverted=6, steps=7, jumps=6, regions=3)
    assert (found + found).order == found.order


def test_kinds_and_regions_in_pieces() -> None:
    pieces = (region("paragraph", *LEFT), region("heading", *RIGHT[:2]), region("heading", *RIGHT[2:]))
    found = compare(TRUTH, replace(TRUTH, regions=pieces))
    assert (found.hits, found.kinds, found.regions, found.f1) == (1, 1, 5, 0.4)


def test_a_truth_of_regions_alone() -> None:
    bare = replace(TRUTH, regions=tuple(replace(one, lines=()) for one in TRUTH.regions))
    assert compare(bare, TRUTH) == Structure(steps=7, regions=4, hits=2, kinds=2)


def test_words_in_any_order() -> None:
    assert bag_errors("a b c", "c b a") == 0
    assert bag_errors("a b c", "a x") == 2
    assert bag_errors("a", "a a a") == 2
