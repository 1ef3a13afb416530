"""Word boxes from a CTC network's output: which frames each character took, mapped back to the page."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pero_worker.engines.pero.ink import Ink, snapped
from pero_worker.page import Polygon, Word

Array = NDArray[Any]

PIXELS_PER_FRAME = 4
"""Width of a network frame in pixels of the line's crop (pero-ocr fixes it)."""
_ABSENT = -80.0
_REACH = 0.6
"""How far a glyph reaches from its middle, in advances: half of one, and a little for wide letters at a word's ends."""


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Frames:
    """A line's network output."""

    sparse: Any
    """pero-ocr's sparse matrix (frames, characters) of logits; what is not stored is improbable."""
    best: Array
    """The likeliest character of each frame: shape (frames)."""
    probability: Array
    """How likely that character is: shape (frames)."""

    @classmethod
    def of(cls, sparse: Any) -> Frames:
        logits = _dense(sparse)
        best = logits.argmax(axis=1)
        peak = logits[np.arange(len(best)), best]
        probability = 1 / np.exp(logits - peak[:, np.newaxis]).sum(axis=1)
        return cls(sparse=sparse, best=best, probability=probability)

    @property
    def blank(self) -> int:
        """The column of the blank: the last character."""
        return int(self.sparse.shape[1]) - 1

    def logits(self) -> Array:
        """Returns the dense matrix (frames, characters)."""
        return _dense(self.sparse)

    def runs(self) -> tuple[Array, Array]:
        """Returns the first frame of each run of equal characters, and the frame after it."""
        if not len(self.best):
            return np.zeros(0, int), np.zeros(0, int)
        borders = np.flatnonzero(np.diff(self.best)) + 1
        return np.concatenate(([0], borders)), np.concatenate((borders, [len(self.best)]))

    def least_sure(self) -> float:
        """Returns pero-ocr's confidence of a line: that of the least sure run, each as sure as its surest frame."""
        starts, _ = self.runs()
        if not len(starts):
            return 1.0
        return float(np.maximum.reduceat(self.probability, starts).min())

    def letters(self) -> float:
        """Returns how likely the letters are on average, each as its surest frame; for a line without letters, how
        likely it is to have none."""
        starts, _ = self.runs()
        if not len(starts):
            return 1.0
        sure = np.maximum.reduceat(self.probability, starts)
        spoken = sure[self.best[starts] != self.blank]
        return float(spoken.mean()) if len(spoken) else float(self.probability.min())


def _dense(sparse: Any) -> Array:
    logits: Array = sparse.toarray()
    logits[logits == 0] = _ABSENT
    return logits


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Rails:
    """The upper (`top`) and lower (`bottom`) edge of a line, both (n, 2) in pixels of the page, sampled evenly from
    left to right."""

    top: Array
    bottom: Array

    def boxes(self, shares: Array, width: int, height: int) -> list[Polygon]:
        """Returns the quadrilaterals between two shares (0..1) of the length each, (n, 2), clipped to a page of
        `width` x `height`."""
        places = np.clip(shares, 0, 1) * (len(self.top) - 1)
        whole = np.arange(len(self.top))
        upper, lower = (
            np.stack([np.interp(places, whole, edge[:, axis]) for axis in (0, 1)], axis=2)
            for edge in (self.top, self.bottom)
        )
        corners = np.clip(np.concatenate([upper, lower[:, ::-1]], axis=1), 0, (width, height))
        return [tuple((x, y) for x, y in piece) for piece in corners.tolist()]


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class _Spelling:
    """Where the text's characters are: the `start` and `end` frame and the `probability` of each."""

    start: Array
    end: Array
    probability: Array | None


def words_of(
    text: str,
    frames: Frames,
    characters: Sequence[str],
    span: tuple[int, int],
    rails: Rails,
    size: tuple[int, int],
    crop_width: int | None = None,
    calibration: Callable[[float], float] = float,
    ink: Ink | None = None,
) -> tuple[Word, ...]:
    """Returns the words of `text` (split at white space) with their boxes and confidences.

    `span` is where the crop begins and ends in frames, `crop_width` its exact width in pixels, `size` the
    page's width and height; `calibration` turns the mean probability of letters into a confidence; boxes reach as far
    as the `ink` of the crop, if it is given.
    """
    places = [match.span() for match in re.finditer(r"\S+", text)]
    if not places:
        return ()
    spelling = _path(text, frames, characters) or _aligned(text, frames, characters) or _even(text, span)
    centre = (spelling.start + spelling.end) / 2
    advance = _advance(centre, places)
    # A network may recognise the last letter of a line only after seeing all of it and beyond; its ink is before that.
    centre = np.clip(centre, span[0] + advance / 2, max(span[0] + advance / 2, span[1] - advance / 2))
    reach = _REACH * advance
    length = (crop_width or (span[1] - span[0]) * PIXELS_PER_FRAME) / PIXELS_PER_FRAME
    edges = np.array([_edges(spelling, centre, first, last, reach) for first, last in places])
    shares = (edges - span[0]) / length
    if ink is not None:
        columns = len(ink.columns)
        middles = [tuple((centre[[first, last - 1]] - span[0]) / length * columns) for first, last in places]
        shares = snapped(shares * columns, middles, advance / length * columns, ink) / columns
    words = []
    for (first, last), box in zip(places, rails.boxes(shares, *size), strict=True):
        sure = None if spelling.probability is None else calibration(float(spelling.probability[first:last].mean()))
        words.append(Word(text=text[first:last], polygon=box, confidence=sure))
    return tuple(words)


def _edges(spelling: _Spelling, centre: Array, first: int, last: int, reach: float) -> tuple[float, float]:
    """Returns where a word begins and ends, in frames: as far as its outer letters reach, but no farther than halfway
    to their neighbours."""
    left = min(spelling.start[first], centre[first] - reach)
    right = max(spelling.end[last - 1], centre[last - 1] + reach)
    if first > 0:
        left = max(left, (centre[first - 1] + centre[first]) / 2)
    if last < len(centre):
        right = min(right, (centre[last - 1] + centre[last]) / 2)
    return left, right


def _advance(centre: Array, places: list[tuple[int, int]]) -> float:
    """Returns the usual distance between two characters of a word, in frames."""
    steps = [np.diff(centre[first:last]) for first, last in places if last - first > 1]
    return float(np.median(np.concatenate(steps))) if steps else 4.0


def _path(text: str, frames: Frames, characters: Sequence[str]) -> _Spelling | None:
    """Follows the greedy path; None if it does not spell the text."""
    starts, ends = frames.runs()
    labels = frames.best[starts]
    spoken = np.flatnonzero(labels != frames.blank)
    pieces = [characters[label] for label in labels[spoken]]
    if "".join(pieces) != text:
        return None
    owner = np.repeat(spoken, [len(piece) for piece in pieces])
    probability = np.maximum.reduceat(frames.probability, starts) if len(starts) else np.zeros(0)
    return _Spelling(start=starts[owner], end=ends[owner], probability=probability[owner])


def _aligned(text: str, frames: Frames, characters: Sequence[str]) -> _Spelling | None:
    """Follows the likeliest CTC path that spells the text (Viterbi); None if the network cannot spell it."""
    number = {character: label for label, character in enumerate(characters[: frames.blank])}
    if not all(character in number for character in text):
        return None
    states = np.full(2 * len(text) + 1, frames.blank)
    states[1::2] = [number[character] for character in text]
    logits = frames.logits()
    logits = logits - logits.max(axis=1, keepdims=True)
    scores = (logits - np.log(np.exp(logits).sum(axis=1, keepdims=True)))[:, states]
    jumps = np.zeros(len(states), bool)
    jumps[3::2] = states[3::2] != states[1:-2:2]

    best = np.full(len(states), -np.inf)
    best[0] = 0.0
    steps = np.zeros(scores.shape, np.int8)
    choices = np.full((3, len(states)), -np.inf)
    for frame, score in enumerate(scores):
        choices[0] = best
        choices[1, 1:] = best[:-1]
        choices[2, 2:] = np.where(jumps[2:], best[:-2], -np.inf)
        steps[frame] = choices.argmax(axis=0)
        best = choices.max(axis=0) + score
        if frame == 0:
            best[2:] = -np.inf
    state = len(states) - 1 if best[-1] > best[-2] else len(states) - 2
    if not np.isfinite(best[state]):
        return None
    path = np.empty(len(scores), int)
    for frame in range(len(scores) - 1, -1, -1):
        path[frame] = state
        state -= int(steps[frame, state])
    wanted = 2 * np.arange(len(text)) + 1
    start, end = np.searchsorted(path, wanted), np.searchsorted(path, wanted, side="right")
    probability = [np.exp(scores[a:b, state].max()) for a, b, state in zip(start, end, wanted, strict=True)]
    return _Spelling(start=start, end=end, probability=np.asarray(probability))


def _even(text: str, span: tuple[int, int]) -> _Spelling:
    """Gives all characters the same width."""
    borders = np.linspace(span[0], span[1], len(text) + 1)
    return _Spelling(start=borders[:-1], end=borders[1:], probability=None)
