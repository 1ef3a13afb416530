"""Reading order and false lines: what the bundled pipelines ask for in [WORKER] and pero-ocr knows nothing about."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from configparser import ConfigParser
from dataclasses import dataclass, replace
from statistics import fmean

from pero_worker.engines.boxes import Box
from pero_worker.engines.paragraphs import blocks_of
from pero_worker.engines.reading_order import reading_order
from pero_worker.engines.regions import region_of, upright_rules
from pero_worker.engines.rules import PrintedRule
from pero_worker.geometry import slope_of, turned
from pero_worker.page import Line, Page, Region

SECTION = "WORKER"
SORT, DROP, LEAST = "SORT_LINES", "DROP_FALSE_LINES", "LEAST_CONFIDENCE"
PARAGRAPHS = "FIND_PARAGRAPHS"
SMALL = "FIND_SMALL_PRINT"
_UNSURE = 0.6
"""A line without letters or digits is kept from this confidence on."""
_SPECKS = frozenset(".,:;'`´’‘‚·•\"“”„-")
"""What a speck, or a blank that layout took for a line, is read as."""
_MIN_MARKS = 3
_COVERED = 0.6
"""A line was found twice if a longer one covers more than this share of it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tidying:
    """What to do; nothing unless the configuration says so, because pero-ocr does none of it."""

    sort_lines: bool = False
    """Whether to put lines into reading order."""
    drop_false_lines: bool = False
    """Whether to leave out what is not really a line: rulers, speckle, show-through."""
    least_confidence: float = 0.0
    """With `drop_false_lines`, a line that is read with less confidence is taken for a false one."""
    find_paragraphs: bool = False
    """Whether to sort lines and make regions of paragraphs, headings and so on."""
    find_small_print: bool = False
    """Whether to reduce pages less for the layout network if their letters are small."""

    @classmethod
    def of(cls, config: ConfigParser) -> Tidying:
        """Reads the configuration. Raises `ValueError` if a value is not yes or no, or not a number."""
        if not config.has_section(SECTION):
            return cls()
        section = config[SECTION]
        return cls(
            sort_lines=bool(section.getboolean(SORT, raw=True, fallback=False)),
            drop_false_lines=bool(section.getboolean(DROP, raw=True, fallback=False)),
            least_confidence=float(section.getfloat(LEAST, raw=True, fallback=0.0)),
            find_paragraphs=bool(section.getboolean(PARAGRAPHS, raw=True, fallback=False)),
            find_small_print=bool(section.getboolean(SMALL, raw=True, fallback=False)),
        )

    def __call__(self, page: Page, rules: Sequence[PrintedRule] = ()) -> Page:
        """`rules` are those printed on the page."""
        if self.drop_false_lines:
            page = without_false_lines(page, self.least_confidence)
        if self.find_paragraphs:
            return in_paragraphs(page, rules)
        return sorted_lines(page) if self.sort_lines else page


def in_paragraphs(page: Page, rules: Sequence[PrintedRule]) -> Page:
    """Returns the lines in reading order, in regions that are paragraphs, headings and so on; drops empty regions."""
    lines = list(page.lines())
    boxes = _boxes(lines)
    blocks = blocks_of(boxes, [line.text or "" for line in lines], upright_rules(rules, -_slope(lines)))
    return replace(
        page, regions=tuple(region_of(n, block.kind, [lines[i] for i in block.lines]) for n, block in enumerate(blocks))
    )


def without_false_lines(page: Page, least: float = 0.0) -> Page:
    """Drops lines read as nothing, as specks or with less than the `least` confidence, lines found twice, and regions
    that are then empty.

    If most of a page is read with less confidence, it is hard to read or lies the wrong way, and keeps such lines.
    """
    lines = list(page.lines())
    if _mostly_unsure(lines, least):
        least = 0.0
    kept = [place for place, line in enumerate(lines) if line.text is None or not _is_noise(line, least)]
    boxes = _boxes(lines)
    kept_once = set(kept) - set(_found_twice([(place, boxes[place]) for place in kept]))
    places = iter(range(len(lines)))
    regions = (
        replace(region, lines=tuple(line for line in region.lines if next(places) in kept_once))
        for region in page.regions
    )
    return replace(page, regions=tuple(region for region in regions if region.lines))


def _mostly_unsure(lines: Sequence[Line], least: float) -> bool:
    letters = [(len(line.text or ""), line.confidence is not None and line.confidence < least) for line in lines]
    return 2 * sum(length for length, unsure in letters if unsure) > sum(length for length, _ in letters)


def _is_noise(line: Line, least: float) -> bool:
    text = "".join((line.text or "").split())
    if line.confidence is not None and line.confidence < least:
        return True
    if any(character.isalnum() for character in text):
        return False
    marks = len(text) < _MIN_MARKS and _SPECKS.issuperset(text) and text != "-"
    return marks or not text or (line.confidence is not None and line.confidence < _UNSURE)


def _found_twice(boxes: Sequence[tuple[int, Box]]) -> Iterator[int]:
    rows = sorted(boxes, key=lambda item: item[1].top)
    for place, (index, box) in enumerate(rows):
        for other_index, other in rows[place + 1 :]:
            if other.top >= box.bottom:
                break
            wide = _shared(box.left, box.right, other.left, other.right)
            high = _shared(box.top, box.bottom, other.top, other.bottom)
            shorter, least = min((index, box), (other_index, other), key=lambda item: item[1].width)
            if wide * high > _COVERED * least.width * least.height:
                yield shorter


def _shared(low: float, high: float, other_low: float, other_high: float) -> float:
    return max(0.0, min(high, other_high) - max(low, other_low))


def sorted_lines(page: Page) -> Page:
    """Puts lines in the order in which a person would read them; regions whose lines then alternate become one.

    A region that is read in one go keeps its outline and id; one without lines comes last.
    """
    lines = list(page.lines())
    homes = [place for place, region in enumerate(page.regions) for _ in region.lines]
    order = [index for rows in reading_order(_boxes(lines)) for row in rows for index in row]
    regions = [
        _joined([page.regions[home] for home in dict.fromkeys(homes[i] for i in run)], [lines[i] for i in run])
        for run in _runs(order, homes)
    ]
    return replace(page, regions=(*regions, *(region for region in page.regions if not region.lines)))


def _runs(order: Sequence[int], homes: Sequence[int]) -> Iterator[Sequence[int]]:
    """Cuts the order of lines wherever no region continues."""
    last = {homes[index]: place for place, index in enumerate(order)}
    start = end = 0
    for place, index in enumerate(order):
        end = max(end, last[homes[index]])
        if place == end:
            yield order[start : place + 1]
            start = end = place + 1


def _joined(regions: Sequence[Region], lines: Sequence[Line]) -> Region:
    if len(regions) == 1:
        return replace(regions[0], lines=tuple(lines))
    points = [point for region in regions for point in region.polygon]
    if not points:
        return replace(regions[0], lines=tuple(lines))
    (left, top), (right, bottom) = (tuple(map(pick, zip(*points, strict=True))) for pick in (min, max))
    outline = ((left, top), (right, top), (right, bottom), (left, bottom))
    return Region(id=regions[0].id, polygon=outline, lines=tuple(lines), kind=regions[0].kind)


def _boxes(lines: Sequence[Line]) -> list[Box]:
    """Returns the box of every line on the page turned upright."""
    angle = -_slope(lines)
    boxes = []
    for line in lines:
        points = [turned(point, angle) for point in line.baseline or line.polygon] or [(0.0, 0.0)]
        xs, ys = zip(*points, strict=True)
        above, below = line.heights or (0.0, 0.0)
        boxes.append(Box(left=min(xs), top=fmean(ys) - above, right=max(xs), bottom=fmean(ys) + below))
    return boxes


def _slope(lines: Sequence[Line]) -> float:
    """Returns the angle by which lines fall to the right, in radians; 0 if none is long."""
    return slope_of(
        (line.baseline[-1][0] - line.baseline[0][0], line.baseline[-1][1] - line.baseline[0][1], sum(line.heights))
        for line in lines
        if len(line.baseline) > 1 and line.heights is not None
    )
