"""How an engine sees a page: with square pixels, and turned until its text stands upright.

Results are in the coordinates of the page as it is stored (EXIF orientation applied); what engines take and give is
carried over here, and nowhere else.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from PIL import Image as Pillow

from pero_worker.errors import PageError
from pero_worker.page import Image, Line, Page, Point, Polygon, Region, Word

_NEARLY = 1.0
"""Degrees by which an orientation may differ from a quarter turn and be taken for one."""
_ALIKE = 1.05
"""By how much two pictures of a page may differ in shape."""


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """From a page's own coordinates to those of an engine, and back."""

    width: int
    """Pixels of the page, as stored."""
    height: int
    """Pixels of the page, as stored."""
    aspect: float = 1.0
    """Resolution down to resolution across: rows are stretched below 1, columns above."""
    turns: int = 0
    """Quarter turns clockwise that set the text upright, 0 to 3."""

    @property
    def is_plain(self) -> bool:
        """Whether the engine sees the page as it is."""
        return self.aspect == 1 and not self.turns

    @property
    def pixels(self) -> int:
        """How many the engine sees."""
        width, height = self._square
        return width * height

    def image(self, image: Image) -> Image:
        """The page's image as the engine sees it."""
        if self.aspect != 1:
            image = np.asarray(Pillow.fromarray(image).resize(self._square, Pillow.Resampling.BICUBIC))
        return np.ascontiguousarray(np.rot90(image, -self.turns)) if self.turns else np.ascontiguousarray(image)

    def seen(self, page: Page) -> Page:
        """A page as the engine sees it."""
        return page if self.is_plain else _carried(page, self._there, self._seen_size, self._rise)

    def stored(self, page: Page) -> Page:
        """A page that the engine saw, in the page's own coordinates."""
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
        """How much higher the engine sees letters."""
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
    """A layout in the pixels of an image, when it was made from a larger or smaller picture of the same page.

    PageError: it is of a page of another shape.
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
    """PAGE's word for quarter turns: degrees clockwise, -179.9 to 180."""
    return {0: 0.0, 1: 90.0, 2: 180.0, 3: -90.0}[turns]


def turns_of(orientation: float) -> int:
    """The quarter turns that an orientation in PAGE means; 0 for a page that is merely skewed."""
    turns = round(orientation / 90)
    return turns % 4 if abs(orientation - 90 * turns) <= _NEARLY else 0
