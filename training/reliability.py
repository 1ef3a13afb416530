"""A picture of what confidences are worth: how many letters are right at each, as SVG."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

_SIDE, _EDGE = 320, 48


def diagram(points: Sequence[tuple[float, float, int]], title: str) -> str:
    """`points`: confidence, share of right letters, number of letters; the diagonal is where they ought to lie."""
    most = max(number for *_, number in points)
    dots = "".join(
        f'<circle cx="{_x(sure):.1f}" cy="{_y(right):.1f}" r="{3 + 9 * (number / most) ** 0.5:.1f}"/>'
        for sure, right, number in points
    )
    ticks = "".join(
        f'<text x="{_x(value):.0f}" y="{_y(0.4) + 18}" text-anchor="middle">{value:g}</text>'
        f'<text x="{_x(0.4) - 8}" y="{_y(value) + 4:.0f}" text-anchor="end">{value:g}</text>'
        for value in (0.4, 0.6, 0.8, 1.0)
    )
    size = _SIDE + 2 * _EDGE
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {size} {size}" font-family="sans-serif" font-size="12">'
        f'<rect width="{size}" height="{size}" fill="#fff"/><text x="{_EDGE}" y="24">{escape(title)}</text>'
        f'<rect x="{_EDGE}" y="{_EDGE}" width="{_SIDE}" height="{_SIDE}" fill="none" stroke="#888"/>'
        f'<line x1="{_x(0.4)}" y1="{_y(0.4)}" x2="{_x(1)}" y2="{_y(1)}" stroke="#888"/>'
        f'<g fill="#06c" fill-opacity="0.6">{dots}</g>{ticks}'
        f'<text x="{size / 2}" y="{size - 8}" text-anchor="middle">confidence</text></svg>\n'
    )


def _x(value: float) -> float:
    return _EDGE + _SIDE * (max(0.4, value) - 0.4) / 0.6


def _y(value: float) -> float:
    return _EDGE + _SIDE * (1 - (max(0.4, value) - 0.4) / 0.6)
