"""Outlines that strict readers accept: in whole pixels of the page, with an area, children within their parents."""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Iterable, Sequence
from dataclasses import replace
from itertools import pairwise

from pero_worker.errors import PageError
from pero_worker.formats.shapes import (
    MAX_POINTS,
    MAX_WORK,
    Pixel,
    Pixels,
    box_around,
    covers,
    covers_sideways,
    crosses,
    extent,
    levels_of,
    mirrored,
    spans_of,
    work_of,
)
from pero_worker.page import Line, Page, Point, Polygon, Region

_THINNEST = 3
"""Least width and height of an outline in pixels: nothing that was read is thinner."""
_SLACK = 2
"""Pixels by which an outline may exceed what it surrounds, to have fewer points."""
_MARGIN = 1
"""Pixels between an outline and what it surrounds: readers that simplify both do so by about as much."""
_ROUNDING = 1e-9
"""Slopes that differ by less than this are not known to differ."""


def whole(page: Page) -> Page:
    """Returns `page` as PAGE XML can express it: everything in whole pixels of the page, words and baselines within
    their line, lines within their region, outlines with at least four points that do not cross themselves.

    Raises `PageError` if a coordinate is not a number.
    """
    return replace(page, regions=tuple(_region(region, page) for region in page.regions))


def _region(region: Region, page: Page) -> Region:
    lines = tuple(_line(line, page) for line in region.lines)
    inside = [_ints(line.polygon) for line in lines]
    return replace(region, polygon=_around(_ring(region.polygon, page), inside, page, upright=True), lines=lines)


def _line(line: Line, page: Page) -> Line:
    words = tuple(replace(word, polygon=_with_area(_ring(word.polygon, page), page)) for word in line.words)
    baseline, own = pixels(line.baseline, page), _ring(line.polygon, page)
    inside = [baseline, *(_ints(word.polygon) for word in words)]
    return replace(
        line, polygon=_around(own, inside, page, upright=_is_upright(baseline)), baseline=baseline, words=words
    )


def _around(own: Pixels, inside: Sequence[Pixels], page: Page, *, upright: bool) -> Pixels:
    """Returns the outline `own` if it will do for all that is `inside`, otherwise an envelope."""
    if (covers(own, inside) or covers_sideways(own, inside)) and not crosses(own):
        found = own if len(own) > 3 else _with_a_fourth(own)
        if len(found) > 3:
            return found
    return envelope([own, *inside] if len(own) > 2 or not any(inside) else inside, page, upright=upright)


def _with_a_fourth(triangle: Pixels) -> Pixels:
    """Returns a triangle with a fourth point, as some readers reject triangles; unchanged if it has no room."""
    (ax, ay), (bx, by), _ = triangle
    middle = (ax + bx) // 2, (ay + by) // 2
    return (triangle[0], middle, *triangle[1:]) if middle not in triangle else triangle


def pixels(points: Sequence[Point], page: Page) -> Pixels:
    """Rounds points and clips them to the page, without those that repeat the one before. Raises `PageError` if a
    coordinate is not a number."""
    width, height = page.width, page.height
    try:
        whole_pixels = [(round(x), round(y)) for x, y in points]
    except (ValueError, OverflowError):
        raise PageError("the engine put something at a place that is no number") from None
    clipped = [(min(max(0, x), width), min(max(0, y), height)) for x, y in whole_pixels]
    return tuple(point for point, before in zip(clipped, (None, *clipped), strict=False) if point != before)


def _ring(points: Sequence[Point], page: Page) -> Pixels:
    """Returns an outline in pixels, without repeating its first point at the end."""
    found = pixels(points, page)
    return found[:-1] if len(found) > 1 and found[0] == found[-1] else found


def envelope(shapes: Iterable[Pixels], page: Page, *, upright: bool = False) -> Pixels:
    """Returns the narrowest outline around all shapes that every vertical line cuts once; for `upright` text, every
    horizontal line.

    A shape is an outline or a baseline. The result runs clockwise from the left end of its upper edge, and is at least
    three pixels wide and high.
    """
    given = [shape for shape in shapes if shape]
    if sum(map(len, given)) > MAX_POINTS:
        given = [box_around(given)]
    if not given:
        given = [((0, 0),)]
    width, height = page.width, page.height
    if upright:
        given, width, height = [mirrored(shape) for shape in given], height, width
    places = sorted({x for shape in given for x, _ in shape})
    spans = spans_of(given, places)
    if work_of(spans) > MAX_WORK or places[-1] - places[0] < _THINNEST:
        given = [box_around(given)]
        if places[-1] - places[0] < _THINNEST:
            given = [_box(given[0], width, height)]
        places = sorted({x for x, _ in given[0]})
        spans = spans_of(given, places)
    upper, lower = levels_of(spans, places)
    top = _fewer([(x, math.floor(y)) for x, y in zip(places, upper, strict=True) if y < math.inf])
    bottom = _fewer([(x, -math.ceil(y)) for x, y in zip(places, lower, strict=True) if y > -math.inf])
    ends = {places[0]: max(0, places[0] - _MARGIN), places[-1]: min(width, places[-1] + _MARGIN)}
    top = [(ends.get(x, x), max(0, y - _MARGIN)) for x, y in top]
    bottom = [(ends.get(x, x), min(height, _MARGIN - y)) for x, y in bottom]
    if min(y for _, y in bottom) - max(y for _, y in top) < _THINNEST:
        top, bottom = _thickened(top, bottom, height)
    outline = tuple(dict.fromkeys((*top, *reversed(bottom))))
    return tuple(reversed(mirrored(outline))) if upright else outline


def _thickened(
    top: list[tuple[int, int]], bottom: list[tuple[int, int]], height: int
) -> tuple[list[tuple[int, int]], list[tuple[int, int]]]:
    """Returns the edges, moved apart where they come too close to each other."""
    places = sorted({x for x, _ in (*top, *bottom)})
    edges = []
    for x in places:
        above, below = math.floor(_level(top, x)), math.ceil(_level(bottom, x))
        if below - above < _THINNEST:
            above = max(0, min(above, height - _THINNEST))
            below = min(height, max(below, above + _THINNEST))
        edges.append((above, below))
    return (
        [(x, above) for x, (above, _) in zip(places, edges, strict=True)],
        [(x, below) for x, (_, below) in zip(places, edges, strict=True)],
    )


def _level(edge: Sequence[tuple[int, int]], x: int) -> float:
    place = min(max(1, bisect_left(edge, (x, -1))), len(edge) - 1)
    (left, start), (right, end) = edge[place - 1], edge[place]
    return start if left == right else start + (end - start) * (x - left) / (right - left)


def _fewer(edge: list[Pixel]) -> list[Pixel]:
    """Returns an upper edge without points that lie a little below the line between their neighbours, never above."""
    kept = edge[:1]
    passed: list[Pixel] = []
    least, most = -math.inf, math.inf
    for point, following in pairwise(edge[1:]):
        passed.append(point)
        (left, start), (x, y), (right, end) = kept[-1], point, following
        # A line with a slope in this range is near all points that it passes: no need to look at each of them.
        least, most = max(least, (y - _SLACK - start) / (x - left)), min(most, (y - start) / (x - left))
        slope = (end - start) / (right - left)
        clearly = least + _ROUNDING < slope < most - _ROUNDING
        hardly = least - _ROUNDING < slope < most + _ROUNDING
        near = least <= 0 <= most if start == end else clearly or (hardly and _is_near(kept[-1], following, passed))
        if len(passed) > 50 or not near:
            kept.append(point)
            passed, least, most = [], -math.inf, math.inf
    return [*kept, *edge[1:][-1:]]


def _is_near(first: Pixel, last: Pixel, passed: Sequence[Pixel]) -> bool:
    (left, start), (right, end) = first, last
    return all(0 <= y - (start + (end - start) * (x - left) / (right - left)) <= _SLACK for x, y in passed)


def _with_area(outline: Pixels, page: Page) -> Pixels:
    """Returns a word's outline, or the box around one that is too thin or crosses itself."""
    left, top, right, bottom = extent(outline)
    if len(outline) < 4 or right - left < _THINNEST or bottom - top < _THINNEST or crosses(outline):
        return _box(outline, page.width, page.height)
    return outline


def _box(outline: Pixels, width: int, height: int) -> Pixels:
    left, top, right, bottom = extent(outline)
    (left, right), (top, bottom) = _widened(left, right, width), _widened(top, bottom, height)
    return (left, top), (right, top), (right, bottom), (left, bottom)


def _widened(low: int, high: int, size: int) -> tuple[int, int]:
    if high - low >= _THINNEST:
        return low, high
    low = max(0, min(low - (_THINNEST - high + low) // 2, size - _THINNEST))
    return low, max(low + 1, min(size, low + _THINNEST))


def _is_upright(baseline: Pixels) -> bool:
    return len(baseline) > 1 and abs(baseline[-1][1] - baseline[0][1]) > abs(baseline[-1][0] - baseline[0][0])


def _ints(polygon: Polygon) -> Pixels:
    """Returns the points of an outline that is already in whole pixels."""
    return tuple((int(x), int(y)) for x, y in polygon)
