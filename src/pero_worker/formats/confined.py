"""Makes the polygons of a page simple and nested within each other, as strict readers of PAGE require."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import replace

from shapely import LineString, Polygon, box, make_valid, unary_union
from shapely.geometry.base import BaseGeometry

from pero_worker.page import Line, Page, Point, Region, Word
from pero_worker.page import Polygon as Points

_MOSTLY = 0.5
"""A word is cut to its line if at least this share of its area lies within; otherwise it widens the line."""
_INSET = 3
"""Pixels that are kept free inside a border."""
_SLACK = 0.5
"""Pixels that rounding may shift a point by."""


def confine(page: Page, *, within: Points = ()) -> Page:
    """Returns the page with words within their lines, lines within their regions and regions within the page, in whole
    pixels, with at least four points each. A line's text is its words joined, or the line has no words. Whatever lies
    outside the page, or outside the polygon `within`, is dropped."""
    whole = box(0, 0, page.width, page.height)
    if within:
        border = _shape(within, whole)
        # The writer of the page may widen outlines by a pixel or two around their parts.
        whole = (border and _largest(border.buffer(-_INSET))) or border or whole
    regions = (_region(region, whole) for region in page.regions)
    return replace(page, regions=tuple(region for region in regions if region is not None))


def _region(region: Region, whole: Polygon) -> Region | None:
    confined = [(shape, line) for line in region.lines if (pair := _line(line, whole)) for shape, line in [pair]]
    shape = _shape(region.polygon, whole)
    shapes = [line for line, _ in confined]
    shape = _around([shape, *shapes] if shape is not None else shapes, whole)
    if shape is None:
        return None
    return replace(region, polygon=_points(shape), lines=tuple(line for _, line in confined))


def _line(line: Line, whole: Polygon) -> tuple[Polygon, Line] | None:
    shape = _shape(line.polygon or line.baseline, whole)
    if shape is None:
        return None
    kept: list[tuple[Polygon, Word]] = []
    for word in _words(line):
        outline = _shape(word.polygon, whole)
        if outline is None:
            kept = []
            break
        inside = _largest(outline.intersection(shape))
        if inside is not None and inside.area >= _MOSTLY * outline.area:
            outline = _whole_pixels(inside, whole) or outline
        kept.append((outline, replace(word, polygon=_points(outline))))
    baseline = _baseline(line, whole)
    widened: list[BaseGeometry] = [shape, *(outline for outline, _ in kept)]
    if len(baseline) >= 2 and not LineString(baseline).within(shape.buffer(1)):
        widened.append(LineString(baseline).buffer(1, cap_style="square", join_style="mitre"))
    shape = _around(widened, whole) or shape
    text = line.text if line.text is None else " ".join(line.text.split())
    return shape, replace(
        line, polygon=_points(shape), baseline=baseline, text=text, words=tuple(word for _, word in kept)
    )


def _words(line: Line) -> tuple[Word, ...]:
    """Returns the line's words; none if they differ from the line's text."""
    said = " ".join((line.text or "").split())
    return line.words if " ".join(" ".join(word.text.split()) for word in line.words) == said else ()


def _baseline(line: Line, whole: Polygon) -> Points:
    """Returns the longest piece of the baseline that lies within `whole`, in the direction of the baseline."""
    finite = [(x, y) for x, y in line.baseline if math.isfinite(x) and math.isfinite(y)]
    if len(set(finite)) < 2:
        return ()
    inside = LineString(finite).intersection(whole)
    pieces = [part for part in getattr(inside, "geoms", [inside]) if part.geom_type == "LineString"]
    longest = max(pieces, key=lambda part: part.length, default=None)
    if longest is None:
        return ()
    points = tuple(dict.fromkeys((float(round(x)), float(round(y))) for x, y in longest.coords))
    if len(points) < 2:
        return ()
    (first_x, first_y), (last_x, last_y) = finite[0], finite[-1]
    across, down = last_x - first_x, last_y - first_y
    turned = (points[-1][0] - points[0][0]) * across + (points[-1][1] - points[0][1]) * down < 0
    return points[::-1] if turned else points


def _around(shapes: Iterable[BaseGeometry], whole: Polygon) -> Polygon | None:
    """Returns one simple polygon that contains all shapes."""
    shapes = list(shapes)
    if not shapes:
        return None
    if isinstance(shapes[0], Polygon) and all(shape.within(shapes[0].buffer(_SLACK)) for shape in shapes[1:]):
        return shapes[0]
    joined = unary_union(shapes)
    if joined.geom_type != "Polygon":
        joined = joined.convex_hull
    rounded = _whole_pixels(joined, whole)
    if rounded is not None and all(shape.within(rounded.buffer(_SLACK)) for shape in shapes):
        return rounded
    return _whole_pixels(joined.convex_hull, whole)


def _shape(points: Points, whole: Polygon) -> Polygon | None:
    """Returns a simple polygon of the points, within `whole`; a shape without width or height is widened."""
    finite = [(x, y) for x, y in points if math.isfinite(x) and math.isfinite(y)]
    if not finite:
        return None
    shape: BaseGeometry | None = None
    if len(finite) >= 3:
        shape = _largest(make_valid(Polygon(finite)))
    if shape is None or shape.area < 1:
        xs, ys = [x for x, _ in finite], [y for _, y in finite]
        left, top = min(*xs, whole.bounds[2] - 2), min(*ys, whole.bounds[3] - 2)
        shape = box(left, top, max(*xs, left + 2), max(*ys, top + 2))
    return _whole_pixels(shape, whole)


def _whole_pixels(shape: BaseGeometry, whole: Polygon) -> Polygon | None:
    inside = _largest(shape.intersection(whole))
    if inside is None:
        return None
    # Without duplicates and points on straight edges.
    rounded = Polygon([(round(x), round(y)) for x, y in inside.exterior.coords]).simplify(0)
    if not _is_simple(rounded):
        rounded = rounded.convex_hull
    if not _is_simple(rounded):
        left, top, right, bottom = (round(value) for value in inside.bounds)
        left, top = min(left, int(whole.bounds[2]) - 1), min(top, int(whole.bounds[3]) - 1)
        rounded = box(max(0, left), max(0, top), max(right, left + 1), max(bottom, top + 1))
    return rounded


def _is_simple(shape: BaseGeometry) -> bool:
    if shape.geom_type != "Polygon" or not shape.is_valid or shape.area < 1 or len(shape.exterior.coords) < 5:
        return False
    return bool(shape.simplify(1.0).is_valid)


def _largest(shape: BaseGeometry) -> Polygon | None:
    parts = [part for part in getattr(shape, "geoms", [shape]) if part.geom_type == "Polygon" and part.area > 0]
    largest = max(parts, key=lambda part: part.area, default=None)
    return None if largest is None else Polygon(largest.exterior)


def _points(shape: Polygon) -> tuple[Point, ...]:
    return tuple((float(x), float(y)) for x, y in shape.exterior.coords[:-1])
