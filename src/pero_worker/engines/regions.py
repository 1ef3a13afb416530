"""Regions around lines, the same for all engines."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from pero_worker.engines.boxes import Box
from pero_worker.engines.rules import PrintedRule
from pero_worker.geometry import turned
from pero_worker.page import Line, Region


def region_of(number: int, kind: str, lines: Sequence[Line]) -> Region:
    """Returns a region whose outline is the box around its lines."""
    points = [point for line in lines for point in (*line.polygon, *line.baseline)] or [(0.0, 0.0)]
    left, right = min(x for x, _ in points), max(x for x, _ in points)
    top, bottom = min(y for _, y in points), max(y for _, y in points)
    outline = ((left, top), (right, top), (right, bottom), (left, bottom))
    return Region(id=f"r{number:03d}", polygon=outline, lines=tuple(lines), kind=kind)


def upright_rules(rules: Iterable[PrintedRule], angle: float) -> list[Box]:
    """Returns the boxes of the rules on the page turned by `angle`, in radians."""
    boxes = []
    for rule in rules:
        (ax, ay), (bx, by) = turned(rule.start, angle), turned(rule.end, angle)
        boxes.append(Box(left=min(ax, bx), top=min(ay, by), right=max(ax, bx), bottom=max(ay, by)))
    return boxes
