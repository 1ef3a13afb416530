"""Splits lines that run across a rule into the next column, before they are read."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pero_ocr.core.layout import TextLine
from pero_ocr.layout_engines.layout_helpers import baseline_to_textline

from pero_worker.engines.rules import PrintedRule

_MARGIN = 0.25
"""Distance from a rule to the text beside it, in heights of the line."""


def part_lines(layout: Any, rules: Sequence[PrintedRule]) -> None:
    """Changes pero-ocr's `layout`, so that a line across an upright rule in a gutter becomes two."""
    upright = [rule for rule in rules if rule.is_upright and rule.stands_free]
    if not upright:
        return
    for region in layout.regions:
        region.lines = [part for line in region.lines for part in _parts(line, upright)]


def _parts(line: Any, rules: Sequence[PrintedRule]) -> Iterator[Any]:
    baseline = np.asarray(line.baseline, dtype=float)
    height = float(sum(line.heights))
    cuts = sorted(cut for rule in rules if (cut := _crossing(baseline, line.heights, rule)) is not None)
    if not cuts:
        yield line
        return
    edges = [-np.inf, *cuts, np.inf]
    for number, (left, right) in enumerate(pairwise(edges)):
        own = between(baseline, left + _MARGIN * height, right - _MARGIN * height)
        if own[-1, 0] - own[0, 0] < height / 2:
            continue
        part = TextLine(id=f"{line.id}-{number + 1}", baseline=own, heights=list(line.heights))
        part.polygon = baseline_to_textline(own, line.heights)
        yield part


def _crossing(baseline: NDArray[np.float64], heights: Sequence[float], rule: PrintedRule) -> float | None:
    """Returns the x at which a rule runs through a line, neither near the line's ends nor with its own end there."""
    if len(baseline) < 2 or np.any(np.diff(baseline[:, 0]) <= 0):
        return None
    above, below = float(heights[0]), float(heights[1])
    place = rule.across(float(baseline[:, 1].mean()))
    inside = baseline[0, 0] + above + below < place < baseline[-1, 0] - above - below
    level = float(np.interp(place, baseline[:, 0], baseline[:, 1]))
    return place if inside and rule.start[1] <= level - above and level + below <= rule.end[1] else None


def between(baseline: NDArray[np.float64], left: float, right: float) -> NDArray[np.float64]:
    """Returns the part between two x of a baseline that runs to the right."""
    left, right = max(left, baseline[0, 0]), min(right, baseline[-1, 0])
    xs = np.array([left, *(x for x in baseline[:, 0] if left < x < right), max(left, right)])
    return np.stack([xs, np.interp(xs, baseline[:, 0], baseline[:, 1])], axis=1)
