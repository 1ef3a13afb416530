"""How much a page may be reduced before its layout is looked for.

pero-ocr reduces every page by the same factor and corrects it by the lines it then finds. Of small print (a newspaper,
a scan of few dots per inch) nothing is left at that size but the title, and by the title the page seems large enough.
"""

from __future__ import annotations

import math
from typing import Any

import cv2
import numpy as np

from pero_worker.page import Image

_PART = 3000
"""Pixels of each side, from the middle, that are looked at."""
_BLOCK, _DARKER = 31, 15
"""Ink is this much darker than its surroundings of so many pixels."""
_HEIGHTS = (3, 150)
"""Pixels; what is lower or higher is no letter."""
_FLAT = 4.0
"""Nor is what is this many times as wide as it is high."""
_SOLID = 0.15
"""Nor what has less ink than this share of its box, as frames and scratches have."""
_FEWEST = 50
"""Letters that tell their usual height."""
_ASCENDER = 1.5
"""From the height of an ordinary letter to that of ascenders: measured on 80 pages of five centuries, 1.2 to 1.9."""
_TOO_LOW, _TOO_LOW_FOR_COLUMNS = 7.0, 9.0
"""Pixels of an ascender on the reduced page below which lines are missed, or gutters between columns."""
_MANY = 4000
"""So many letters are on pages of several columns only."""
_CLEARLY = 0.8
"""To look once more is worth it from this share of the reduction on."""
_GOOD = 12.0
"""Pixels that the network finds lines best at."""


def reduce_less(parser: Any, image: Image) -> bool:
    """Whether the page that the layout networks of a PageParser have looked at was reduced too much for the print on
    it; then they begin with one that is reduced less, the next time."""
    engines = [getattr(step, "engine", None) for step in getattr(parser, "layout_parsers", ())]
    nets = [net for net in (getattr(engine, "parsenet", None) for engine in engines) if net is not None]
    if not any(net.adaptive_downsample for net in nets):
        return False
    height, letters = _letters(image)
    ascender, enough = _ASCENDER * height, _TOO_LOW if letters < _MANY else _TOO_LOW_FOR_COLUMNS
    small = False
    for net in nets:
        least = max(net.min_downsample, (image.shape[0] * image.shape[1] / net.max_megapixels / 1e6) ** 0.5)
        used, better = max(net.last_downsample, least), max(ascender / _GOOD, least)
        if net.adaptive_downsample and ascender / used < enough and better < _CLEARLY * used:
            net.last_downsample = better
            small = True
    return small


def letter_height(image: Image) -> float | None:
    """Pixels of an ordinary letter: half of all ink is in lower ones. None where there are hardly letters."""
    height, letters = _letters(image)
    return height if letters else None


def _letters(image: Image) -> tuple[float, int]:
    """The height of ordinary letters, and how many there are; infinite and none where there are hardly any."""
    height, width = image.shape[:2]
    top, left = (max(0, (side - _PART) // 2) for side in (height, width))
    part = image[top : top + _PART, left : left + _PART]
    grey = part if part.ndim == 2 else cv2.cvtColor(part, cv2.COLOR_BGR2GRAY)
    ink = cv2.adaptiveThreshold(grey, 255, cv2.ADAPTIVE_THRESH_MEAN_C, cv2.THRESH_BINARY_INV, _BLOCK, _DARKER)
    _, _, boxes, _ = cv2.connectedComponentsWithStats(ink, connectivity=8)
    widths, heights, areas = (boxes[1:, column] for column in (cv2.CC_STAT_WIDTH, cv2.CC_STAT_HEIGHT, cv2.CC_STAT_AREA))
    letters = (heights >= _HEIGHTS[0]) & (heights <= _HEIGHTS[1]) & (widths > 1) & (widths <= _FLAT * heights)
    letters &= (areas >= 2 * _HEIGHTS[0]) & (areas >= _SOLID * widths * heights)
    if np.count_nonzero(letters) < _FEWEST:
        return math.inf, 0
    heights, areas = heights[letters], areas[letters]
    order = np.argsort(heights)
    ink_up_to = np.cumsum(areas[order])
    return float(heights[order][np.searchsorted(ink_up_to, ink_up_to[-1] / 2)]), len(heights)
