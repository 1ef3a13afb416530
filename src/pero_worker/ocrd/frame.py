"""Converts between the picture that was read (cropped, turned) and the page that it shows."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from pero_worker.page import Line, Page, Polygon, Region, Word


def onto_page(found: Page, transform: Any, width: int, height: int) -> Page:
    """Returns `found`, given in pixels of a picture, in pixels of its page of `width` x `height`. `transform` is the
    affine matrix (3 x 3) from page to picture."""
    inverse = np.linalg.inv(np.asarray(transform, np.float64))

    def moved(points: Polygon) -> Polygon:
        if not points:
            return ()
        corners = np.column_stack([np.asarray(points, np.float64), np.ones(len(points))])
        return tuple((float(x), float(y)) for x, y, _ in corners @ inverse.T)

    def word(old: Word) -> Word:
        return replace(old, polygon=moved(old.polygon))

    def line(old: Line) -> Line:
        words = tuple(map(word, old.words))
        return replace(old, polygon=moved(old.polygon), baseline=moved(old.baseline), words=words)

    def region(old: Region) -> Region:
        return replace(old, polygon=moved(old.polygon), lines=tuple(map(line, old.lines)))

    return replace(found, width=width, height=height, regions=tuple(map(region, found.regions)))
