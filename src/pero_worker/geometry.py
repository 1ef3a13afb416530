"""How lines lie on a page."""

from __future__ import annotations

import math
from collections.abc import Iterable
from statistics import median

from pero_worker.page import Point

BASELINE_SHARE = 0.8
"""Where the baseline of a box of text is taken to be, as a share of its height from the top, unless it is known."""
_LONG = 4.0
"""A line tells the slope of a page when it is this many times as long as it is high."""


def baseline_in(box: tuple[float, float, float, float]) -> tuple[Point, Point]:
    """Of the text in a box (left, top, right, bottom)."""
    left, top, right, bottom = box
    level = top + BASELINE_SHARE * (bottom - top)
    return (left, level), (right, level)


def slope_of(lines: Iterable[tuple[float, float, float]]) -> float:
    """The angle by which lines fall to the right, in radians: the median of the long ones, 0 when there are none.

    `lines`: how far each runs to the right and down, and how high it is.
    """
    angles = [math.atan2(down, right) for right, down, height in lines if right > _LONG * height]
    return median(angles) if angles else 0.0


def turned(point: Point, angle: float) -> Point:
    """Around the origin, by `angle` in radians, from right to down."""
    x, y = point
    return x * math.cos(angle) - y * math.sin(angle), x * math.sin(angle) + y * math.cos(angle)
