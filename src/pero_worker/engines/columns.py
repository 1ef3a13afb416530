"""Columns: the longest run of rows that a gutter divides.

A gutter is an x at which no box of the run stands, with text on both sides. A `Purse` bounds how often boxes are looked
at: a ledger or a page of tiny print has thousands of them, and as many gaps.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from statistics import median

import numpy as np

from pero_worker.engines.boxes import Box, Row, in_rows

_MIN_ROWS = 4
_SIDE = 0.2
"""Minimum width of a column, as a share of both sides of the gutter together: prices or page numbers below each other
are not a column, but belong to the rows they stand in."""
_APART = 0.5
"""How much nearer a run's outermost row must be to the text beyond the run to belong there, in heights of the row."""
_ALIGNED, _FILLED = 0.8, 0.6
"""Share of a table's rows that have cells on both sides of a gutter, and share of a line of text that is not blank."""
_AT_ONCE = 256
"""How many gutters are compared with all boxes at a time."""


@dataclass(slots=True, kw_only=True)
class Purse:
    """A budget for looking at the boxes of one page."""

    boxes: int = 1_500_000
    """How many may still be looked at; the default takes about three seconds."""

    def pays(self, boxes: int) -> bool:
        """Spends `boxes` and returns whether that many were left."""
        self.boxes -= boxes
        return self.boxes >= 0


def longest_run(boxes: Sequence[Box], rows: Sequence[Row], purse: Purse) -> tuple[int, int, float] | None:
    """Returns the first row, the row after the last and the gutter's x of the longest run that a gutter divides."""
    best: tuple[int, int, float] | None = None
    for start, end, gutter in _runs(boxes, rows, sorted(_gutters(boxes, rows))):
        # Trimming only shortens a run, so none that follows can be longer than the best; of equal ones the first is
        # taken.
        if best is not None and (end - start, -gutter) <= (best[1] - best[0], -best[2]):
            break
        if not purse.pays(sum(map(len, rows[start:end]))):
            break
        first, last = _trimmed(boxes, rows, start, end)
        longer = best is None or (last - first, -gutter) > (best[1] - best[0], -best[2])
        if longer and _divided(boxes, rows[first:last], gutter):
            best = first, last, gutter
    return best


def _gutters(boxes: Sequence[Box], rows: Sequence[Row]) -> set[float]:
    """Returns the middles of gaps in rows, and in each two successive rows: columns may be half a line apart."""
    found = set()
    for place in range(len(rows)):
        near = sorted(in_rows(rows[place : place + 2]), key=lambda i: boxes[i].left)
        for a, b in pairwise(near):
            if boxes[b].left > boxes[a].right:
                found.add((boxes[a].right + boxes[b].left) / 2)
    return found


def _runs(boxes: Sequence[Box], rows: Sequence[Row], gutters: Sequence[float]) -> Iterator[tuple[int, int, float]]:
    """Yields the first row, the row after the last and the gutter of all runs that could be columns, longest first."""
    indices = in_rows(rows)
    home = np.repeat(np.arange(len(rows)), [len(row) for row in rows])
    left, right = (np.array([getattr(boxes[i], side) for i in indices]) for side in ("left", "right"))
    found = []
    for place in range(0, len(gutters), _AT_ONCE):
        own = np.array(gutters[place : place + _AT_ONCE])
        # Each box shuts the gutters between its ends: +1 from its left end on, -1 from its right end on.
        shut = np.zeros((len(rows) + 2, len(own) + 1), np.int32)
        first = np.searchsorted(own, left, side="right")
        np.add.at(shut, (home + 1, first), 1)
        np.add.at(shut, (home + 1, np.maximum(first, np.searchsorted(own, right, side="left"))), -1)
        blocked = np.cumsum(shut, axis=1)[:, :-1] > 0
        blocked[[0, -1]] = True
        numbers, places = np.nonzero(np.diff(blocked, axis=0).T)
        starts, ends = places[::2], places[1::2]
        long = ends - starts >= _MIN_ROWS
        found.append(np.stack([starts[long] - ends[long], numbers[::2][long] + place, starts[long]]))
    runs = np.concatenate(found, axis=1) if found else np.zeros((3, 0), int)
    for minus, number, start in runs[:, np.lexsort(runs[::-1])].T.tolist():
        yield start, start - minus, gutters[number]


def _trimmed(boxes: Sequence[Box], rows: Sequence[Row], first: int, last: int) -> tuple[int, int]:
    """Trims lone boxes at both ends that stand nearer to the text beyond the run, as a heading of that text does."""
    while 0 < first < last - 1 and _leaves(boxes, rows[first], rows[first - 1], rows[first + 1]):
        first += 1
    while first < last - 1 < len(rows) - 1 and _leaves(boxes, rows[last - 1], rows[last], rows[last - 2]):
        last -= 1
    return first, last


def _leaves(boxes: Sequence[Box], row: Row, beyond: Row, within: Row) -> bool:
    nearer = _distance(boxes, row, within) - _distance(boxes, row, beyond)
    return len(row) == 1 and nearer > _APART * boxes[row[0]].height


def _distance(boxes: Sequence[Box], one: Row, other: Row) -> float:
    """Returns the vertical distance of two rows in pixels; negative when they overlap."""
    a, b = ((min(boxes[i].top for i in row), max(boxes[i].bottom for i in row)) for row in (one, other))
    return max(a[0], b[0]) - min(a[1], b[1])


def _divided(boxes: Sequence[Box], rows: Sequence[Row], gutter: float) -> bool:
    """Whether the gutter makes two columns of these rows: enough rows on both sides, and both sides wide."""
    left = [[boxes[i] for i in row if boxes[i].right <= gutter] for row in rows]
    right = [[boxes[i] for i in row if boxes[i].right > gutter] for row in rows]
    if min(sum(map(bool, left)), sum(map(bool, right))) < _MIN_ROWS:
        return False
    if _are_cells(left, right):
        return False
    lefts, rights = ([(row[0].left, max(box.right for box in row)) for row in side if row] for side in (left, right))
    both = max(end for _, end in rights) - min(start for start, _ in lefts)
    return min(median(end - start for start, end in side) for side in (lefts, rights)) >= _SIDE * both


def _are_cells(left: Sequence[Sequence[Box]], right: Sequence[Sequence[Box]]) -> bool:
    """Whether rows continue across the gutter and consist of short pieces aligned below each other, as in a table."""
    both = [(a, b) for a, b in zip(left, right, strict=True) if a and b]
    if len(both) < _ALIGNED * len(left):
        return False
    for side in ([row for row, _ in both], [row for _, row in both]):
        filled = median(sum(box.width for box in row) / ((row[-1].right - row[0].left) or 1) for row in side)
        seconds = [row[1] for row in side if len(row) > 1]
        if filled < _FILLED and len(seconds) >= _ALIGNED * len(side):
            usual = median(box.left for box in seconds)
            return sum(abs(box.left - usual) < box.height for box in seconds) >= _ALIGNED * len(seconds)
    return False
