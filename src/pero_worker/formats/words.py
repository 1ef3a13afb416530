"""Words of a line, also where the engine gave none."""

from __future__ import annotations

from itertools import pairwise

from pero_worker.page import Line, Point, Polygon, Word


def words_of(line: Line) -> tuple[Word, ...]:
    """The line's words; without any, its text is split at spaces over its length, in proportion to characters."""
    if line.words or not line.text or not line.text.strip():
        return line.words
    length = len(line.text)
    words = []
    place = 0
    for piece in line.text.split(" "):
        if piece:
            polygon = _slice(line, place / length, (place + len(piece)) / length)
            words.append(Word(piece, polygon, line.confidence))
        place += len(piece) + 1
    return tuple(words)


def box_of(polygon: Polygon) -> tuple[int, int, int, int]:
    """Left, top, right, bottom in whole pixels, at least 1 x 1, not negative."""
    xs = [max(0.0, x) for x, _ in polygon] or [0.0]
    ys = [max(0.0, y) for _, y in polygon] or [0.0]
    left, top = int(min(xs)), int(min(ys))
    return left, top, max(left + 1, round(max(xs))), max(top + 1, round(max(ys)))


def _slice(line: Line, start: float, end: float) -> Polygon:
    """The part of the line between two fractions of its length, from ascender to descender."""
    left, top, right, bottom = box_of(line.polygon or line.baseline)
    if len(line.baseline) < 2 or line.heights is None:
        a, b = left + (right - left) * start, left + (right - left) * end
        return (a, top), (b, top), (b, bottom), (a, bottom)
    above, below = line.heights
    (ax, ay), (bx, by) = _at(line.baseline, start), _at(line.baseline, end)
    return (ax, ay - above), (bx, by - above), (bx, by + below), (ax, ay + below)


def _at(baseline: Polygon, fraction: float) -> Point:
    """The point at a fraction of the baseline's width."""
    x = baseline[0][0] + (baseline[-1][0] - baseline[0][0]) * fraction
    for (ax, ay), (bx, by) in pairwise(baseline):
        if min(ax, bx) <= x <= max(ax, bx) and ax != bx:
            return x, ay + (by - ay) * (x - ax) / (bx - ax)
    return baseline[-1] if fraction > 0.5 else baseline[0]
