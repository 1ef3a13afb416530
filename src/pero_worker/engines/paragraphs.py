"""Groups lines into running heads, headings, paragraphs, marginalia, footnotes and tables.

It goes by geometry, and by a few hints from the text, such as whether it is a number. All boxes are on the page turned
upright.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from statistics import median, quantiles

from pero_worker.engines.boxes import Box, Row, hull_of, rows_of
from pero_worker.engines.reading_order import reading_order

_NUMBER = re.compile(r"[\W_]*(\d{1,4}|(?=\D?\d)[\dIlO]{2,4}|[ivxlcIVXLC]{1,7})[\W_]*")
"""A page number; 1 and 0 are often misread as I, l and O."""
_SIGNATURE = re.compile(
    r"(\W{0,3}[A-Za-z]{1,2}|[*†)(]{1,4}) ?[.,]?([0-9z]{1,2}|[ivxj]{1,4})?[.,]?|[A-Za-z]{1,2}\W{0,2}"
)
"""A signature mark, for the binder: B 3, * 4, Aa ij."""
_NOTE = re.compile(r"\W{0,2}(\d{1,3}|[a-z]|\*{1,3}|†)\s?[).\s]")
_SPREAD = 1.35
"""A paragraph begins where lines are further apart than usual by this factor."""
_OTHER_SIZE = 1.4
_INDENT = 0.7
"""Minimum indent of a paragraph's first line, in line heights."""
_HANGING = 0.45
"""Where more than this share of the lines is indented, the first line of an entry is the one that is not."""
_JUSTIFIED = 0.55
"""Where more than this share of the lines reaches the margin, a line that does not ends a paragraph."""
_WIDE = 0.6
"""Minimum width of a line in the body of the page, as a share of the usual width."""
_NARROW = 0.4
"""Only a line narrower than this share of the usual width stands in the margin."""
_SHORT = 0.12
"""A line ends early when more than this share of the width is left blank."""
_NEIGHBOURS = 4
"""How many lines above and below show where the margins are."""
_SMALL = 0.88
"""Maximum height of a footnote's lines, as a share of the body's."""
_HEAD_WIDTH = 0.8
"""A running head is narrower than this share of the row below it."""
_MAX_HEADING_ROWS = 4
_MIN_TABLE_ROWS, _MIN_CELLS = 3, 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """A paragraph, or whatever else `kind` says: the indices of its `lines`, in reading order."""

    kind: str
    lines: list[int]


def blocks_of(boxes: Sequence[Box], texts: Sequence[str], rules: Sequence[Box] = ()) -> list[Block]:
    """Returns every line once, in blocks in reading order: the page's head, its body, its margins, its foot."""
    if not boxes:
        return []
    height = median(box.height for box in boxes)
    rows = rows_of(boxes, range(len(boxes)))
    head, foot = _head(boxes, texts, rows), _foot(boxes, texts, rows, height)
    taken = {index for block in (*head, *foot) for index in block.lines}
    cells = {i for row, inside in zip(rows, _tables(rows), strict=True) if inside for i in row}
    margin = _marginal(boxes, texts, [i for i in range(len(boxes)) if i not in taken]) - cells
    body = [i for i in range(len(boxes)) if i not in taken and i not in margin]
    blocks = list(head)
    groups = _renumbered(reading_order([boxes[i] for i in body], rules), body)
    for group in groups:
        blocks += _paragraphs(boxes, texts, group, rules, height)
    _name_footnotes(boxes, texts, blocks, height)
    blocks += _marginalia(boxes, margin)
    return [*blocks, *foot]


def _renumbered(groups: Sequence[list[Row]], names: Sequence[int]) -> list[list[Row]]:
    return [[[names[i] for i in row] for row in rows] for rows in groups]


def _head(boxes: Sequence[Box], texts: Sequence[str], rows: Sequence[Row]) -> list[Block]:
    """Returns the first row if it has a page number, or stands apart from the text but is set in the same size."""
    if len(rows) < 4 or len(rows[0]) > 4:
        return []
    numbers = [i for i in rows[0] if _NUMBER.fullmatch(texts[i])]
    others = [i for i in rows[0] if i not in numbers]
    if not numbers and _runs_on(boxes, texts, rows):
        return [Block(kind="header", lines=others)]
    usual = _pitch(boxes, rows)
    apart = _middle(boxes, rows[1]) - _middle(boxes, rows[0]) > _SPREAD * usual
    size = median(box.height for box in boxes)
    large = any(boxes[i].height > _OTHER_SIZE * size for i in others)
    if not numbers and (not apart or large or any(texts[i].rstrip().endswith((",", "-")) for i in others)):
        return []
    if others and large:
        return []
    blocks = [Block(kind="header", lines=others)] if others else []
    for i in numbers:
        blocks.insert(
            0 if others and boxes[i].left < boxes[others[0]].left else len(blocks), Block(kind="page-number", lines=[i])
        )
    return blocks


def _runs_on(boxes: Sequence[Box], texts: Sequence[str], rows: Sequence[Row]) -> bool:
    """Whether the first row is short and not part of a sentence, and the text below it continues the previous page."""
    first, following = (_hull(boxes, row) for row in rows[:2])
    text, below = (" ".join(texts[i] for i in row).strip() for row in rows[:2])
    short = first.width < _HEAD_WIDTH * following.width and first.left > following.left + first.height
    size = median(box.height for box in boxes)
    return short and first.height < _OTHER_SIZE * size and text[:1].isupper() and below[:1].islower()


def _foot(boxes: Sequence[Box], texts: Sequence[str], rows: Sequence[Row], height: float) -> list[Block]:
    """Returns what the last row holds: a page number alone, a signature mark, or a catch-word at the right end."""
    in_table = 1 < len(rows[-1]) <= len(rows[-2]) if len(rows) > 1 else False
    if len(rows) < 4 or len(rows[-1]) > 3 or in_table:
        return []
    left, right = min(box.left for box in boxes), quantiles([_hull(boxes, row).right for row in rows], n=5)[-1]
    row = rows[-1]
    catch_words = [
        i
        for i in row
        if boxes[i].width < 0.3 * (right - left)
        and boxes[i].left > (left + right) / 2
        and right - boxes[i].right < 2 * height
        and not _NUMBER.fullmatch(texts[i])
        and not _SIGNATURE.fullmatch(texts[i].strip())
        and " " not in texts[i].strip()
    ]
    blocks = []
    for i in row:
        text = texts[i].strip()
        if i in catch_words:
            blocks.append(Block(kind="catch-word", lines=[i]))
        elif _NUMBER.fullmatch(text) and not catch_words:
            blocks.append(Block(kind="page-number", lines=[i]))
        elif boxes[i].width < 0.25 * (right - left) and (_SIGNATURE.fullmatch(text) or _NUMBER.fullmatch(text)):
            blocks.append(Block(kind="signature-mark", lines=[i]))
    return blocks


def _marginal(boxes: Sequence[Box], texts: Sequence[str], indices: Sequence[int]) -> set[int]:
    """Returns the lines beside the body of the page that are words rather than line numbers or prices."""
    if len(indices) < 4:
        return set()
    usual = quantiles([boxes[i].width for i in indices], n=5)[-1]
    wide = sorted((boxes[i] for i in indices if boxes[i].width >= _WIDE * usual), key=lambda box: box.middle)
    if len(wide) < 4:
        return set()
    middles = [box.middle for box in wide]
    lefts, rights = quantiles([b.left for b in wide], n=10), quantiles([b.right for b in wide], n=10)
    top, bottom = min(box.top for box in wide), max(box.bottom for box in wide)
    found = set()
    for i in indices:
        box = boxes[i]
        words = sum(character.isalpha() for character in texts[i]) >= 3
        if not words or box.width >= _NARROW * usual or not top - box.height < box.middle < bottom + box.height:
            continue
        # Pages are skewed and curved, so what counts is where the lines beside it begin and end.
        left, right = _margins(wide, bisect_left(middles, box.middle), 4)
        # On a page with columns, those lines belong to several: outside one column is not outside all of them.
        before = box.right < min(left + 0.5 * box.height, lefts[0] + 2 * box.height)
        if before or box.left > max(right - 0.5 * box.height, rights[-1] - 2 * box.height):
            found.add(i)
    return found


def _marginalia(boxes: Sequence[Box], indices: set[int]) -> Iterator[Block]:
    """Yields the notes of the left margin, then those of the right, split where there is a gap."""
    if not indices:
        return
    middle = median((boxes[i].left + boxes[i].right) / 2 for i in range(len(boxes)))
    for side in (True, False):
        note: list[int] = []
        for i in sorted((i for i in indices if (boxes[i].left < middle) is side), key=lambda i: boxes[i].top):
            if note and boxes[i].top - boxes[note[-1]].bottom > boxes[i].height:
                yield Block(kind="marginalia", lines=note)
                note = []
            note.append(i)
        if note:
            yield Block(kind="marginalia", lines=note)


def _paragraphs(
    boxes: Sequence[Box], texts: Sequence[str], rows: Sequence[Row], rules: Sequence[Box], body: float
) -> Iterator[Block]:
    hulls = [_hull(boxes, row) for row in rows]
    heights = [median(boxes[i].height for i in row) for row in rows]
    pitch = _pitch(boxes, rows)
    margins = [_margins(hulls, place) for place in range(len(rows))]
    centred = [_is_centred(hull, *edges) for hull, edges in zip(hulls, margins, strict=True)]
    indented = [
        not middle and hull.left - left > _INDENT * height
        for hull, height, (left, _), middle in zip(hulls, heights, margins, centred, strict=True)
    ]
    hanging = sum(indented) > _HANGING * len(rows)
    reaching = sum(right - hull.right < hull.height for hull, (_, right) in zip(hulls, margins, strict=True))
    justified = reaching > _JUSTIFIED * len(rows)
    tables = _tables(rows)
    start = 0
    for place in range(1, len(rows) + 1):
        if place < len(rows):
            a, b = hulls[place - 1], hulls[place]
            left, right = margins[place]
            ended = justified and right - a.right > _SHORT * (right - left)
            begins = (
                (not indented[place] and (indented[place - 1] or ended))
                if hanging
                else (indented[place] and not indented[place - 1]) or (ended and not indented[place - 1])
            )
            tall, low = max(heights[place - 1 : place + 1]), min(heights[place - 1 : place + 1])
            if tables[place] or tables[place - 1]:
                parted = tables[place] != tables[place - 1]
            else:
                parted = (
                    b.middle - a.middle > _SPREAD * max(pitch, 0.8 * tall)
                    or tall > _OTHER_SIZE * low
                    or centred[place] != centred[place - 1]
                    or (begins and not centred[place])
                    or any(_is_between(rule, a, b) for rule in rules)
                )
            if not parted:
                continue
        lines = [i for row in rows[start:place] for i in row]
        yield Block(
            kind=_kind(start, place, heights, centred, tables, body, "".join(texts[i] for i in lines)), lines=lines
        )
        start = place


def _kind(
    first: int, last: int, heights: list[float], centred: list[bool], tables: list[bool], body: float, text: str
) -> str:
    if tables[first]:
        return "table"
    large = median(heights[first:last]) > 1.3 * body
    few = last - first <= _MAX_HEADING_ROWS and len(text) > 2 and any(map(str.isalpha, text))
    return "heading" if few and (large or all(centred[first:last])) else "paragraph"


def _name_footnotes(boxes: Sequence[Box], texts: Sequence[str], blocks: list[Block], body: float) -> None:
    """Makes footnotes of the last paragraphs set smaller than the body, if one of them begins with a mark."""
    place = len(blocks)
    while place > 1 and blocks[place - 1].kind == "paragraph":
        if median(boxes[i].height for i in blocks[place - 1].lines) > _SMALL * body:
            break
        place -= 1
    if any(_NOTE.match(texts[block.lines[0]]) for block in blocks[place:]):
        blocks[place:] = [Block(kind="footnote", lines=block.lines) for block in blocks[place:]]


def _tables(rows: Sequence[Row]) -> list[bool]:
    """Returns, for each row, whether it is one of three or more in succession with three or more cells."""
    cells = [len(row) >= _MIN_CELLS for row in rows]
    found = [False] * len(rows)
    start = 0
    for place in range(len(rows) + 1):
        if place < len(rows) and cells[place]:
            continue
        if place - start >= _MIN_TABLE_ROWS:
            found[start:place] = [True] * (place - start)
        start = place + 1
    return found


def _margins(hulls: Sequence[Box], place: int, part: int = 5) -> tuple[float, float]:
    """Returns where the lines near this one begin and end.

    One in `part` of them may reach farther on either side, because pages are curved.
    """
    first = max(0, min(place - _NEIGHBOURS, len(hulls) - 2 * _NEIGHBOURS - 1))
    near = hulls[first : first + 2 * _NEIGHBOURS + 1]
    lefts, rights = sorted(hull.left for hull in near), sorted(hull.right for hull in near)
    return lefts[len(near) // part], rights[-1 - len(near) // part]


def _is_centred(hull: Box, left: float, right: float) -> bool:
    before, after = hull.left - left, right - hull.right
    return min(before, after) > hull.height and abs(before - after) < max(1.5 * hull.height, 0.3 * (before + after))


def _is_between(rule: Box, above: Box, below: Box) -> bool:
    wide = min(rule.right, max(above.right, below.right)) - max(rule.left, min(above.left, below.left))
    return rule.width > rule.height and above.middle < rule.middle < below.middle and wide > 0


def _pitch(boxes: Sequence[Box], rows: Sequence[Row]) -> float:
    """Returns the usual distance from one row to the next."""
    middles = [_middle(boxes, row) for row in rows]
    steps = [b - a for a, b in pairwise(middles) if b > a]
    return median(steps) if steps else 0.0


def _middle(boxes: Sequence[Box], row: Row) -> float:
    return median(boxes[i].middle for i in row)


def _hull(boxes: Sequence[Box], row: Row) -> Box:
    return hull_of(boxes[i] for i in row)
