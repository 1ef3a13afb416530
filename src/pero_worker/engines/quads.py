"""Builds text lines from the quadrilaterals that a text detector finds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from statistics import median

import numpy as np
from numpy.typing import NDArray

from pero_worker.engines.rules import PrintedRule
from pero_worker.geometry import BASELINE_SHARE, slope_of
from pero_worker.page import Line, Point, Word


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """A word on its line: `text`, read with `confidence`, from `start` to `end` as shares (0..1) of the line's
    length."""

    text: str
    start: float
    end: float
    confidence: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Piece:
    """The `text` in one quadrilateral, read with `confidence`; `corners`, shape (4, 2), run clockwise from the corner
    above its first letter, and `spans` are its words, if they are known."""

    corners: NDArray[np.float64]
    text: str
    confidence: float
    spans: tuple[Span, ...] = ()

    @property
    def height(self) -> float:
        a, b, c, d = self.corners
        return float(np.linalg.norm(a - d) + np.linalg.norm(b - c)) / 2

    def point(self, along: float, down: float) -> Point:
        """Returns the point at these shares of the length and the height, in pixels."""
        a, b, c, d = self.corners
        top, bottom = a + (b - a) * along, d + (c - d) * along
        x, y = top + (bottom - top) * down
        return float(x), float(y)


def slope(pieces: Sequence[Piece]) -> float:
    """Returns the angle by which lines fall to the right, in radians: the median of long ones, 0 if there are none."""
    edges = [piece.corners[2] - piece.corners[3] for piece in pieces]
    return slope_of((float(x), float(y), piece.height) for piece, (x, y) in zip(pieces, edges, strict=True))


def spans_of(text: str, columns: Sequence[int], confidences: Sequence[float], length: float) -> tuple[Span, ...]:
    """Locates words by the columns (out of `length`) in which their letters were recognised.

    `columns` has an entry per letter, `confidences` one per character, spaces included. Returns () if these do not fit
    the text.
    """
    if len(columns) != len("".join(text.split())) or len(confidences) != len(text) or length <= 0:
        return ()
    centres = iter([(column + 0.5) / length for column in columns])
    chances = iter([chance for character, chance in zip(text, confidences, strict=True) if not character.isspace()])
    words = [(word, [next(centres) for _ in word], [next(chances) for _ in word]) for word in text.split()]
    steps = [b - a for _, places, _ in words for a, b in pairwise(places)]
    half = max(0.0, median(steps) if steps else 1 / len(text)) / 2
    edges = [0.0, *((a[1][-1] + b[1][0]) / 2 for a, b in pairwise(words)), 1.0]
    return tuple(
        Span(
            text=word,
            start=max(edges[i], places[0] - half),
            end=min(edges[i + 1], places[-1] + half),
            confidence=sum(own) / len(own),
        )
        for i, (word, places, own) in enumerate(words)
    )


def parted(piece: Piece, rules: Sequence[PrintedRule]) -> list[Piece]:
    """Splits the piece wherever an upright rule in a gutter runs through it between two words."""
    for rule in rules:
        if not (rule.is_upright and rule.stands_free) or len(piece.spans) < 2:
            continue
        (left, top), (right, bottom) = piece.point(0.0, 0.0), piece.point(1.0, 1.0)
        place = (rule.across((top + bottom) / 2) - left) / (right - left) if right > left else 0.0
        if not 0.0 < place < 1.0 or rule.start[1] > top or rule.end[1] < bottom:
            continue
        before = [span for span in piece.spans if span.start + span.end < 2 * place]
        after = [span for span in piece.spans if span.start + span.end >= 2 * place]
        if before and after:
            halves = [_part(piece, before, 0.0, place), _part(piece, after, place, 1.0)]
            return [part for half in halves for part in parted(half, [other for other in rules if other is not rule])]
    return [piece]


def _part(piece: Piece, spans: Sequence[Span], start: float, end: float) -> Piece:
    corners = [piece.point(along, down) for along, down in ((start, 0.0), (end, 0.0), (end, 1.0), (start, 1.0))]

    def within(share: float) -> float:
        return min(1.0, max(0.0, (share - start) / (end - start)))

    own = tuple(
        Span(text=span.text, start=within(span.start), end=within(span.end), confidence=span.confidence)
        for span in spans
    )
    return Piece(
        corners=np.array(corners), text=" ".join(span.text for span in spans), confidence=piece.confidence, spans=own
    )


def line_of(name: str, pieces: Sequence[Piece]) -> Line:
    """Makes one line of the pieces, at least one, that stand beside each other from left to right."""
    height = max(piece.height for piece in pieces)
    letters = [max(1, len(piece.text)) for piece in pieces]
    confidence = sum(piece.confidence * n for piece, n in zip(pieces, letters, strict=True)) / sum(letters)
    known = all(piece.spans for piece in pieces)
    return Line(
        id=name,
        baseline=tuple(_edge(pieces, BASELINE_SHARE)),
        polygon=(*_edge(pieces, 0.0), *reversed(_edge(pieces, 1.0))),
        heights=(height * BASELINE_SHARE, height * (1 - BASELINE_SHARE)),
        text=" ".join(piece.text for piece in pieces),
        confidence=min(1.0, max(0.0, confidence)),
        words=tuple(_word(piece, span) for piece in pieces for span in piece.spans) if known else (),
    )


def _edge(pieces: Sequence[Piece], down: float) -> list[Point]:
    points = [pieces[0].point(0.0, down), pieces[0].point(1.0, down)]
    for piece in pieces[1:]:
        # Boxes overlap a little; the edge never runs back.
        points += [point for point in (piece.point(0.0, down), piece.point(1.0, down)) if point[0] > points[-1][0]]
    return points


def _word(piece: Piece, span: Span) -> Word:
    corners = ((span.start, 0.0), (span.end, 0.0), (span.end, 1.0), (span.start, 1.0))
    return Word(
        text=span.text, polygon=tuple(piece.point(along, down) for along, down in corners), confidence=span.confidence
    )
