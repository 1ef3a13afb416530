"""What is on a page: regions, lines and words. Frozen records that all formats and engines share.

Coordinates are pixels of the upright page image (EXIF orientation applied), x to the right, y down. Confidences are
probabilities from 0 to 1. The order of regions, and of lines in a region, is the reading order.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:  # A page's text does not need numpy.
    import numpy as np
    from numpy.typing import NDArray

Image: TypeAlias = "NDArray[np.uint8]"
"""A page image: uint8, shape (height, width, 3), channels blue, green, red (the order of OpenCV)."""
Point = tuple[float, float]
Polygon = tuple[Point, ...]
BESIDE_THE_TEXT = frozenset({"page-number", "header", "footer", "catch-word", "signature-mark"})
"""Kinds of regions that are on a page but are not part of its text."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Word:
    """A word of a line."""

    text: str
    """The word's text, without spaces."""
    polygon: Polygon
    """The word's outline, clockwise from the top left corner; normally four points."""
    confidence: float | None = None
    """Probability that a letter of the word is right; None if the engine does not say."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """A line of text."""

    id: str
    """Identifier, unique on the page."""
    baseline: Polygon
    """The baseline, from the first letter to the last, at the letters' feet."""
    polygon: Polygon
    """The line's outline, around the ink."""
    heights: tuple[float, float] | None = None
    """Height of the ascenders above the baseline and depth of the descenders below it, in pixels."""
    text: str | None = None
    """The line's text; None before recognition, '' if nothing was recognised."""
    confidence: float | None = None
    """Probability that a letter of the line is right; None if the engine does not say."""
    words: tuple[Word, ...] = ()
    """The line's words; may be empty although there is text, as some engines do not locate words."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Region:
    """A paragraph, a heading, a page number and so on."""

    id: str
    """Identifier, unique on the page."""
    polygon: Polygon
    """The region's outline, around its lines."""
    lines: tuple[Line, ...] = ()
    """The region's lines in reading order."""
    kind: str | None = None
    """The region's type in PAGE XML, such as "paragraph"; None if the engine does not say."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """A page and everything on it."""

    name: str
    """The image's file name."""
    width: int
    """Width of the image in pixels, at least 1."""
    height: int
    """Height of the image in pixels, at least 1."""
    regions: tuple[Region, ...] = ()
    """The page's regions in reading order."""
    orientation: float = 0.0
    """Clockwise angle, in degrees, by which the page must be turned for its text to stand upright; coordinates are
    those of the page as it is."""

    def lines(self) -> Iterator[Line]:
        """Yields all lines in reading order."""
        for region in self.regions:
            yield from region.lines

    def confidence(self) -> float | None:
        """Returns the probability that a letter of the page is right: the mean of the lines' confidences, weighted by
        their letters; None if no line has one."""
        known = [(line.confidence, len(line.text or "")) for line in self.lines() if line.confidence is not None]
        letters = sum(length for _, length in known)
        return sum(sure * length for sure, length in known) / letters if letters else None
