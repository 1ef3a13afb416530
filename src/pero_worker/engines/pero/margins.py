"""Splits lines that run from a note in the margin into the text, or from column to column where there is no rule.

Where the lines above and below begin at one place and this one far before it, this one begins with a note. Most lines
of a note must have a blank just there, or it is not a note: lines above an indented quotation begin before it, too.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from pero_ocr.core.layout import TextLine
from pero_ocr.layout_engines.layout_helpers import baseline_to_textline

from pero_worker.engines.pero.gutters import between
from pero_worker.page import Image

Array = NDArray[Any]

# All lengths are in heights of the page's usual line.
_OUTSIDE, _INSIDE = 2.5, 6.0
"""Minimum reach of a note beyond the text, and of the text from there to its other side."""
_NEAR = 9.0
"""How far above and below a line others show where the text begins."""
_FEWEST = 3
"""Minimum number of these lines."""
_ALIGNED, _FLUSH = 0.7, 1.2
"""How far from each other they may begin, and how far from this line's end they may end."""
_NEXT = 2.2
"""Maximum distance from one line of a note to the next."""
_BLANK, _BLANK_OF_TWO = 0.15, 0.35
"""Minimum width of the blank between note and text, and the same for a note of only two lines."""
_BEFORE, _BEHIND = 0.1, 0.5
"""How far before or after the place where other lines begin the text may begin."""
_MOST = 0.7
"""Share of a note's lines that must have a blank there."""
_OVER = 0.15
"""How far lines reach beyond their letters."""
_INK = 0.07
"""Where there is a letter, more than this share of a column of pixels is ink."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Stray:
    """A line that begins before the text."""

    line: Any
    middle: float
    place: float
    """The x at which the text begins."""


def part_notes(layout: Any, image: Image) -> None:
    """Changes pero-ocr's `layout`, so that lines with a note are split into the note and the text."""
    lines = [line for line in layout.lines_iterator() if _runs_right(line)]
    if len(lines) <= _FEWEST:
        return
    height = float(np.median([sum(line.heights) for line in lines]))
    cuts: dict[int, tuple[float, float]] = {}
    for mirrored in (False, True):
        for note in _notes(_strays(lines, height, mirrored=mirrored), height):
            least = _BLANK if len(note) > 2 else _BLANK_OF_TWO
            blanks = {id(s.line): _blank(s, image, height, least, mirrored=mirrored) for s in note}
            found = {key: blank for key, blank in blanks.items() if blank is not None}
            if len(found) >= max(2, _MOST * len(note)):
                cuts |= found
    if cuts:
        for region in layout.regions:
            region.lines = [part for line in region.lines for part in _parts(line, cuts.get(id(line)), height)]


def _runs_right(line: Any) -> bool:
    return len(line.baseline) > 1 and bool(np.all(np.diff(np.asarray(line.baseline)[:, 0]) > 0))


def _strays(lines: Sequence[Any], height: float, *, mirrored: bool) -> list[_Stray]:
    """Returns the lines that begin before the text or, if `mirrored`, end after it; from top to bottom."""
    ends = np.array([(line.baseline[0][0], line.baseline[-1][0]) for line in lines], float)
    near_end, far_end = (-ends[:, 1], -ends[:, 0]) if mirrored else (ends[:, 0], ends[:, 1])
    middles = np.array([np.mean(np.asarray(line.baseline)[:, 1]) for line in lines])
    order = np.argsort(middles, kind="stable")
    strays = []
    for i in order.tolist():
        first, last = np.searchsorted(middles[order], [middles[i] - _NEAR * height, middles[i] + _NEAR * height])
        near = order[first:last]
        near = near[
            (near_end[near] > near_end[i] + _OUTSIDE * height)
            & (near_end[near] < far_end[i] - _INSIDE * height)
            & (np.abs(far_end[near] - far_end[i]) < _FLUSH * height)
        ]
        if len(near) < _FEWEST:
            continue
        nearest = near[np.argsort(np.abs(middles[near] - middles[i]), kind="stable")][: 2 * _FEWEST]
        place = float(np.median(near_end[nearest]))
        if np.count_nonzero(np.abs(near_end[nearest] - place) < _ALIGNED * height) >= _FEWEST:
            strays.append(_Stray(line=lines[i], middle=float(middles[i]), place=-place if mirrored else place))
    return strays


def _notes(strays: Sequence[_Stray], height: float) -> Iterator[list[_Stray]]:
    """Yields groups of at least two lines that follow each other."""
    note = list(strays[:1])
    for before, stray in pairwise(strays):
        if stray.middle - before.middle > _NEXT * height or abs(stray.place - before.place) > _ALIGNED * height:
            if len(note) > 1:
                yield note
            note = []
        note.append(stray)
    if len(note) > 1:
        yield note


def _blank(stray: _Stray, image: Image, height: float, least: float, *, mirrored: bool) -> tuple[float, float] | None:
    """Returns the two x just outside the text between which there is no letter; None if there is no such blank."""
    baseline = np.asarray(stray.line.baseline, float)
    level = float(np.interp(stray.place, baseline[:, 0], baseline[:, 1]))
    top, bottom = max(0, round(level - 0.9 * float(stray.line.heights[0]))), max(0, round(level + 0.05 * height))
    left, right = (max(0, round(stray.place + side * _OUTSIDE * height)) for side in (-1, 1))
    band = image[top:bottom, left:right]
    if min(band.shape[:2]) < 2:
        return None
    grey = (band if band.ndim == 2 else cv2.cvtColor(band, cv2.COLOR_BGR2GRAY)).astype(np.float32)
    dark, bright = np.percentile(grey, (2, 85))
    inked = np.mean(grey < (dark + bright) / 2, axis=0) > _INK
    borders = np.flatnonzero(np.diff(np.concatenate(([True], inked, [True]))))
    for start, end in zip((borders[::2] + left).tolist(), (borders[1::2] + left).tolist(), strict=True):
        text = stray.place - start if mirrored else end - stray.place
        if end - start >= least * height and -_BEFORE * height <= text <= _BEHIND * height:
            return float(start), float(end)
    return None


def _parts(line: Any, blank: tuple[float, float] | None, height: float) -> Iterator[Any]:
    if blank is None:
        yield line
        return
    over = min(_OVER * height, (blank[1] - blank[0]) / 2)
    baseline = np.asarray(line.baseline, float)
    for number, (left, right) in enumerate(((-np.inf, blank[0] + over), (blank[1] - over, np.inf)), 1):
        part = TextLine(id=f"{line.id}-{number}", baseline=between(baseline, left, right), heights=list(line.heights))
        part.polygon = baseline_to_textline(part.baseline, line.heights)
        yield part
