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
BESIDE_THE_TEXT = frozenset({"page-number", "header", "footer", "catch-word", "signature-mark"})
"""Kinds of regions that are on a page and no part of its text."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Word:
    """A word of a line."""

    text: str
    """Without spaces."""
    polygon: Polygon
    """Clockwise from the top left corner; normally four points."""
    confidence: float | None = None
    """How likely a letter of it is right; None where an engine does not say."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """A line of text."""

    id: str
    """Unique on the page."""
    baseline: Polygon
    """From the first letter to the last, at the letters' feet."""
    polygon: Polygon
    """Around the ink."""
    heights: tuple[float, float] | None = None
    """Of the ascenders above the baseline and the descenders below it, in pixels."""
    text: str | None = None
    """None before recognition; '' means that nothing was recognised."""
    confidence: float | None = None
    """How likely a letter of it is right; None where an engine does not say."""
    words: tuple[Word, ...] = ()
    """May be empty although there is text: some engines do not know where words are."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Region:
    """A paragraph, a heading, a page number and so on."""

    id: str
    """Unique on the page."""
    polygon: Polygon
    """Around its lines."""
    lines: tuple[Line, ...] = ()
    """In reading order."""
    kind: str | None = None
    """The region's type in PAGE XML, such as "paragraph"; None where an engine does not say."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """A page and all that is on it."""

    name: str
    """The image's file name."""
    width: int
    """Pixels, at least 1."""
    height: int
    """Pixels, at least 1."""
    regions: tuple[Region, ...] = ()
    """In reading order."""
    orientation: float = 0.0
    """Degrees, clockwise, by which the page is to be turned for its text to stand upright; coordinates are of the page
    as it is."""

    def lines(self) -> Iterator[Line]:
        """All lines in reading order."""
        for region in self.regions:
            yield from region.lines

    def confidence(self) -> float | None:
        """How likely a letter of the page is right: the lines' confidences by their letters; None without any."""
        known = [(line.confidence, len(line.text or "")) for line in self.lines() if line.confidence is not None]
        letters = sum(length for _, length in known)
        return sum(sure * length for sure, length in known) / letters if letters else None
