"""The words of a line, even where the engine gave none, and the order of their characters from left to right."""

from __future__ import annotations

import math
import unicodedata
from bisect import bisect_left
from itertools import accumulate, groupby, pairwise

from pero_worker.page import Line, Point, Polygon, Word

_LEFTWARD = frozenset({"R", "AL"})
_RIGHTWARD = frozenset({"L", "EN", "AN"})
_MIRRORED = str.maketrans("()[]{}<>«»‹›", ")(][}{><»«›‹")


def words_of(line: Line) -> tuple[Word, ...]:
    """Returns the line's words; without any, its text is split at spaces over its length, by number of characters."""
    if line.words or not line.text or not line.text.strip():
        return line.words
    length = len(line.text)
    leftward = _is_leftward(line.text)
    words = []
    place = 0
    course = _Course(line)
    for piece in line.text.split(" "):
        if piece:
            start, end = place / length, (place + len(piece)) / length
            polygon = course.slice(1 - end, 1 - start) if leftward else course.slice(start, end)
            words.append(Word(text=piece, polygon=polygon, confidence=line.confidence))
        place += len(piece) + 1
    return tuple(words)


def from_left_to_right(word: str) -> str:
    """Returns a word's characters as they stand on paper: in Hebrew and Arabic the last is first, except in numbers."""
    if not _is_leftward(word):
        return word
    runs = ["".join(run) for _, run in groupby(word, _runs_rightward)]
    return "".join(run if _runs_rightward(run[0]) else run[::-1].translate(_MIRRORED) for run in reversed(runs))


def _is_leftward(text: str) -> bool:
    """Returns whether text runs leftward, going by its first letter as in Unicode's rule P2."""
    directions = map(unicodedata.bidirectional, text)
    return next((direction in _LEFTWARD for direction in directions if direction in _LEFTWARD | {"L"}), False)


def _runs_rightward(character: str) -> bool:
    return unicodedata.bidirectional(character) in _RIGHTWARD


def box_of(polygon: Polygon) -> tuple[int, int, int, int]:
    """Returns left, top, right, bottom in whole pixels, at least 1 x 1, not negative."""
    xs = [max(0.0, x) for x, _ in polygon] or [0.0]
    ys = [max(0.0, y) for _, y in polygon] or [0.0]
    left, top = int(min(xs)), int(min(ys))
    return left, top, max(left + 1, round(max(xs))), max(top + 1, round(max(ys)))


class _Course:
    """A line from its start to its end; what is the same for all its words is measured only once."""

    def __init__(self, line: Line) -> None:
        self._baseline = line.baseline
        self._heights = line.heights if len(line.baseline) >= 2 and line.baseline[0] != line.baseline[-1] else None
        self._box = box_of(line.polygon or line.baseline) if self._heights is None else (0, 0, 0, 0)
        self._lengths = [0.0, *accumulate(math.dist(a, b) for a, b in pairwise(line.baseline))]

    def slice(self, start: float, end: float) -> Polygon:
        """Returns the part of the line between two fractions of its length, from ascender to descender."""
        if self._heights is None:
            left, top, right, bottom = self._box
            a, b = left + (right - left) * start, left + (right - left) * end
            return (a, top), (b, top), (b, bottom), (a, bottom)
        above, below = self._heights
        (ax, ay), (bx, by) = self._at(start), self._at(end)
        (first_x, first_y), (last_x, last_y) = self._baseline[0], self._baseline[-1]
        length = math.dist(self._baseline[0], self._baseline[-1])
        ux, uy = (last_y - first_y) / length, (first_x - last_x) / length
        return (
            (ax + ux * above, ay + uy * above),
            (bx + ux * above, by + uy * above),
            (bx - ux * below, by - uy * below),
            (ax - ux * below, ay - uy * below),
        )

    def _at(self, fraction: float) -> Point:
        """Returns the point at a fraction of the baseline's length."""
        wanted = fraction * self._lengths[-1]
        # The first step that reaches it and has a length.
        place = bisect_left(self._lengths, wanted, lo=1)
        while place < len(self._lengths) and self._lengths[place] == self._lengths[place - 1]:
            place += 1
        if place >= len(self._lengths):
            return self._baseline[-1]
        before = self._lengths[place - 1]
        share = (wanted - before) / (self._lengths[place] - before)
        (ax, ay), (bx, by) = self._baseline[place - 1], self._baseline[place]
        return ax + (bx - ax) * share, ay + (by - ay) * share
