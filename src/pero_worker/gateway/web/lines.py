"""Pure: a page's lines as shown next to its scan, and next to what another engine made of it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher

from pero_worker.page import Line, Page
from pero_worker.text import one_line

_Box = tuple[float, float, float, float]
"""Left, top, right and bottom."""
_SURE, _FAIR = 0.95, 0.85
"""The confidences from which a line is called sure, or fair."""
_DOUBTFUL = 0.85
"""Words with a lower confidence are marked."""
_MAX_POINTS = 60
MAX_LINES = 1500
"""How many lines of a page are shown; a newspaper page has some 800."""
_BAND_PIXELS = 64.0
_MAX_BANDS = 500
"""How many bands a line is sorted into at most, however tall it is."""
_MAX_WORDS = 60
"""How many words of a line are compared; a longer line is marked as a whole if it differs."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TextPiece:
    """A part of a line's text."""

    text: str
    """The text, including its spaces."""
    marked: bool = False
    """Whether the text is doubtful, or differs."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ShownLine:
    """A line of a page, as it is shown."""

    number: int
    """The line's number in reading order, counted from 1."""
    points: str
    """Its outline as SVG points, in pixels of the page."""
    confidence: float | None
    """How likely a letter of the line is to be right; None if not known."""
    pieces: tuple[TextPiece, ...]
    """Its text, in pieces."""
    kind: str | None
    """The type of its region."""

    @property
    def grade(self) -> str:
        """Returns how sure the line is: `sure`, `fair`, `unsure` or `unknown`."""
        if self.confidence is None:
            return "unknown"
        return "sure" if self.confidence >= _SURE else "fair" if self.confidence >= _FAIR else "unsure"


@dataclass(frozen=True, slots=True, kw_only=True)
class LinePair:
    """A line, and what another engine has in its place."""

    left: ShownLine
    right: tuple[TextPiece, ...]
    """The other engine's text, marked where it differs; () if there is none."""
    right_confidence: float | None
    """The lowest confidence of the other engine's lines there; None if not known."""


def shown_lines(page: Page) -> list[ShownLine]:
    """Returns the first `MAX_LINES` lines in reading order."""
    found = [(line, region.kind) for region in page.regions for line in region.lines][:MAX_LINES]
    return [
        ShownLine(
            number=number,
            points=_points(line),
            confidence=line.confidence,
            pieces=tuple(_pieces(line)),
            kind=kind,
        )
        for number, (line, kind) in enumerate(found, 1)
    ]


def worst_first(lines: Sequence[ShownLine]) -> list[ShownLine]:
    """Returns the lines from least to most sure, and those of unknown confidence last."""
    return sorted(lines, key=lambda line: (line.confidence is None, line.confidence or 0.0, line.number))


def _points(line: Line) -> str:
    points = line.polygon or line.baseline
    step = max(1, len(points) // _MAX_POINTS)
    return " ".join(f"{x:.0f},{y:.0f}" for x, y in points[::step])


def _pieces(line: Line) -> Iterator[TextPiece]:
    text = line.text or ""
    if " ".join(word.text for word in line.words) != text:
        yield TextPiece(text=one_line(text))
        return
    for place, word in enumerate(line.words):
        if place:
            yield TextPiece(text=" ")
        yield TextPiece(text=one_line(word.text), marked=word.confidence is not None and word.confidence < _DOUBTFUL)


def pairs(left: Page, right: Page) -> tuple[list[LinePair], list[str]]:
    """Returns each line of `left` with the lines of `right` that lie on it, and the texts of those that lie on none."""
    ours, others = list(left.lines())[:MAX_LINES], list(right.lines())[:MAX_LINES]
    boxes = [_box(line) for line in ours]
    bands = _bands(boxes)
    scale = (left.width / max(right.width, 1), left.height / max(right.height, 1))
    matched: dict[int, list[Line]] = {}
    alone = []
    for other in others:
        x, y = _centre(other)
        at = (x * scale[0], y * scale[1])
        place = _nearest(at, boxes, bands.get(int(at[1] // _BAND_PIXELS), ()))
        if place is None:
            alone.append(one_line(other.text or ""))
        else:
            matched.setdefault(place, []).append(other)
    made = []
    for place, (line, shown) in enumerate(zip(ours, shown_lines(left), strict=True)):
        beside = sorted(matched.get(place, ()), key=lambda other: _centre(other)[0])
        text = " ".join(other.text or "" for other in beside)
        known = [other.confidence for other in beside if other.confidence is not None]
        made.append(
            LinePair(
                left=shown,
                right=tuple(_difference(line.text or "", text)),
                right_confidence=min(known) if known else None,
            )
        )
    return made, [text for text in alone if text]


def _box(line: Line) -> _Box:
    points = line.polygon or line.baseline or ((0.0, 0.0),)
    xs, ys = [x for x, _ in points], [y for _, y in points]
    return min(xs), min(ys), max(xs), max(ys)


def _centre(line: Line) -> tuple[float, float]:
    left, top, right, bottom = _box(line)
    return (left + right) / 2, (top + bottom) / 2


def _bands(boxes: Sequence[_Box]) -> Mapping[int, Sequence[int]]:
    """Returns the indices of the boxes that reach into each band of the page, so that a point is compared with only a
    few."""
    found: dict[int, list[int]] = {}
    for place, (_, top, _, bottom) in enumerate(boxes):
        first, last = int(top // _BAND_PIXELS), int(bottom // _BAND_PIXELS)
        for band in range(first, min(last, first + _MAX_BANDS) + 1):
            found.setdefault(band, []).append(place)
    return found


def _nearest(at: tuple[float, float], boxes: Sequence[_Box], places: Sequence[int]) -> int | None:
    """Returns which of the boxes at these indices contains the point; of several, the one whose middle line is
    nearest."""
    x, y = at
    inside = [
        (abs(y - (top + bottom) / 2), place)
        for place in places
        for left, top, right, bottom in (boxes[place],)
        if left <= x <= right and top <= y <= bottom
    ]
    return min(inside)[1] if inside else None


def _difference(left: str, right: str) -> Iterator[TextPiece]:
    """Yields `right`, marked where its words differ from those of `left`."""
    if not right:
        return
    one, other = left.split(), right.split()
    if len(one) > _MAX_WORDS or len(other) > _MAX_WORDS:
        yield TextPiece(text=one_line(right), marked=left != right)
        return
    matcher = SequenceMatcher(None, one, other, autojunk=False)
    for place, (tag, _, _, begin, end) in enumerate(matcher.get_opcodes()):
        if tag == "delete":
            continue
        if place and begin:
            yield TextPiece(text=" ")
        yield TextPiece(text=one_line(" ".join(other[begin:end])), marked=tag != "equal")
