"""How an engine sees a page: with square pixels, and turned until its text is upright.

Results are in the coordinates of the page as it is stored (EXIF orientation applied); what engines take and return is
converted here and nowhere else.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from PIL import Image as Pillow

from pero_worker.errors import PageError
from pero_worker.page import Image, Line, Page, Point, Polygon, Region, Word

_NEARLY = 1.0
"""Degrees by which an orientation may differ from a quarter turn and still count as one."""
_ALIKE = 1.05
"""Factor by which the aspect ratios of two pictures of a page may differ."""


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """Converts from a page's own coordinates to those of an engine, and back."""

    width: int
    """Width of the page as stored, in pixels."""
    height: int
    """Height of the page as stored, in pixels."""
    aspect: float = 1.0
    """Ratio of vertical to horizontal resolution: heights are stretched below 1, widths above."""
    turns: int = 0
    """Quarter turns clockwise that set the text upright, 0 to 3."""

    @property
    def is_plain(self) -> bool:
        """Whether the engine sees the page as it is."""
        return self.aspect == 1 and not self.turns

    @property
    def pixels(self) -> int:
        """Number of pixels that the engine sees."""
        width, height = self._square
        return width * height

    def image(self, image: Image) -> Image:
        """Returns the page's image as the engine sees it."""
        if self.aspect != 1:
            image = np.asarray(Pillow.fromarray(image).resize(self._square, Pillow.Resampling.BICUBIC))
        return np.ascontiguousarray(np.rot90(image, -self.turns)) if self.turns else np.ascontiguousarray(image)

    def seen(self, page: Page) -> Page:
        """Returns a page as the engine sees it."""
        return page if self.is_plain else _carried(page, self._there, self._seen_size, self._rise)

    def stored(self, page: Page) -> Page:
        """Returns a page as the engine saw it, converted to the page's own coordinates."""
        if self.is_plain:
            return page
        carried = _carried(page, self._back, (self.width, self.height), 1 / self._rise)
        return replace(carried, orientation=orientation_of(self.turns))

    @property
    def _square(self) -> tuple[int, int]:
        across, down = self._stretch
        return max(1, round(self.width * across)), max(1, round(self.height * down))

    @property
    def _seen_size(self) -> tuple[int, int]:
        width, height = self._square
        return (height, width) if self.turns % 2 else (width, height)

    @property
    def _stretch(self) -> tuple[float, float]:
        return max(1.0, self.aspect), max(1.0, 1 / self.aspect)

    @property
    def _rise(self) -> float:
        """Factor by which letters are taller for the engine."""
        return self._stretch[0 if self.turns % 2 else 1]

    def _there(self, point: Point) -> Point:
        (width, height), (across, down) = self._square, self._stretch
        x, y = point[0] * across, point[1] * down
        return ((x, y), (height - y, x), (width - x, height - y), (y, width - x))[self.turns]

    def _back(self, point: Point) -> Point:
        (width, height), (across, down) = self._square, self._stretch
        x, y = point
        x, y = ((x, y), (y, height - x), (width - x, height - y), (width - y, x))[self.turns]
        return x / across, y / down


def _carried(page: Page, to: Callable[[Point], Point], size: tuple[int, int], rise: float) -> Page:
    def polygon(points: Polygon) -> Polygon:
        return tuple(map(to, points))

    def word(one: Word) -> Word:
        return replace(one, polygon=polygon(one.polygon))

    def line(one: Line) -> Line:
        return replace(
            one,
            baseline=polygon(one.baseline),
            polygon=polygon(one.polygon),
            heights=(one.heights[0] * rise, one.heights[1] * rise) if one.heights else None,
            words=tuple(map(word, one.words)),
        )

    def region(one: Region) -> Region:
        return replace(one, polygon=polygon(one.polygon), lines=tuple(map(line, one.lines)))

    return replace(page, width=size[0], height=size[1], regions=tuple(map(region, page.regions)))


def fitted(page: Page, width: int, height: int) -> Page:
    """Returns a layout scaled to an image, as it may come from a larger or smaller picture of the same page.

    Raises `PageError` if it is of a page of another shape.
    """
    across, down = width / page.width, height / page.height
    if (across, down) == (1, 1):
        return page
    if not 1 / _ALIKE < across / down < _ALIKE:
        raise PageError(
            f"the layout is of a page of {page.width} x {page.height}, the image has {width} x {height} pixels: it "
            "belongs to another image, or to this one turned",
            permanent=True,
        )
    return _carried(page, lambda point: (point[0] * across, point[1] * down), (width, height), down)


def orientation_of(turns: int) -> float:
    """Returns quarter turns as PAGE states an orientation: in degrees clockwise, -179.9 to 180."""
    return {0: 0.0, 1: 90.0, 2: 180.0, 3: -90.0}[turns]


def turns_of(orientation: float) -> int:
    """Returns the quarter turns of an orientation in PAGE; 0 for a page that is merely skewed."""
    turns = round(orientation / 90)
    return turns % 4 if abs(orientation - 90 * turns) <= _NEARLY else 0
