"""Shapes in whole pixels: how far they reach, whether they cross themselves, whether one contains others."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

_BESIDE = 0.01
"""Pixels to either side of a corner at which an edge is also checked."""
_MAX_EDGES = 100
"""An outline with more edges is not examined."""
MAX_WORK = 100_000
"""Most levels that are examined for one outline."""
MAX_POINTS = 4000
"""Most points of shapes that are examined together."""

Pixel = tuple[int, int]
Pixels = tuple[Pixel, ...]


def extent(outline: Pixels) -> tuple[int, int, int, int]:
    xs, ys = [x for x, _ in outline] or [0], [y for _, y in outline] or [0]
    return min(xs), min(ys), max(xs), max(ys)


def box_around(shapes: Sequence[Pixels]) -> Pixels:
    left, top, right, bottom = extent(tuple(point for shape in shapes for point in shape))
    return (left, top), (right, top), (right, bottom), (left, bottom)


def mirrored(shape: Pixels) -> Pixels:
    """Returns the shape with x and y swapped."""
    return tuple((y, x) for x, y in shape)


_Span = tuple[Pixel, Pixel, int, int]
"""An edge from its left to its right end; the number of the first place that it passes, and one past the last."""


def spans_of(shapes: Sequence[Pixels], places: Sequence[float]) -> list[_Span]:
    """Returns the edges of shapes whose points all lie at some of the `places`, which are in order."""
    number = {x: place for place, x in enumerate(places)}
    ordered = ((a, b) if a <= b else (b, a) for shape in shapes for a, b in pairwise((*shape, shape[0])))
    return [(a, b, number[a[0]], number[b[0]] + 1) for a, b in ordered]


def work_of(spans: Sequence[_Span]) -> int:
    """Returns how many levels `levels_of` examines: for outlines that zigzag over a whole line, the square of their
    points."""
    return sum(behind - first for _, _, first, behind in spans)


def levels_of(spans: Sequence[_Span], places: Sequence[float]) -> tuple[list[float], list[float]]:
    """Returns the highest and the lowest level of any edge at each of the `places`; infinite where there is none."""
    upper, lower = [math.inf] * len(places), [-math.inf] * len(places)
    for (left, start), (right, end), first, behind in spans:
        if left == right:
            upper[first], lower[first] = min(upper[first], start, end), max(lower[first], start, end)
            continue
        rise, run = end - start, right - left
        # Much of the time it takes to write a page is spent here: avoiding min and max cuts it to a third.
        for i in range(first, behind):
            level = start + rise * (places[i] - left) / run
            if level < upper[i]:  # noqa: PLR1730
                upper[i] = level
            if level > lower[i]:  # noqa: PLR1730
                lower[i] = level
    return upper, lower


def covers(own: Pixels, inside: Sequence[Pixels]) -> bool:
    """Returns whether an outline that vertical lines cut once contains all shapes."""
    points = [point for shape in inside for point in shape]
    if not 0 < len(own) <= _MAX_EDGES or len(points) > MAX_POINTS or _turns([x for x, _ in own]) > 2:
        return False
    corners = sorted({x for x, _ in (*own, *points)})
    if not _has(own, corners, points):
        return False
    # An edge may jump at a corner: what holds at the corner and on both sides of it holds everywhere.
    beside = (x for a, b in pairwise(corners) for x in (a + _BESIDE, b - _BESIDE))
    places = sorted([*corners, *beside])
    outer, inner = spans_of([own], places), spans_of([shape for shape in inside if shape], places)
    if work_of(outer) + work_of(inner) > MAX_WORK:
        return False
    upper, lower = levels_of(outer, places)
    highest, lowest = levels_of(inner, places)
    return all(a <= b for a, b in zip(upper, highest, strict=True)) and all(
        a >= b for a, b in zip(lower, lowest, strict=True)
    )


def _has(own: Pixels, corners: Sequence[int], points: Sequence[Pixel]) -> bool:
    """Returns whether the outline contains all points, a quick way to find that it does not cover their shapes."""
    spans = spans_of([own], corners)
    if work_of(spans) > MAX_WORK:
        return False
    upper, lower = levels_of(spans, corners)
    between = dict(zip(corners, zip(upper, lower, strict=True), strict=True))
    return all(between[x][0] <= y <= between[x][1] for x, y in points)


def covers_sideways(own: Pixels, inside: Sequence[Pixels]) -> bool:
    """Returns whether an outline that horizontal lines cut once contains all shapes."""
    return _turns([y for _, y in own]) <= 2 and covers(mirrored(own), [mirrored(shape) for shape in inside])


def crosses(outline: Pixels) -> bool:
    """Returns whether an outline touches or crosses itself, or has too many points to find out."""
    count = len(outline)
    if not 3 <= count <= _MAX_EDGES:
        return True
    ring = (*outline, *outline[:2])
    turns = [_side(a, b, c) for a, b, c in zip(ring, ring[1:], ring[2:], strict=False)]
    if count == 4 and (min(turns) > 0 or max(turns) < 0):
        return False  # as for most words: four turns to the same side make one loop
    for a, b, c, turn in zip(ring, ring[1:], ring[2:], turns, strict=False):
        if turn == 0 and (b[0] - a[0]) * (c[0] - b[0]) + (b[1] - a[1]) * (c[1] - b[1]) <= 0:
            return True
    edges = sorted((*((a, b) if a <= b else (b, a)), place) for place, (a, b) in enumerate(pairwise(ring[:-1])))
    for number, (a, b, place) in enumerate(edges, 1):
        for c, d, other in edges[number:]:
            if c[0] > b[0]:
                break  # this edge and all that follow start to the right
            if 1 < abs(place - other) < count - 1 and _meet(a, b, c, d):
                return True
    return False


def _meet(a: Pixel, b: Pixel, c: Pixel, d: Pixel) -> bool:
    for axis in (0, 1):
        if max(a[axis], b[axis]) < min(c[axis], d[axis]) or max(c[axis], d[axis]) < min(a[axis], b[axis]):
            return False
    return _side(a, b, c) * _side(a, b, d) <= 0 and _side(c, d, a) * _side(c, d, b) <= 0


def _side(a: Pixel, b: Pixel, c: Pixel) -> int:
    return (b[0] - a[0]) * (c[1] - b[1]) - (b[1] - a[1]) * (c[0] - b[0])


def _turns(values: Sequence[int]) -> int:
    """Returns how often these values, taken as a ring, change between rising and falling."""
    steps = [b > a for a, b in zip(values, (*values[1:], *values[:1]), strict=True) if a != b]
    return sum(a != b for a, b in zip(steps, (*steps[1:], *steps[:1]), strict=True))
