"""Boxes around pieces of text, and the rows in which they stand."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import median

_NEIGHBOURS = 4
"""How many of the last rows a box may still belong to: the rows of a skewed page overlap."""


@dataclass(frozen=True, slots=True, kw_only=True)
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
    def height(self) -> float:
        return self.bottom - self.top

    @property
    def middle(self) -> float:
        return (self.top + self.bottom) / 2


def hull_of(boxes: Iterable[Box]) -> Box:
    """Returns the box around all of them; there must be at least one."""
    own = list(boxes)
    return Box(
        left=min(box.left for box in own),
        top=min(box.top for box in own),
        right=max(box.right for box in own),
        bottom=max(box.bottom for box in own),
    )


Row = list[int]
"""Indices of boxes that stand beside each other, from left to right."""


def rows_of(boxes: Sequence[Box], indices: Sequence[int]) -> list[Row]:
    """Groups boxes that stand beside each other into rows.

    Each box is compared with its nearest neighbour in a row, because rows may be curved.
    """
    rows: list[Row] = []
    for index in sorted(indices, key=lambda i: boxes[i].middle):
        box = boxes[index]
        for row in reversed(rows[-_NEIGHBOURS:]):
            _, nearest = min((_gap(boxes[i], box), i) for i in row)
            if beside(boxes[nearest], box):
                row.append(index)
                break
        else:
            rows.append([index])
    for row in rows:
        row.sort(key=lambda i: boxes[i].left)
    rows.sort(key=lambda row: median(boxes[i].middle for i in row))
    return rows


def _gap(a: Box, b: Box) -> float:
    """Returns the horizontal distance of two boxes in pixels; negative when they overlap."""
    return max(a.left, b.left) - min(a.right, b.right)


def beside(a: Box, b: Box) -> bool:
    overlap = min(a.bottom, b.bottom) - max(a.top, b.top)
    return overlap > 0.5 * min(a.height, b.height) and _gap(a, b) > -0.3 * min(a.width, b.width)


def in_rows(rows: Sequence[Row]) -> list[int]:
    """Returns all indices, row by row."""
    return [index for row in rows for index in row]
