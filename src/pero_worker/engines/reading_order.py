"""Reading order of text boxes: rows from top to bottom, columns where there are columns."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from statistics import median

_MIN_ROWS = 4
_SIDE = 0.2
"""A side of a gutter is a column when its boxes are this wide, as a share of both together: a column of prices or page
numbers is not one, it belongs to the rows it stands in."""
_APART = 0.5
"""How much nearer to the text beyond a run its outermost row must be to belong there, in heights of the row."""
_OVERHANG = 0.5
"""By how much a box is shortened at each end when columns are looked for, in its heights."""
_WHOLE = 0.85
"""A level rule divides what it spans by this share."""
_ALIGNED, _FILLED = 0.8, 0.6
"""Of a table's rows so many have cells on both sides of a gutter; of text, so much of a line is not blank."""
_TITLE, _TITLE_WIDTH = 2.5, 0.5
"""A title is this many times as high as its surroundings, and as wide as this share of them at least."""
_MIN_EAR = 3
"""Lines beside it that are read apart from it."""
_NEIGHBOURS = 4
"""So many of the last rows a box may still belong to: rows of a skewed page overlap."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Box:
    """An upright rectangle around a piece of text, in pixels."""

    left: float
    top: float
    right: float
    bottom: float

    @property
    def width(self) -> float:
        return self.right - self.left

    @property
    def height(self) -> float:
        return self.bottom - self.top

    @property
    def middle(self) -> float:
        return (self.top + self.bottom) / 2


Row = list[int]
"""Indices of boxes that stand beside each other, from left to right."""


def reading_order(boxes: Sequence[Box], rules: Sequence[Box] = ()) -> list[list[Row]]:
    """Every index once, in groups of rows: groups and rows in their order, a row from left to right.

    A run of four or more rows with a common empty gutter and two wide sides is read column by column, also within
    columns; each column is a group of its own. What lies above a level rule across all of a part is read before what
    lies below. Everything else is read row by row. `rules`: boxes of printed rules, upright and level ones.
    """
    level = [rule for rule in rules if rule.width > rule.height]
    return [rows for rows in _groups(boxes, range(len(boxes)), level) if rows]


def _groups(boxes: Sequence[Box], indices: Sequence[int], rules: Sequence[Box]) -> Iterator[list[Row]]:
    for rule in rules:
        if divided := _by_rule(boxes, indices, rule):
            for part in divided:
                yield from _groups(boxes, part, [other for other in rules if other is not rule])
            return
    rows = rows_of(boxes, indices)
    found = _longest_run([_shortened(box) for box in boxes], rows)
    if found is None:
        parts = _ears(boxes, indices)
        if parts is None:
            yield rows
        for part in parts or ():
            yield from _groups(boxes, part, rules)
        return
    first, last, gutter = found
    run = _flat(rows[first:last])
    yield from _groups(boxes, _flat(rows[:first]), rules)
    yield from _groups(boxes, [index for index in run if _shortened(boxes[index]).right <= gutter], rules)
    yield from _groups(boxes, [index for index in run if _shortened(boxes[index]).right > gutter], rules)
    yield from _groups(boxes, _flat(rows[last:]), rules)


def _shortened(box: Box) -> Box:
    """Detectors take a line a little too long: a few pixels over the gutter must not end a column."""
    cut = min(_OVERHANG * box.height, box.width / 3)
    return Box(left=box.left + cut, top=box.top, right=box.right - cut, bottom=box.bottom)


def _by_rule(boxes: Sequence[Box], indices: Sequence[int], rule: Box) -> tuple[list[int], list[int]] | None:
    """What is above and below a rule that runs under or over all of these boxes, and through none."""
    if not indices:
        return None
    left, right = min(boxes[i].left for i in indices), max(boxes[i].right for i in indices)
    if min(right, rule.right) - max(left, rule.left) < _WHOLE * (right - left):
        return None
    above = [i for i in indices if boxes[i].middle < rule.middle]
    below = [i for i in indices if boxes[i].middle >= rule.middle]
    return (above, below) if above and below else None


def _ears(boxes: Sequence[Box], indices: Sequence[int]) -> list[list[int]] | None:
    """Where small print stands beside a title in very large type, as in the head of a newspaper: what is above, to the
    left, between, to the right, below. None where there is no such thing."""
    if not indices:
        return None
    usual = median(boxes[i].height for i in indices)
    across = max(boxes[i].right for i in indices) - min(boxes[i].left for i in indices)
    titles = [boxes[i] for i in indices if boxes[i].height > _TITLE * usual and boxes[i].width > 2 * boxes[i].height]
    if not titles or max(b.right for b in titles) - min(b.left for b in titles) < _TITLE_WIDTH * across:
        return None
    hull = Box(
        left=min(title.left for title in titles),
        top=min(title.top for title in titles),
        right=max(title.right for title in titles),
        bottom=max(title.bottom for title in titles),
    )
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
    """Those at a side of a title that stand beside it, or go on above and below where nothing is between the sides."""
    top, bottom = title.top, title.bottom
    found: list[int] = []
    waiting = sorted(side, key=lambda i: abs(boxes[i].middle - title.middle))
    for i in waiting:
        box = boxes[i]
        if box.bottom < top - box.height or box.top > bottom + box.height:
            continue
        outside = not title.top < box.middle < title.bottom
        if outside and any(_beside(boxes[other], box) for other in between):
            continue
        found.append(i)
        top, bottom = min(top, box.top), max(bottom, box.bottom)
    return found


def _flat(rows: Sequence[Row]) -> list[int]:
    return [index for row in rows for index in row]


def rows_of(boxes: Sequence[Box], indices: Sequence[int]) -> list[Row]:
    """Boxes beside each other make a row; each is compared with its nearest neighbour, for rows that are curved."""
    rows: list[Row] = []
    for index in sorted(indices, key=lambda i: boxes[i].middle):
        box = boxes[index]
        for row in reversed(rows[-_NEIGHBOURS:]):
            _, nearest = min((_gap(boxes[i], box), i) for i in row)
            if _beside(boxes[nearest], box):
                row.append(index)
                break
        else:
            rows.append([index])
    for row in rows:
        row.sort(key=lambda i: boxes[i].left)
    rows.sort(key=lambda row: median(boxes[i].middle for i in row))
    return rows


def _gap(a: Box, b: Box) -> float:
    """Pixels between two boxes, measured horizontally; negative when they overlap."""
    return max(a.left, b.left) - min(a.right, b.right)


def _beside(a: Box, b: Box) -> bool:
    overlap = min(a.bottom, b.bottom) - max(a.top, b.top)
    return overlap > 0.5 * min(a.height, b.height) and _gap(a, b) > -0.3 * min(a.width, b.width)


def _longest_run(boxes: Sequence[Box], rows: Sequence[Row]) -> tuple[int, int, float] | None:
    """First row, row after the last, and x of the gutter of the longest run of rows that a gutter divides."""
    best: tuple[int, int, float] | None = None
    for gutter in sorted(_gutters(boxes, rows)):
        for first, last in _runs(boxes, rows, gutter):
            if best is None or last - first > best[1] - best[0]:
                best = first, last, gutter
    return best


def _gutters(boxes: Sequence[Box], rows: Sequence[Row]) -> set[float]:
    """Middles of the gaps in rows, and between rows that follow each other: columns may be half a line apart."""
    found = set()
    for place in range(len(rows)):
        near = sorted(_flat(rows[place : place + 2]), key=lambda i: boxes[i].left)
        for a, b in pairwise(near):
            if boxes[b].left > boxes[a].right:
                found.add((boxes[a].right + boxes[b].left) / 2)
    return found


def _runs(boxes: Sequence[Box], rows: Sequence[Row], gutter: float) -> Iterator[tuple[int, int]]:
    start = 0
    for place in range(len(rows) + 1):
        if place < len(rows) and not any(boxes[i].left < gutter < boxes[i].right for i in rows[place]):
            continue
        first, last = _trimmed(boxes, rows, start, place)
        if _divided(boxes, rows[first:last], gutter):
            yield first, last
        start = place + 1


def _trimmed(boxes: Sequence[Box], rows: Sequence[Row], first: int, last: int) -> tuple[int, int]:
    """The run without outermost lone boxes that stand nearer to the text beyond it, as a heading of that text does."""
    while 0 < first < last - 1 and _leaves(boxes, rows[first], rows[first - 1], rows[first + 1]):
        first += 1
    while first < last - 1 < len(rows) - 1 and _leaves(boxes, rows[last - 1], rows[last], rows[last - 2]):
        last -= 1
    return first, last


def _leaves(boxes: Sequence[Box], row: Row, beyond: Row, within: Row) -> bool:
    nearer = _distance(boxes, row, within) - _distance(boxes, row, beyond)
    return len(row) == 1 and nearer > _APART * boxes[row[0]].height


def _distance(boxes: Sequence[Box], one: Row, other: Row) -> float:
    """Pixels between two rows, measured vertically; negative when they overlap."""
    a, b = ((min(boxes[i].top for i in row), max(boxes[i].bottom for i in row)) for row in (one, other))
    return max(a[0], b[0]) - min(a[1], b[1])


def _divided(boxes: Sequence[Box], rows: Sequence[Row], gutter: float) -> bool:
    """Whether the gutter makes two columns of these rows: enough rows on both sides, and both sides wide."""
    left = [[boxes[i] for i in row if boxes[i].right <= gutter] for row in rows]
    right = [[boxes[i] for i in row if boxes[i].right > gutter] for row in rows]
    if min(sum(map(bool, left)), sum(map(bool, right))) < _MIN_ROWS:
        return False
    if _are_cells(left, right):
        return False
    lefts, rights = ([(row[0].left, max(box.right for box in row)) for row in side if row] for side in (left, right))
    both = max(end for _, end in rights) - min(start for start, _ in lefts)
    return min(median(end - start for start, end in side) for side in (lefts, rights)) >= _SIDE * both


def _are_cells(left: Sequence[Sequence[Box]], right: Sequence[Sequence[Box]]) -> bool:
    """Whether rows go on over the gutter, and consist of short pieces that stand below each other: a table's do."""
    both = [(a, b) for a, b in zip(left, right, strict=True) if a and b]
    if len(both) < _ALIGNED * len(left):
        return False
    for side in ([row for row, _ in both], [row for _, row in both]):
        filled = median(sum(box.width for box in row) / ((row[-1].right - row[0].left) or 1) for row in side)
        seconds = [row[1] for row in side if len(row) > 1]
        if filled < _FILLED and len(seconds) >= _ALIGNED * len(side):
            usual = median(box.left for box in seconds)
            return sum(abs(box.left - usual) < box.height for box in seconds) >= _ALIGNED * len(seconds)
    return False
