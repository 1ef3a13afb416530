"""Printed rules: the straight black lines between columns, and above footnotes and feuilletons."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from pero_worker.page import Image, Point

_SIDE = 1600
"""Longer side of the page when rules are looked for, in pixels; larger pages are reduced to it."""
_LEAST = 40
"""Minimum length of a rule on the reduced page, in pixels; a shorter stroke may belong to a letter."""
_IN_LINES = 3.0
"""A rule is at least this many times as long as a line of text is high, so that no letter of a title is taken for
one."""
_THICKEST = 10
"""Maximum thickness on the reduced page, in pixels; anything thicker is a bar, an edge of the page or a picture."""
_BESIDE = (3, 4, 5, 6)
"""Distances from a stroke at which the reduced page must be white, in pixels."""
_MOST_INK = 0.06
"""Maximum share of ink at these distances."""
_BLOCK, _DARKER = 31, 12
"""Side of the square around a pixel, in pixels, and how many grey levels darker than it ink is."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PrintedRule:
    """A rule from its left or upper `start` to its `end`, in pixels of the page."""

    start: Point
    end: Point
    stands_free: bool = True
    """Whether it has white on both sides, as in a gutter; a scanner's streak runs through letters."""

    @property
    def is_upright(self) -> bool:
        return abs(self.end[1] - self.start[1]) > abs(self.end[0] - self.start[0])

    def across(self, level: float) -> float:
        """Returns the x of an upright rule at this y."""
        (ax, ay), (bx, by) = self.start, self.end
        return ax + (bx - ax) * (level - ay) / (by - ay)


def rules_in(image: Image, line_height: float) -> list[PrintedRule]:
    """Finds the rules of a page whose lines of text are `line_height` pixels high."""
    scale = min(1.0, _SIDE / max(image.shape[:2]))
    grey = image if image.ndim == 2 else cv2.cvtColor(image, cv2.COLOR_BGR2GRAY)
    if scale < 1.0:
        grey = cv2.resize(grey, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    if min(grey.shape) < _BLOCK:
        return []
    ink = cv2.adaptiveThreshold(grey, 255, cv2.ADAPTIVE_THRESH_MEAN_C, cv2.THRESH_BINARY_INV, _BLOCK, _DARKER)
    least = max(_LEAST, round(_IN_LINES * line_height * scale))
    found = []
    for upright in (True, False):
        for (ax, ay), (bx, by), free in _strokes(np.ascontiguousarray(ink if upright else ink.T), least):
            start, end = ((ax, ay), (bx, by)) if upright else ((ay, ax), (by, bx))
            found.append(
                PrintedRule(
                    start=(start[0] / scale, start[1] / scale), end=(end[0] / scale, end[1] / scale), stands_free=free
                )
            )
    return found


def _strokes(ink: NDArray[np.uint8], least: int) -> list[tuple[Point, Point, bool]]:
    """Returns upright strokes from their upper to their lower end, and whether they stand free."""
    # A stroke that leans or is worn is in pieces, which are joined when they follow each other.
    pieces = cv2.morphologyEx(ink, cv2.MORPH_OPEN, np.ones((max(8, least // 3), 1), np.uint8))
    if not pieces.any():
        return []
    joined = cv2.morphologyEx(pieces, cv2.MORPH_CLOSE, np.ones((least // 2, 3), np.uint8))
    _, labels, boxes, _ = cv2.connectedComponentsWithStats(joined, connectivity=8)
    strokes = []
    for number, (left, top, width, height, area) in enumerate(boxes[1:].tolist(), 1):
        if height < least or area > _THICKEST * height or width > max(_THICKEST, height // 8):
            continue
        own = labels[top : top + height, left : left + width] == number
        ends = [float(np.nonzero(rows.any(axis=0))[0].mean()) for rows in (own[:8], own[-8:])]
        middles = np.linspace(left + ends[0], left + ends[1], height)
        free = _stands_free(ink[top : top + height], middles, max(1.0, area / height / 2))
        strokes.append(((left + ends[0], float(top)), (left + ends[1], float(top + height)), free))
    return strokes


def _stands_free(ink: NDArray[np.uint8], middles: NDArray[np.float64], half: float) -> bool:
    """Whether there is hardly any ink beside a stroke that reaches `half` pixels to each side of its `middles`, one per
    row."""
    rows = np.arange(len(middles))
    for side in (-1, 1):
        beside = [
            ink[rows, np.clip((middles + side * (half + offset)).round().astype(int), 0, ink.shape[1] - 1)] > 0
            for offset in _BESIDE
        ]
        if np.mean(beside) > _MOST_INK:
            return False
    return True
