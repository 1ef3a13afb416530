"""Reading order of text boxes: rows from top to bottom, columns where there are columns."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from statistics import median

_FEWEST_ROWS = 4
_SIDE = 0.2
"""A side of a gutter is a column when its boxes are this wide, as a share of both together: a column of prices or page
numbers is not one, it belongs to the rows it stands in."""


@dataclass(frozen=True, slots=True)
class Box:
    """An upright rectangle around a piece of text, in pixels."""

    left: float
    top: float
    right: float
    bottom: float

    @property
    def width(self) -> float:
        return self.right - self.left

    @property
    def middle(self) -> float:
        return (self.top + self.bottom) / 2


Row = list[int]


def reading_order(boxes: Sequence[Box]) -> list[list[int]]:
    """Groups of indices, each group in its order: rows top-down and left to right.

    A run of four or more rows with a common empty gutter and two wide sides is read column by column, also within
    columns; each column is a group of its own.
    """
    return [group for group in _order(boxes, list(range(len(boxes)))) if group]


def _order(boxes: Sequence[Box], indices: list[int]) -> Iterator[list[int]]:
    rows = _rows(boxes, indices)
    found = _longest_run(boxes, rows)
    if found is None:
        yield [index for row in rows for index in row]
        return
    first, last, gutter = found
    run = [index for row in rows[first:last] for index in row]
    yield from _order(boxes, [index for row in rows[:first] for index in row])
    yield from _order(boxes, [index for index in run if boxes[index].right <= gutter])
    yield from _order(boxes, [index for index in run if boxes[index].left >= gutter])
    yield from _order(boxes, [index for row in rows[last:] for index in row])


def _rows(boxes: Sequence[Box], indices: Sequence[int]) -> list[Row]:
    """Boxes beside each other make a row; each is compared with its nearest neighbour, for rows that are skewed."""
    rows: list[Row] = []
    for index in sorted(indices, key=lambda i: boxes[i].middle):
        for row in reversed(rows[-4:]):
            nearest = min(row, key=lambda i, box=boxes[index]: _gap(boxes[i], box))  # type: ignore[misc]
            if _beside(boxes[nearest], boxes[index]):
                row.append(index)
                break
        else:
            rows.append([index])
    for row in rows:
        row.sort(key=lambda i: boxes[i].left)
    rows.sort(key=lambda row: median(boxes[i].middle for i in row))
    return rows


def _gap(a: Box, b: Box) -> float:
    return max(a.left, b.left) - min(a.right, b.right)


def _beside(a: Box, b: Box) -> bool:
    overlap = min(a.bottom, b.bottom) - max(a.top, b.top)
    return overlap > 0.5 * min(a.bottom - a.top, b.bottom - b.top) and _gap(a, b) > -0.3 * min(a.width, b.width)


def _longest_run(boxes: Sequence[Box], rows: Sequence[Row]) -> tuple[int, int, float] | None:
    """First row, row after the last, and x of the gutter of the longest run of rows that a gutter divides."""
    best: tuple[int, int, float] | None = None
    for gutter in sorted(_gutters(boxes, rows)):
        for first, last in _runs(boxes, rows, gutter):
            if best is None or last - first > best[1] - best[0]:
                best = first, last, gutter
    return best


def _gutters(boxes: Sequence[Box], rows: Sequence[Row]) -> set[float]:
    """Middles of the gaps in rows."""
    return {
        (boxes[a].right + boxes[b].left) / 2 for row in rows for a, b in pairwise(row) if boxes[b].left > boxes[a].right
    }


def _runs(boxes: Sequence[Box], rows: Sequence[Row], gutter: float) -> Iterator[tuple[int, int]]:
    start = 0
    for place in range(len(rows) + 1):
        if place < len(rows) and not any(boxes[i].left < gutter < boxes[i].right for i in rows[place]):
            continue
        if place > start and _divided(boxes, rows[start:place], gutter):
            yield start, place
        start = place + 1


def _divided(boxes: Sequence[Box], rows: Sequence[Row], gutter: float) -> bool:
    """Whether the gutter makes two columns of these rows: enough rows on both sides, and both sides wide."""
    left = [boxes[i] for row in rows for i in row if boxes[i].right <= gutter]
    right = [boxes[i] for row in rows for i in row if boxes[i].left >= gutter]
    if min(len(left), len(right)) < _FEWEST_ROWS:
        return False
    both = max(box.right for box in right) - min(box.left for box in left)
    return min(median(box.width for box in left), median(box.width for box in right)) >= _SIDE * both
