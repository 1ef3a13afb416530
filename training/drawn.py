"""A drawn page with what is known about it, and the five maps a ParseNet learns from that."""

from __future__ import annotations

from dataclasses import dataclass, field

import cv2
import numpy as np
from numpy.typing import NDArray

Points = NDArray[np.float64]
"""(n, 2): x and y in pixels."""


@dataclass(slots=True)
class Drawn:
    """A page under the pen, then a picture; what is no text (pictures, rules, blots) is in none of the lists."""

    image: NDArray[np.uint8] = field(default_factory=lambda: np.zeros((1, 1, 3), np.uint8))
    baselines: list[Points] = field(default_factory=list)
    heights: list[tuple[float, float]] = field(default_factory=list)
    regions: list[Points] = field(default_factory=list)


def maps(
    page: Drawn, side: int, scale: float, corner: tuple[int, int]
) -> tuple[NDArray[np.float32], NDArray[np.uint8]]:
    """ParseNet's targets (5, side, side) for the square of the reduced page that begins at `corner`, and where (side,
    side) heights are to be learnt: ascender, descender, baseline, ends of baselines, borders of regions."""
    target = np.zeros((5, side, side), np.float32)
    taught = np.zeros((side, side), np.uint8)

    def fixed(points: Points) -> NDArray[np.int32]:  # OpenCV's 4 binary places
        return np.asarray(np.round((points * scale - np.asarray(corner)) * 16), np.int32)

    for outline in page.regions:
        cv2.polylines(target[4], [fixed(outline)], True, 1.0, 3, cv2.LINE_AA, 4)
    for points, heights in zip(page.baselines, page.heights, strict=True):
        line, above, below = fixed(points), heights[0] * scale, heights[1] * scale
        cv2.polylines(target[0], [line], False, above, 7, cv2.LINE_8, 4)
        cv2.polylines(target[1], [line], False, below, 7, cv2.LINE_8, 4)
        cv2.polylines(taught, [line], False, 1, 7, cv2.LINE_8, 4)
        cv2.polylines(target[2], [line], False, 1.0, 3, cv2.LINE_AA, 4)
        reach = max(3.0, 0.35 * (above + below)) * 16
        for x, y in (line[0], line[-1]):
            cv2.line(target[3], (x, int(y - reach)), (x, int(y + reach * 0.6)), 1.0, 3, cv2.LINE_AA, 4)
    return target, taught
