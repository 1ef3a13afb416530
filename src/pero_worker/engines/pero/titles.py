"""Finds very large type over small print: at the size that a newspaper's text needs, its title is too large to see."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pero_ocr.core.layout import PageLayout, RegionLayout
from shapely import LineString, Polygon, STRtree

from pero_worker.page import Image

_FACTORS = (3.5, 8.0)
"""How much more the page is reduced: the network finds type of 0.4 to 1.7 times the height that it is meant for."""
_LARGE = 2.5
"""A title is at least this many times as high as the usual line of the page."""
_LONG = 2.0
"""A title is at least this many times as long as it is high."""
_READ = 0.5
"""If text found before covers more than this share of a title, the title was found already, or is not one."""
_TEXT = 4.0
"""A line of text is more than this many times as long as it is high."""
_MOSTLY = 0.5
"""A line of which more than this share is inside a title is a piece of a letter."""


def add_titles(parser: Any, image: Image, layout: Any) -> None:
    """Adds to pero-ocr's `layout` the lines of very large type that are found on the much reduced page, and removes
    what was found inside their letters."""
    lines = [line for line in layout.lines_iterator() if len(line.baseline) > 1]
    if not lines:
        return
    least = _LARGE * float(np.median([sum(line.heights) for line in lines]))
    shapes = [LineString(line.baseline) for line in lines]
    tree = STRtree(shapes)
    gone: set[int] = set()
    titles: list[tuple[Polygon, Any]] = []
    for line in (line for factor in _FACTORS for line in _found_on_reduced(parser, image, factor)):
        if not least <= sum(line.heights) <= _length(line.baseline) / _LONG or _is_at_edge(line, image):
            continue
        outline = Polygon(line.polygon).buffer(0)
        near = [place for place in tree.query(outline).tolist() if place not in gone]
        inside = {place: float(shapes[place].intersection(outline).length) for place in near}
        text = sum(length for place, length in inside.items() if _is_text(lines[place]))
        if text > _READ * _length(line.baseline) or any(other.intersects(outline) for other, _ in titles):
            continue
        gone |= {place for place, length in inside.items() if length > _MOSTLY * shapes[place].length}
        titles.append((outline, line))
    pieces = {id(lines[place]) for place in gone}
    for region in layout.regions:
        region.lines = [line for line in region.lines if id(line) not in pieces]
    for number, (_, line) in enumerate(titles):
        region = RegionLayout(f"title{number}", line.polygon)
        line.id = f"{region.id}-l000"
        region.lines = [line]
        layout.regions.append(region)


def _found_on_reduced(parser: Any, image: Image, factor: float) -> Sequence[Any]:
    """Returns the lines of the page when it is reduced `factor` times as much as before."""
    layout = PageLayout(id="reduced", page_size=image.shape[:2])
    nets = [net for step in parser.layout_parsers if (net := getattr(getattr(step, "engine", None), "parsenet", None))]
    before = [(net.last_downsample, net.adaptive_downsample) for net in nets]
    try:
        for net in nets:
            net.last_downsample, net.adaptive_downsample = net.last_downsample * factor, False
        for step in parser.layout_parsers:
            layout = step.process_page(image, layout)
    finally:
        for net, settings in zip(nets, before, strict=True):
            net.last_downsample, net.adaptive_downsample = settings
    return list(layout.lines_iterator())


def _length(baseline: NDArray[np.float64]) -> float:
    return float(LineString(baseline).length) if len(baseline) > 1 else 0.0


def _is_text(line: Any) -> bool:
    """Whether the line is long enough to be text; pieces of letters are short."""
    return _length(line.baseline) > _TEXT * float(sum(line.heights))


def _is_at_edge(line: Any, image: Image) -> bool:
    """Whether the line reaches the edge of the image, like a scan's dark border or the page behind."""
    xs, ys = np.asarray(line.polygon, dtype=float).T
    height, width = image.shape[:2]
    return bool(xs.min() <= 0 or ys.min() <= 0 or xs.max() >= width - 1 or ys.max() >= height - 1)
