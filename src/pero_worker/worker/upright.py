"""Makes sure that an engine reads a page with square pixels and upright text.

A page that lies sideways or upside down is recognized by its own text. Engines read something on such a page, too, but
with little confidence, or with one letter per line; in that case part of the page is read in all four positions. A page
that is read well costs nothing extra, one that is hard to read about half as much again.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from PIL import Image as Pillow

from pero_worker.errors import PageError
from pero_worker.formats.words import box_of
from pero_worker.inputs.images import PageScan
from pero_worker.page import Image, Line, Page
from pero_worker.ports import Engine
from pero_worker.work import EngineInput, EngineOutput
from pero_worker.worker.view import View, fitted, turns_of

_DOUBTFUL = 0.4
"""Legibility below which a page may be lying the wrong way, for engines without `doubtful_below`."""
_SHORT = 3
"""Lines and words with fewer letters do not show which way they run."""
_FEW = 5.0
"""Number of letters that may be read into specks and ornaments."""
_CLEARLY = 1.3
"""Factor by which more text must be found in another position."""
_PART = 0.5
"""Fraction of each side of a page that the tried part covers."""
_MAX_PART = 1400
"""Longest side of that part, in pixels."""
_DARKER = 50
"""Grey levels by which ink is darker than paper, in coarse pixels."""
_INKED = (0.002, 0.4)
"""Smallest and largest fraction of a page with text that is ink."""
_COARSE = 4
"""Side of a coarse pixel, in pixels of the page; used to look for ink and for the part with the most text."""


def process_upright(
    engine: Engine, work: EngineInput, scan: PageScan, *, max_pixels: int, rotate: bool = True
) -> EngineOutput:
    """Returns what the engine makes of the page, in the coordinates of the page as it is stored.

    `rotate`: whether a page whose text is not upright is turned for the engine; a layout that came with the page states
    its orientation itself.
    """
    height, width = scan.image.shape[:2]
    if work.page is not None:
        work = replace(work, page=fitted(work.page, width, height))
    turns = turns_of(work.page.orientation) if work.page else 0
    view = View(width=width, height=height, aspect=scan.aspect, turns=turns)
    if view.pixels > max_pixels:
        raise PageError(
            f"the page has {view.pixels / 1e6:.0f} megapixels with square pixels, more than the "
            f"{max_pixels / 1e6:g} allowed; if it is real, raise --max-megapixels",
            permanent=True,
        )
    output = _process(engine, work, scan, view)
    if rotate and work.page is None and output.page is not None:
        found = _Text.of(output.page)
        # Some layout engines find nothing at all on a page that lies sideways, and call it blank.
        blank = not any(output.page.lines()) and _has_ink(scan.image)
        if blank or (found.letters and found.legibility < getattr(engine, "doubtful_below", _DOUBTFUL)):
            view, output = _best(engine, work, scan, view, output)
    return replace(output, page=view.stored(output.page)) if output.page else output


def _best(
    engine: Engine, work: EngineInput, scan: PageScan, view: View, output: EngineOutput
) -> tuple[View, EngineOutput]:
    """Returns the position in which the page is read clearly better than as it lies, if any, and what was read in
    it."""
    part = _fullest_part(view.image(scan.image))
    tried = [_Text.of(_read(engine, work, part, turns)) for turns in range(4)]
    turns = max(range(4), key=lambda number: tried[number].sure)
    if tried[turns].sure < _CLEARLY * max(tried[0].sure, _FEW) or tried[turns].legibility <= tried[0].legibility:
        return view, output
    other = replace(view, turns=turns)
    again = _process(engine, work, scan, other)
    if again.page is None or output.page is None or _Text.of(again.page).sure <= _Text.of(output.page).sure:
        return view, output
    seconds = {phase: output.seconds.get(phase, 0.0) + took for phase, took in again.seconds.items()}
    return other, replace(again, seconds=seconds)


def _process(engine: Engine, work: EngineInput, scan: PageScan, view: View) -> EngineOutput:
    """Runs the engine on the page as seen in `view`."""
    page = view.seen(work.page) if work.page else None
    return engine.process(replace(work, image=view.image(scan.image), page=page))


def _read(engine: Engine, work: EngineInput, image: Image, turns: int) -> Page:
    turned = np.ascontiguousarray(np.rot90(image, -turns))
    page = engine.process(replace(work, image=turned)).page
    return page or Page(name=work.name, width=turned.shape[1], height=turned.shape[0])


def _fullest_part(image: Image) -> Image:
    """Returns the part of a page with the most edges of letters."""
    height, width = image.shape[:2]
    rows, columns = (min(_MAX_PART, max(1, round(side * _PART))) for side in (height, width))
    coarse = Pillow.fromarray(image).convert("L").reduce(_COARSE)
    grey = np.asarray(coarse, np.float32)
    edges = np.abs(np.diff(grey, axis=1, append=grey[:, -1:])) + np.abs(np.diff(grey, axis=0, append=grey[-1:]))
    sums = np.pad(edges.cumsum(axis=0).cumsum(axis=1), ((1, 0), (1, 0)))
    high, wide = max(1, rows // _COARSE), max(1, columns // _COARSE)
    inside = sums[high:, wide:] - sums[:-high, wide:] - sums[high:, :-wide] + sums[:-high, :-wide]
    top, left = (int(place) * _COARSE for place in np.unravel_index(int(inside.argmax()), inside.shape))
    return image[top : top + rows, left : left + columns]


def _has_ink(image: Image) -> bool:
    """Whether there is something on the page that is darker than its paper and does not cover it all."""
    grey = np.asarray(Pillow.fromarray(image).convert("L").reduce(_COARSE), np.int16)
    dark = float(np.mean(grey < np.median(grey) - _DARKER))
    return _INKED[0] < dark < _INKED[1]


def _runs_across(line: Line) -> bool:
    """Whether the line is horizontal, judging by its longer words: an engine may take a column of sideways words for a
    line."""
    shapes = [box_of(word.polygon) for word in line.words if len(word.text) >= _SHORT] or [box_of(line.polygon)]
    across = sum(right - left >= bottom - top for left, top, right, bottom in shapes)
    return 2 * across >= len(shapes)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Text:
    """How much text was found on a page, and how well it was read."""

    letters: int
    sure: float
    """Letters in horizontal lines, each weighted by its line's confidence."""

    @classmethod
    def of(cls, page: Page) -> _Text:
        lines = [line for line in page.lines() if line.text]
        sure = sum(
            len(line.text or "") * (1.0 if line.confidence is None else line.confidence)
            for line in lines
            if len(line.text or "") >= _SHORT and _runs_across(line)
        )
        return cls(letters=sum(len(line.text or "") for line in lines), sure=sure)

    @property
    def legibility(self) -> float:
        return self.sure / self.letters if self.letters else 0.0
