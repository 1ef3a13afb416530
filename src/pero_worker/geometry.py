"""How lines lie on a page."""

from __future__ import annotations

import math
from collections.abc import Iterable
from statistics import median

from pero_worker.page import Point

BASELINE_SHARE = 0.8
"""Where the baseline of a box of text is assumed to be when it is not known, as a share of the box's height from the
top."""
_LONG = 4.0
"""A line counts for the slope of a page when it is at least this many times as long as it is high."""


def baseline_in(box: tuple[float, float, float, float]) -> tuple[Point, Point]:
    """Returns the baseline of the text in a box (left, top, right, bottom)."""
    left, top, right, bottom = box
    level = top + BASELINE_SHARE * (bottom - top)
    return (left, level), (right, level)


def slope_of(lines: Iterable[tuple[float, float, float]]) -> float:
    """Returns the angle by which lines fall to the right, in radians: the median of the long ones, 0 if there are none.

    `lines` holds how far each line runs to the right and down, and how high it is.
    """
    angles = [math.atan2(down, right) for right, down, height in lines if right > _LONG * height]
    return median(angles) if angles else 0.0


def turned(point: Point, angle: float) -> Point:
    """Rotates a point around the origin by `angle` in radians, from right to down."""
    x, y = point
    return x * math.cos(angle) - y * math.sin(angle), x * math.sin(angle) + y * math.cos(angle)
