"""Decides how much a page may be reduced before its layout is looked for.

pero-ocr reduces every page by the same factor and corrects that factor by the lines it then finds. Where the print is
small (a newspaper, a scan of few dots per inch), only the title survives at that size, and judged by the title the page
seems large enough.
"""

from __future__ import annotations

import math
from typing import Any

import cv2
import numpy as np

from pero_worker.page import Image

_PART = 3000
"""Maximum side of the part in the middle of the page that is looked at, in pixels."""
_BLOCK, _DARKER = 31, 15
"""Side of the square around a pixel, in pixels, and how many grey levels darker than it ink is."""
_HEIGHTS = (3, 150)
"""Minimum and maximum height of a letter, in pixels."""
_FLAT = 4.0
"""Anything wider than this many times its height is not a letter."""
_SOLID = 0.15
"""Nor is anything with less ink than this share of its box, such as a frame or a scratch."""
_FEWEST = 50
"""Minimum number of letters that show their usual height."""
_ASCENDER = 1.5
"""Ratio of the height of ascenders to that of ordinary letters: 1.2 to 1.9, measured on 80 pages of five centuries."""
_TOO_LOW, _TOO_LOW_FOR_COLUMNS = 7.0, 9.0
"""Height of ascenders on the reduced page, in pixels, below which lines are missed, or gutters between columns."""
_MANY = 4000
"""Only pages of several columns have this many letters."""
_CLEARLY = 0.8
"""A second look is worth it if the page is then reduced by less than this share of the factor before."""
_GOOD = 12.0
"""Height of ascenders at which the network finds lines best, in pixels."""


def reduce_less(parser: Any, image: Image) -> bool:
    """Whether the layout networks of a PageParser have looked at a page that was reduced too much for its print; if so,
    it also makes them begin with less reduction the next time."""
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
    """Returns the height of an ordinary letter in pixels: half of all ink is in lower ones. None if there are hardly
    any letters."""
    height, letters = _letters(image)
    return height if letters else None


def _letters(image: Image) -> tuple[float, int]:
    """Returns the height of ordinary letters, and how many letters there are; infinity and 0 if hardly any."""
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
