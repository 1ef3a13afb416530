"""Outlines that strict readers take: in whole pixels of the page, with an area, children within their parents."""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import replace
from itertools import pairwise

from pero_worker.errors import PageError
from pero_worker.page import Line, Page, Point, Polygon, Region

_THINNEST = 3
"""Pixels. Nothing that was read is thinner."""
_SLACK = 2
"""Pixels by which an outline may be wider than what it surrounds, to have fewer points."""
_MARGIN = 1
"""Pixels between an outline and what it surrounds: readers that simplify both do so by about as much."""
_BESIDE = 0.01
"""Pixels."""
_MAX_EDGES = 100
"""An outline with more edges is made anew."""
_MAX_WORK = 100_000
"""Levels that are looked at for one outline; where there are more, a box will do."""
_MAX_POINTS = 4000
"""An outline with more points is replaced by its box."""

_Pixel = tuple[int, int]
Pixels = tuple[_Pixel, ...]


def whole(page: Page) -> Page:
    """`page` as PAGE XML can tell it: everything in whole pixels of the page, words and baselines within their line,
    lines within their region, outlines of four points at least that do not cross themselves.

    PageError: a coordinate is no number.
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
    """The outline `own`, if it will do as one of all that is `inside`."""
    if not _crosses(own) and (_covers(own, inside) or _covers(_mirrored(own), [_mirrored(shape) for shape in inside])):
        found = own if len(own) > 3 else _with_a_fourth(own)
        if len(found) > 3:
            return found
    return envelope([own, *inside] if len(own) > 2 or not any(inside) else inside, page, upright=upright)


def _with_a_fourth(triangle: Pixels) -> Pixels:
    """A triangle with a point more, as some readers take no triangles; the same where its edge has none between."""
    (ax, ay), (bx, by), _ = triangle
    middle = (ax + bx) // 2, (ay + by) // 2
    return (triangle[0], middle, *triangle[1:]) if middle not in triangle else triangle


def pixels(points: Sequence[Point], page: Page) -> Pixels:
    """Rounded and clipped to the page, without points that repeat the one before. PageError: one is no number."""
    found: list[tuple[int, int]] = []
    for x, y in points:
        if not (math.isfinite(x) and math.isfinite(y)):
            raise PageError("the engine put something at a place that is no number")
        point = min(max(0, round(x)), page.width), min(max(0, round(y)), page.height)
        if not found or found[-1] != point:
            found.append(point)
    return tuple(found)


def _ring(points: Sequence[Point], page: Page) -> Pixels:
    """An outline in pixels, not closed by its first point."""
    found = pixels(points, page)
    return found[:-1] if len(found) > 1 and found[0] == found[-1] else found


def envelope(shapes: Iterable[Pixels], page: Page, *, upright: bool = False) -> Pixels:
    """The narrowest outline around all shapes that every upright line cuts once; of `upright` text, every level line.

    A shape is an outline or a baseline. Clockwise from the left end of the upper edge; three pixels wide and high at
    least.
    """
    given = [shape for shape in shapes if shape]
    if sum(map(len, given)) > _MAX_POINTS:
        given = [_corners(given)]
    if not given:
        given = [((0, 0),)]
    width, height = page.width, page.height
    if upright:
        given, width, height = [_mirrored(shape) for shape in given], height, width
    places = sorted({x for shape in given for x, _ in shape})
    if _work(given, places) > _MAX_WORK:
        given = [_corners(given)]
        places = sorted({x for x, _ in given[0]})
    if places[-1] - places[0] < _THINNEST:
        given = [_box(_corners(given), width, height)]
        places = sorted({x for x, _ in given[0]})
    upper, lower = _edges(given, places)
    top = _fewer([(x, math.floor(y)) for x, y in zip(places, upper, strict=True) if y < math.inf])
    bottom = _fewer([(x, -math.ceil(y)) for x, y in zip(places, lower, strict=True) if y > -math.inf])
    ends = {places[0]: max(0, places[0] - _MARGIN), places[-1]: min(width, places[-1] + _MARGIN)}
    top = [(ends.get(x, x), max(0, y - _MARGIN)) for x, y in top]
    bottom = [(ends.get(x, x), min(height, _MARGIN - y)) for x, y in bottom]
    if min(y for _, y in bottom) - max(y for _, y in top) < _THINNEST:
        top, bottom = _thickened(top, bottom, height)
    outline = tuple(dict.fromkeys((*top, *reversed(bottom))))
    return tuple(reversed(_mirrored(outline))) if upright else outline


def _edges(shapes: Sequence[Pixels], places: Sequence[float]) -> tuple[list[float], list[float]]:
    """The highest and the lowest level of any shape at each of the `places`, which are in order; infinite: none."""
    upper, lower = [math.inf] * len(places), [-math.inf] * len(places)
    for shape in shapes:
        for a, b in zip(shape, (*shape[1:], shape[0]), strict=True):
            (left, start), (right, end) = min(a, b), max(a, b)
            first, behind = bisect_left(places, left), bisect_right(places, right)
            if left == right:
                for i in range(first, behind):
                    upper[i], lower[i] = min(upper[i], start, end), max(lower[i], start, end)
                continue
            rise, run = end - start, right - left
            # Most of what writing a page takes is spent here: without min and max it is a third.
            for i in range(first, behind):
                level = start + rise * (places[i] - left) / run
                if level < upper[i]:  # noqa: PLR1730
                    upper[i] = level
                if level > lower[i]:  # noqa: PLR1730
                    lower[i] = level
    return upper, lower


def _work(shapes: Sequence[Pixels], places: Sequence[float]) -> int:
    """How many levels `_edges` looks at: of outlines that zigzag over a whole line, the square of their points."""
    return sum(
        bisect_right(places, max(a, b)) - bisect_left(places, min(a, b))
        for shape in shapes
        for a, b in pairwise([x for x, _ in (*shape, *shape[:1])])
    )


def _covers(own: Pixels, inside: Sequence[Pixels]) -> bool:
    """Whether an outline that upright lines cut once has all shapes in it."""
    if sum(map(len, inside)) > _MAX_POINTS or _turns([x for x, _ in own]) > 2:
        return False
    corners = sorted({x for shape in (own, *inside) for x, _ in shape})
    # An edge may jump at a corner: what holds at both sides of it, and at it, holds everywhere.
    beside = (x for a, b in pairwise(corners) for x in (a + _BESIDE, b - _BESIDE))
    places = sorted([*corners, *beside])
    if _work([own, *inside], places) > _MAX_WORK:
        return False
    upper, lower = _edges([own], places)
    highest, lowest = _edges([shape for shape in inside if shape], places)
    return all(a <= b for a, b in zip(upper, highest, strict=True)) and all(
        a >= b for a, b in zip(lower, lowest, strict=True)
    )


def _thickened(
    top: list[tuple[int, int]], bottom: list[tuple[int, int]], height: int
) -> tuple[list[tuple[int, int]], list[tuple[int, int]]]:
    """The edges moved apart where they come too near to each other."""
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


def _fewer(edge: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """An upper edge without points that lie a little below the line between their neighbours; none rises above it."""
    kept = edge[:1]
    passed: list[tuple[int, int]] = []
    for point, following in pairwise(edge[1:]):
        passed.append(point)
        (left, start), (right, end) = kept[-1], following
        chords = (start + (end - start) * (x - left) / (right - left) for x, _ in passed)
        if len(passed) > 50 or any(not 0 <= y - chord <= _SLACK for (_, y), chord in zip(passed, chords, strict=True)):
            kept.append(point)
            passed = []
    return [*kept, *edge[1:][-1:]]


def _with_area(outline: Pixels, page: Page) -> Pixels:
    """A word's outline, or the box around one that is too thin."""
    left, top, right, bottom = _extent(outline)
    if len(outline) < 4 or right - left < _THINNEST or bottom - top < _THINNEST or _crosses(outline):
        return _box(outline, page.width, page.height)
    return outline


def _box(outline: Pixels, width: int, height: int) -> Pixels:
    left, top, right, bottom = _extent(outline)
    (left, right), (top, bottom) = _widened(left, right, width), _widened(top, bottom, height)
    return (left, top), (right, top), (right, bottom), (left, bottom)


def _widened(low: int, high: int, size: int) -> tuple[int, int]:
    if high - low >= _THINNEST:
        return low, high
    low = max(0, min(low - (_THINNEST - high + low) // 2, size - _THINNEST))
    return low, max(low + 1, min(size, low + _THINNEST))


def _extent(outline: Pixels) -> tuple[int, int, int, int]:
    xs, ys = [x for x, _ in outline] or [0], [y for _, y in outline] or [0]
    return min(xs), min(ys), max(xs), max(ys)


def _corners(shapes: Sequence[Pixels]) -> Pixels:
    left, top, right, bottom = _extent(tuple(point for shape in shapes for point in shape))
    return (left, top), (right, top), (right, bottom), (left, bottom)


def _crosses(outline: Pixels) -> bool:
    """Whether an outline touches or crosses itself, or has so many points that nobody wants to know."""
    edges = list(zip(outline, (*outline[1:], *outline[:1]), strict=True))
    if not 3 <= len(edges) <= _MAX_EDGES:
        return True
    for place, (a, b) in enumerate(edges):
        c = edges[(place + 1) % len(edges)][1]
        if _side(a, b, c) == 0 and (b[0] - a[0]) * (c[0] - b[0]) + (b[1] - a[1]) * (c[1] - b[1]) <= 0:
            return True
        last = len(edges) - (place == 0)
        if any(_meet(a, b, *other) for other in edges[place + 2 : last]):
            return True
    return False


def _meet(a: _Pixel, b: _Pixel, c: _Pixel, d: _Pixel) -> bool:
    for axis in (0, 1):
        if max(a[axis], b[axis]) < min(c[axis], d[axis]) or max(c[axis], d[axis]) < min(a[axis], b[axis]):
            return False
    return _side(a, b, c) * _side(a, b, d) <= 0 and _side(c, d, a) * _side(c, d, b) <= 0


def _side(a: _Pixel, b: _Pixel, c: _Pixel) -> int:
    return (b[0] - a[0]) * (c[1] - b[1]) - (b[1] - a[1]) * (c[0] - b[0])


def _turns(values: Sequence[int]) -> int:
    """How often these values, taken as a ring, go up after they went down, or down after they went up."""
    steps = [b > a for a, b in zip(values, (*values[1:], *values[:1]), strict=True) if a != b]
    return sum(a != b for a, b in zip(steps, (*steps[1:], *steps[:1]), strict=True))


def _is_upright(baseline: Pixels) -> bool:
    return len(baseline) > 1 and abs(baseline[-1][1] - baseline[0][1]) > abs(baseline[-1][0] - baseline[0][0])


def _mirrored(shape: Pixels) -> Pixels:
    """With x and y exchanged."""
    return tuple((y, x) for x, y in shape)


def _ints(polygon: Polygon) -> Pixels:
    """Of an outline that is in whole pixels already."""
    return tuple((int(x), int(y)) for x, y in polygon)
