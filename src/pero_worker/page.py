"""What is on a page: regions, lines, words. Frozen records that every format and engine shares.

Coordinates are pixels of the upright page image (EXIF orientation applied), x to the right, y down.
Confidences are probabilities 0..1. The order of regions, and of lines in a region, is the reading order.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:  # Text of pages needs no numpy.
    import numpy as np
    from numpy.typing import NDArray

Image: TypeAlias = "NDArray[np.uint8]"
"""A page image: uint8, shape (height, width, 3), channels blue, green, red (the order of OpenCV)."""
Point = tuple[float, float]
Polygon = tuple[Point, ...]


@dataclass(frozen=True, slots=True)
class Word:
    """A word without spaces; `polygon` runs clockwise from the top left corner, normally four points."""

    text: str
    polygon: Polygon
    confidence: float | None = None


@dataclass(frozen=True, slots=True)
class Line:
    """A text line. `heights` are ascender and descender in pixels, measured from the baseline.

    `text` is None before recognition; '' means recognised as empty. `words` may be empty although
    there is text (an engine without word positions); their texts joined by spaces are then unknown.
    """

    id: str
    baseline: Polygon
    polygon: Polygon
    heights: tuple[float, float] | None = None
    text: str | None = None
    confidence: float | None = None
    words: tuple[Word, ...] = ()


@dataclass(frozen=True, slots=True)
class Region:
    id: str
    polygon: Polygon
    lines: tuple[Line, ...] = ()
    kind: str | None = None


@dataclass(frozen=True, slots=True)
class Page:
    """One page; `name` is the image's file name, `width` and `height` are pixels (>= 1). `orientation`: the degrees,
    clockwise, by which the page is to be turned for its text to stand upright; coordinates are of the page as it is."""

    name: str
    width: int
    height: int
    regions: tuple[Region, ...] = ()
    orientation: float = 0.0

    def lines(self) -> Iterator[Line]:
        """All lines in reading order."""
        for region in self.regions:
            yield from region.lines

    def confidence(self) -> float | None:
        """How likely a letter of the page is right: the lines' confidences by their letters; None without any."""
        known = [(line.confidence, len(line.text or "")) for line in self.lines() if line.confidence is not None]
        letters = sum(length for _, length in known)
        return sum(sure * length for sure, length in known) / letters if letters else None
