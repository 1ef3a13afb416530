"""Lines to learn from, cut out of pages as pero-ocr cuts them, and lines held out for evaluation."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median

import numpy as np

from pero_worker.engines.pero import compat
from pero_worker.engines.pero.crops import line_grid
from pero_worker.errors import NoInputError, PageError
from pero_worker.inputs.images import decode_image
from pero_worker.names import counted
from pero_worker.page import Line as PageLine
from pero_worker.page import Page, Point
from pero_worker.training.batches import Line
from pero_worker.training.truth import TruePage, plain

compat.import_pero()

from pero_ocr.core.crop_engine import EngineLineCropper  # noqa: E402 - after import_pero

from pero_worker.engines.pero import convert  # noqa: E402 - after import_pero

_USUAL = (0.75, 1.3)
"""Outlines are drawn loosely, so a line's height is limited to these shares of what is usual on the page."""
_BEYOND = 0.2
"""Share of a line's height that is cut beyond both ends of a baseline: layout nets overshoot, people begin at the first
letter."""
_NARROWEST = 4.0
"""Pixels of a crop that each character needs at least; with fewer, the outline is wrong."""
_FEWEST = 20
_WHOLE_PAGES = 5
"""With this many pages, some are held out whole; with fewer, every n-th line."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Lines:
    """Lines to learn from, and lines held out."""

    learnt: list[Line]
    """Crops and texts to learn from."""
    held_out: list[Line]
    """Other crops and texts, for evaluation."""
    characters: set[str]
    """The characters of all texts."""
    pages: int
    """Number of images that could be read."""


def collect(pages: Sequence[TruePage], height: int, *, share: float, seed: int, tell: Callable[[str], None]) -> Lines:
    """Returns crops of all lines with text, `height` pixels high; about a `share` of them is held out.

    Raises `NoInputError` if too few lines are left.
    """
    by_page: dict[Path, list[Line]] = {}
    for one in pages:
        try:
            image = decode_image(one.image.read_bytes())
        except (PageError, OSError) as error:
            tell(f"{one.image}: {error}: left out")
            continue
        by_page[one.image] = cut_out(image, one.page, height)
    lines = [line for own in by_page.values() for line in own]
    if len(lines) < _FEWEST:
        raise NoInputError(
            f"{counted(len(lines), 'line')} of text is not enough to learn from: give {_FEWEST} at least"
        )
    learnt, held_out = _parted(list(by_page.values()), share, random.Random(seed))  # noqa: S311 - no secrets here
    characters = {character for _, text in lines for character in text}
    return Lines(learnt=learnt, held_out=held_out, characters=characters, pages=len(by_page))


def _parted(pages: list[list[Line]], share: float, draw: random.Random) -> tuple[list[Line], list[Line]]:
    total = sum(map(len, pages))
    wanted = max(5, round(share * total))
    if len(pages) >= _WHOLE_PAGES:
        held_out: list[Line] = []
        for place in draw.sample(range(len(pages)), len(pages) - 1):
            if len(held_out) >= wanted:
                break
            if len(held_out) + len(pages[place]) <= max(2 * wanted, total // 3):
                held_out += pages[place]
                pages[place] = []
        if len(held_out) >= wanted // 2:
            return [line for own in pages for line in own], held_out
        pages.append(held_out)
    lines = [line for own in pages for line in own]
    chosen = set(draw.sample(range(total), wanted))
    return (
        [line for place, line in enumerate(lines) if place not in chosen],
        [line for place, line in enumerate(lines) if place in chosen],
    )


def cut_out(image: np.ndarray, page: Page, height: int) -> list[Line]:
    """Returns crop (height, width, 3) and text of every line of the page that has a text and lies on the image."""
    high, wide = image.shape[:2]
    page = _scaled(page, wide / page.width, high / page.height)
    cropper = EngineLineCropper(line_height=height, poly=2)
    found = []
    for line in convert.to_layout(_evened(page)).lines_iterator():
        text = plain(line.transcription or "")
        if not text:
            continue
        try:
            crop = cropper.fast_remap(image, line_grid(cropper, line))
        except Exception:  # noqa: S112 - pero-ocr raises all kinds on a line without extent, which teaches nothing
            continue
        if crop.shape[1] >= _NARROWEST * len(text):
            found.append((np.asarray(crop, np.uint8), text))
    return found


def _scaled(page: Page, x: float, y: float) -> Page:
    """Returns the page at the size of its image: exports sometimes hold images of another size than the page was drawn
    on."""
    if abs(x - 1) < 0.002 and abs(y - 1) < 0.002:
        return page

    def moved(points: tuple[Point, ...]) -> tuple[Point, ...]:
        return tuple((a * x, b * y) for a, b in points)

    def line_moved(line: PageLine) -> PageLine:
        heights = line.heights and (line.heights[0] * y, line.heights[1] * y)
        return replace(line, baseline=moved(line.baseline), polygon=moved(line.polygon), heights=heights)

    regions = tuple(
        replace(region, polygon=moved(region.polygon), lines=tuple(map(line_moved, region.lines)))
        for region in page.regions
    )
    return replace(page, width=round(page.width * x), height=round(page.height * y), regions=regions)


def _evened(page: Page) -> Page:
    """Returns the page with evened-out line heights, and lines slightly extended at both ends."""
    known = [line.heights for line in page.lines() if line.heights]
    if not known:
        return page
    usual = median(above for above, _ in known), median(below for _, below in known)

    def even(line: PageLine) -> PageLine:
        above, below = (
            min(max(own, _USUAL[0] * common), _USUAL[1] * common)
            for own, common in zip(line.heights or usual, usual, strict=True)
        )
        return replace(line, heights=(above, below), baseline=_longer(line.baseline, _BEYOND * (above + below)))

    regions = tuple(replace(region, lines=tuple(map(even, region.lines))) for region in page.regions)
    return replace(page, regions=regions)


def _longer(baseline: tuple[Point, ...], by: float) -> tuple[Point, ...]:
    if len(baseline) < 2:
        return baseline

    def beyond(end: Point, before: Point) -> Point:
        x, y = end[0] - before[0], end[1] - before[1]
        length = (x * x + y * y) ** 0.5 or 1.0
        return end[0] + by * x / length, end[1] + by * y / length

    return beyond(baseline[0], baseline[1]), *baseline[1:-1], beyond(baseline[-1], baseline[-2])
