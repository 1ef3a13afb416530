"""The recognisers of a stage: the one of [OCR], and those of [READER_2] to [READER_4] that read some lines again.

pero-ocr knows one recogniser. A further one reads the lines that are unsure so far (UNSURE), or every line if its
section does not set a limit; of two readings the surer one is taken.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from configparser import SectionProxy
from dataclasses import dataclass, replace
from difflib import SequenceMatcher
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csc_matrix

from pero_worker.engines.pero.batches import MARGIN, Crop, ReadingDesk
from pero_worker.engines.pero.calibration import Calibration
from pero_worker.engines.pero.words import PIXELS_PER_FRAME, Frames

SECTIONS = tuple(f"READER_{number}" for number in range(2, 5))
JSON, ENGINE, UNSURE, CONFIDENCE = "OCR_JSON", "ENGINE", "UNSURE", "CONFIDENCE"
_IMPROBABLE = 1e-4
"""pero-ocr does not keep characters of a frame that are less probable than this."""
PPOCR = "rapidocr"
"""The only other engine whose recogniser can be used."""
_FOREIGN = 0.003
"""A reader is not used on a page if more than this share of the letters read so far are unknown to it: it would read
others there, and be sure of them."""
_LEGIBLE = 0.7
"""Letters of lines less sure than this do not count there: in a hand that earlier readers cannot read, any letter may
occur."""
_DISSENT = 0.1
"""Share of its confidence that a reading loses if another reader sees something else altogether."""


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Reading:
    """What a `reader` made of a line: `text` with its `confidence`, `frames` and raw `logits`, and `span`, the first
    frame of the crop and the one after its last."""

    text: str
    frames: Frames
    logits: Any
    span: tuple[int, int]
    width: int
    """Width of the crop that it saw, in pixels."""
    reader: LineReader
    confidence: float


class LineReader:
    """A recogniser of pero-ocr, what its probabilities are worth, and when it is used."""

    def __init__(
        self,
        recogniser: Any,
        calibration: Calibration,
        unsure: float | None = None,
        *,
        desk: ReadingDesk | None = None,
    ) -> None:
        """`unsure`: only lines that earlier readers were less sure of are read again; None: all. `desk`: where its
        batches are read; None: it makes batches by itself, as transformers do."""
        self.recogniser, self.calibration, self.unsure, self._desk = recogniser, calibration, unsure, desk
        self._alone = threading.Lock()

    @property
    def height(self) -> int:
        """Height of the lines that it reads, in pixels."""
        return int(self.recogniser.line_px_height)

    @property
    def characters(self) -> Sequence[str]:
        return self.recogniser.characters  # type: ignore[no-any-return]

    def knows(self, letters: str) -> bool:
        """Whether it can read all but a few of a page's letters."""
        known = frozenset("".join(self.characters))
        return sum(letter not in known for letter in letters) <= _FOREIGN * len(letters)

    def read(self, crops: Sequence[Crop]) -> list[Reading]:
        """Reads crops of any one height. Several threads may call it at a time."""
        fitting = [_of_height(crop, self.height) for crop in crops]
        readings = []
        for crop, (text, logits, span) in zip(fitting, self._lines(fitting), strict=True):
            frames = Frames.of(logits)
            readings.append(
                Reading(
                    text=text,
                    frames=frames,
                    logits=logits,
                    span=span,
                    width=crop.shape[1],
                    reader=self,
                    confidence=self.calibration(frames.letters()),
                )
            )
        return readings

    def _lines(self, crops: Sequence[Crop]) -> Iterator[tuple[str, Any, tuple[int, int]]]:
        if not crops:
            return
        if self._desk is None:
            with self._alone:
                found = self.recogniser.process_lines(crops)
            yield from zip(*found, strict=True)
            return
        for crop, (text, logits) in zip(crops, self._desk.read(crops), strict=True):
            span = MARGIN // PIXELS_PER_FRAME, (MARGIN + crop.shape[1]) // PIXELS_PER_FRAME
            yield text, _sparse(logits), span


def _sparse(logits: NDArray[np.float32]) -> csc_matrix:
    """Returns logits as pero-ocr keeps them, (frames, characters), without what is improbable."""
    scores = np.exp(logits - logits.max(axis=1, keepdims=True))
    logits[scores / scores.sum(axis=1, keepdims=True) < _IMPROBABLE] = 0
    return csc_matrix(logits)


def _of_height(crop: Crop, height: int) -> Crop:
    if crop.shape[0] == height:
        return crop
    width = max(1, round(crop.shape[1] * height / crop.shape[0]))
    smaller = height < crop.shape[0]
    how = cv2.INTER_AREA if smaller else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(crop, (width, height), interpolation=how), np.uint8)


def read(readers: Sequence[LineReader], crops: Sequence[Crop]) -> list[Reading]:
    """Returns the surest reading of every line of a page."""
    first, *others = readers
    readings = first.read(crops)
    for reader in others:
        if not reader.knows(_letters(readings)):
            continue
        limit = reader.unsure
        places = [place for place, own in enumerate(readings) if limit is None or own.confidence < limit]
        for place, other in zip(places, reader.read([crops[place] for place in places]), strict=True):
            readings[place] = _surer(readings[place], other)
    return readings


def _letters(readings: Sequence[Reading]) -> str:
    legible = (reading.text for reading in readings if reading.confidence >= _LEGIBLE)
    return "".join(letter for text in legible for letter in text if letter.isalpha())


def _surer(one: Reading, other: Reading) -> Reading:
    """Returns the surer reading; the more the two differ, the less likely it is to be right."""
    chosen = other if other.confidence > one.confidence else one
    alike = SequenceMatcher(None, one.text, other.text, autojunk=False).ratio()
    return replace(chosen, confidence=chosen.confidence * (1 - _DISSENT * (1 - alike)))


def calibration_of(section: SectionProxy) -> Calibration:
    """Reads CONFIDENCE. Raises `ValueError` if `Calibration.of` cannot parse it."""
    text = section.get(CONFIDENCE, raw=True, fallback="")
    return Calibration.of(text) if text.strip() else Calibration()


def unsure_of(section: SectionProxy) -> float | None:
    """Reads UNSURE. Raises `ValueError` if it is not a number."""
    return section.getfloat(UNSURE, fallback=None, raw=True)


def description_of(section: SectionProxy, directory: Path) -> Path:
    return directory / section[JSON]
