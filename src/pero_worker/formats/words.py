"""Words of a line, also where the engine gave none, and how their characters stand from left to right."""

from __future__ import annotations

import math
import unicodedata
from itertools import groupby, pairwise

from pero_worker.page import Line, Point, Polygon, Word

_LEFTWARD = frozenset({"R", "AL"})
_RIGHTWARD = frozenset({"L", "EN", "AN"})
_MIRRORED = str.maketrans("()[]{}<>«»‹›", ")(][}{><»«›‹")


def words_of(line: Line) -> tuple[Word, ...]:
    """The line's words; without any, its text is split at spaces over its length, in proportion to characters."""
    if line.words or not line.text or not line.text.strip():
        return line.words
    length = len(line.text)
    leftward = _is_leftward(line.text)
    words = []
    place = 0
    for piece in line.text.split(" "):
        if piece:
            start, end = place / length, (place + len(piece)) / length
            polygon = _slice(line, 1 - end, 1 - start) if leftward else _slice(line, start, end)
            words.append(Word(piece, polygon, line.confidence))
        place += len(piece) + 1
    return tuple(words)


def from_left_to_right(word: str) -> str:
    """The characters of a word as they stand on paper: of Hebrew and Arabic the last comes first, numbers apart."""
    if not _is_leftward(word):
        return word
    runs = ["".join(run) for _, run in groupby(word, _runs_rightward)]
    return "".join(run if _runs_rightward(run[0]) else run[::-1].translate(_MIRRORED) for run in reversed(runs))


def _is_leftward(text: str) -> bool:
    """By the first letter, as Unicode's rule P2 has it."""
    directions = map(unicodedata.bidirectional, text)
    return next((direction in _LEFTWARD for direction in directions if direction in _LEFTWARD | {"L"}), False)


def _runs_rightward(character: str) -> bool:
    return unicodedata.bidirectional(character) in _RIGHTWARD


def box_of(polygon: Polygon) -> tuple[int, int, int, int]:
    """Left, top, right, bottom in whole pixels, at least 1 x 1, not negative."""
    xs = [max(0.0, x) for x, _ in polygon] or [0.0]
    ys = [max(0.0, y) for _, y in polygon] or [0.0]
    left, top = int(min(xs)), int(min(ys))
    return left, top, max(left + 1, round(max(xs))), max(top + 1, round(max(ys)))


def _slice(line: Line, start: float, end: float) -> Polygon:
    """The part of the line between two fractions of its length, from ascender to descender."""
    if len(line.baseline) < 2 or line.heights is None or line.baseline[0] == line.baseline[-1]:
        left, top, right, bottom = box_of(line.polygon or line.baseline)
        a, b = left + (right - left) * start, left + (right - left) * end
        return (a, top), (b, top), (b, bottom), (a, bottom)
    above, below = line.heights
    (ax, ay), (bx, by) = _at(line.baseline, start), _at(line.baseline, end)
    (first_x, first_y), (last_x, last_y) = line.baseline[0], line.baseline[-1]
    length = math.dist(line.baseline[0], line.baseline[-1])
    ux, uy = (last_y - first_y) / length, (first_x - last_x) / length
    return (
        (ax + ux * above, ay + uy * above),
        (bx + ux * above, by + uy * above),
        (bx - ux * below, by - uy * below),
        (ax - ux * below, ay - uy * below),
    )


def _at(baseline: Polygon, fraction: float) -> Point:
    """The point at a fraction of the baseline's length."""
    steps = list(pairwise(baseline))
    rest = fraction * sum(math.dist(a, b) for a, b in steps)
    for a, b in steps:
        step = math.dist(a, b)
        if 0 < step >= rest:
            return a[0] + (b[0] - a[0]) * rest / step, a[1] + (b[1] - a[1]) * rest / step
        rest -= step
    return baseline[-1]
