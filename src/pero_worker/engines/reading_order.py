"""Reading order of text boxes: rows from top to bottom, columns where there are columns."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from statistics import median

from pero_worker.engines.boxes import Box, Row, beside, hull_of, in_rows, rows_of
from pero_worker.engines.columns import Purse, longest_run

_OVERHANG = 0.5
"""How much a box is shortened at each end when looking for columns, in heights of the box."""
_WHOLE = 0.85
"""A level rule divides a part of the page if it spans at least this share of its width."""
_TITLE, _TITLE_WIDTH = 2.5, 0.5
"""A title is at least this many times as high as its surroundings, and as wide as this share of them."""
_MIN_EAR = 3
"""Minimum number of lines beside a title that are read apart from it."""


def reading_order(boxes: Sequence[Box], rules: Sequence[Box] = ()) -> list[list[Row]]:
    """Returns every index once, in groups of rows; groups and rows are in reading order, each row from left to right.

    A run of four or more rows with a common empty gutter and two wide sides is read column by column, also within
    columns; each column is a group of its own. What lies above a level rule across a whole part of the page is read
    before what lies below it. Everything else is read row by row. `rules` are the boxes of printed rules, both upright
    and level.
    """
    level = [rule for rule in rules if rule.width > rule.height]
    return [rows for rows in _Order(boxes).groups(range(len(boxes)), level) if rows]


class _Order:
    """The order of one page's `boxes`."""

    def __init__(self, boxes: Sequence[Box]) -> None:
        self.boxes = boxes
        self.shortened = [_shortened(box) for box in boxes]
        self.purse = Purse()

    def groups(self, indices: Sequence[int], rules: Sequence[Box]) -> Iterator[list[Row]]:
        """Yields the groups of these boxes, which `rules` may divide."""
        divided = _by_rule(self.boxes, indices, rules)
        if divided is not None:
            above, below, others = divided
            yield from self.groups(above, others)
            yield from self.groups(below, others)
            return
        rows = rows_of(self.boxes, indices)
        found = longest_run(self.shortened, rows, self.purse)
        if found is None:
            parts = _ears(self.boxes, indices)
            if parts is None:
                yield rows
            for part in parts or ():
                yield from self.groups(part, rules)
            return
        first, last, gutter = found
        run = in_rows(rows[first:last])
        yield from self.groups(in_rows(rows[:first]), rules)
        yield from self.groups([i for i in run if self.shortened[i].right <= gutter], rules)
        yield from self.groups([i for i in run if self.shortened[i].right > gutter], rules)
        yield from self.groups(in_rows(rows[last:]), rules)


def _shortened(box: Box) -> Box:
    """Shortens a box: detectors make lines a little too long, and a few pixels in the gutter must not end a column."""
    cut = min(_OVERHANG * box.height, box.width / 3)
    return Box(left=box.left + cut, top=box.top, right=box.right - cut, bottom=box.bottom)


def _by_rule(
    boxes: Sequence[Box], indices: Sequence[int], rules: Sequence[Box]
) -> tuple[list[int], list[int], list[Box]] | None:
    """Returns the boxes above and below a rule that runs between them across the whole part, and the other rules; None
    if there is no such rule."""
    if not indices or not rules:
        return None
    left, right = min(boxes[i].left for i in indices), max(boxes[i].right for i in indices)
    middles = [boxes[i].middle for i in indices]
    highest, lowest = min(middles), max(middles)
    for rule in rules:
        across = min(right, rule.right) - max(left, rule.left)
        if across < _WHOLE * (right - left) or not highest < rule.middle <= lowest:
            continue
        above = [i for i in indices if boxes[i].middle < rule.middle]
        below = [i for i in indices if boxes[i].middle >= rule.middle]
        return above, below, [other for other in rules if other is not rule]
    return None


def _ears(boxes: Sequence[Box], indices: Sequence[int]) -> list[list[int]] | None:
    """Splits boxes where small print stands beside a title in very large type, as in the head of a newspaper.

    Returns what is above, to the left, between, to the right and below; None if there is no such title.
    """
    if not indices:
        return None
    usual = median(boxes[i].height for i in indices)
    across = max(boxes[i].right for i in indices) - min(boxes[i].left for i in indices)
    titles = [boxes[i] for i in indices if boxes[i].height > _TITLE * usual and boxes[i].width > 2 * boxes[i].height]
    if not titles or max(b.right for b in titles) - min(b.left for b in titles) < _TITLE_WIDTH * across:
        return None
    hull = hull_of(titles)
    slack = _OVERHANG * usual
    sides = [
        [i for i in indices if boxes[i].right < hull.left + slack],
        [i for i in indices if boxes[i].left > hull.right - slack],
    ]
    between = [i for i in indices if boxes[i] not in titles and i not in sides[0] and i not in sides[1]]
    ears = [_beside_title(boxes, side, between, hull) for side in sides]
    if max(map(len, ears)) < _MIN_EAR:
        return None
    left, right = ears
    own = {*left, *right}
    top = min([hull.top, *(boxes[i].top for i in own)])
    bottom = max([hull.bottom, *(boxes[i].bottom for i in own)])
    rest = [i for i in indices if i not in own]
    above = [i for i in rest if boxes[i].middle < top]
    below = [i for i in rest if boxes[i].middle > bottom]
    middle = [i for i in rest if top <= boxes[i].middle <= bottom]
    return [part for part in (above, left, middle, right, below) if part]


def _beside_title(boxes: Sequence[Box], side: Sequence[int], between: Sequence[int], title: Box) -> list[int]:
    """Returns those boxes at one side of a title that stand beside it, or continue above or below where there is
    nothing between the sides."""
    top, bottom = title.top, title.bottom
    found: list[int] = []
    waiting = sorted(side, key=lambda i: abs(boxes[i].middle - title.middle))
    for i in waiting:
        box = boxes[i]
        if box.bottom < top - box.height or box.top > bottom + box.height:
            continue
        outside = not title.top < box.middle < title.bottom
        if outside and any(beside(boxes[other], box) for other in between):
            continue
        found.append(i)
        top, bottom = min(top, box.top), max(bottom, box.bottom)
    return found
