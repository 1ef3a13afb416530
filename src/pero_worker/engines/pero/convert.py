"""Converts between the records of `page.py` and pero-ocr's PageLayout."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pero_ocr.core import layout as pero_layout

from pero_worker.geometry import baseline_in
from pero_worker.page import Line, Page, Point, Polygon, Region, Word

Array = NDArray[Any]

_LOWEST_LINE = 1.0
"""Minimum height of a line, in pixels; the cropper would magnify a lower one without bounds."""


def to_layout(page: Page) -> Any:
    """Returns a PageLayout with the page's regions and those of its lines that can be located."""
    result = pero_layout.PageLayout(id=page.name, page_size=(page.height, page.width))
    for region in page.regions:
        polygon = _array(region.polygon, page)
        if len(polygon) < 3:
            polygon = _array(((0, 0), (page.width, 0), (page.width, page.height), (0, page.height)), page)
        target = pero_layout.RegionLayout(region.id, polygon, region.kind)
        target.lines = [text_line for line in region.lines if (text_line := _text_line(line, page)) is not None]
        result.regions.append(target)
    return result


def from_layout(layout: Any, page: Page, words: Mapping[int, Sequence[Word]]) -> Page:
    """Returns `page` with the layout's regions and lines; `words` are keyed by the `id()` of the line object."""
    size = (page.width, page.height)
    return Page(
        name=page.name,
        width=page.width,
        height=page.height,
        regions=tuple(
            Region(
                id=region.id,
                polygon=_polygon(region.polygon, size),
                lines=tuple(_line(line, size, tuple(words.get(id(line), ()))) for line in region.lines),
                kind=region.region_type,
            )
            for region in layout.regions
        ),
    )


def _text_line(line: Line, page: Page) -> Any:
    polygon = _array(line.polygon, page)
    baseline = _array(line.baseline, page)
    if len(baseline) < 2:
        if len(polygon) < 3:
            return None
        baseline = np.array(baseline_in((*polygon.min(axis=0), *polygon.max(axis=0))))
    result = pero_layout.TextLine(
        id=line.id,
        baseline=baseline,
        polygon=polygon if len(polygon) else None,
        transcription=line.text,
        transcription_confidence=line.confidence,
    )
    if line.heights is not None:
        result.heights = list(line.heights)
    elif len(polygon) < 3:
        return None
    else:
        pero_layout.guess_line_heights_from_polygon(result, n=len(baseline))
    result.heights = [max(float(height), _LOWEST_LINE) for height in result.heights]
    return result


def _line(line: Any, size: tuple[int, int], words: tuple[Word, ...]) -> Line:
    confidence = line.transcription_confidence
    return Line(
        id=line.id,
        baseline=_polygon(line.baseline, size),
        polygon=_polygon(line.polygon, size) if line.polygon is not None else (),
        heights=(float(line.heights[0]), float(line.heights[1])),
        text=line.transcription,
        confidence=None if confidence is None else float(confidence),
        words=words,
    )


def _array(points: Polygon, page: Page) -> Array:
    # Coordinates from elsewhere may be anything; one page's size beyond the page is room enough.
    array = np.asarray(points, dtype=float).reshape(-1, 2)
    low, high = (-page.width, -page.height), (2 * page.width, 2 * page.height)
    return np.asarray(np.clip(np.nan_to_num(array), low, high))


def _polygon(points: Array, size: tuple[int, int]) -> Polygon:
    clipped = np.clip(np.nan_to_num(np.asarray(points, dtype=float)), 0, size)
    return tuple(_point(x, y) for x, y in clipped)


def _point(x: float, y: float) -> Point:
    return float(x), float(y)
