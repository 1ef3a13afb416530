"""The recognisers of a stage: the one of [OCR], and those of [READER_2] to [READER_4] that read some lines again.

pero-ocr knows one recogniser. A reader is tried for a page of old print (LONG_S), for lines that are unsure so far
(UNSURE), or for every line when its section says neither; in old print its text is taken, else the surer one.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from configparser import ConfigParser, SectionProxy
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from pero_worker.engines.pero.calibration import Calibration
from pero_worker.engines.pero.words import Frames

SECTIONS = tuple(f"READER_{number}" for number in range(2, 5))
JSON, LONG_S, UNSURE, CONFIDENCE = "OCR_JSON", "LONG_S", "UNSURE", "CONFIDENCE"
_SAMPLE = 600
"""Letters that tell whether a page is old print."""
_PER = 1000
_FEW = 4
"""Long s: fewer may be misread f's."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """When a further reader is tried."""

    long_s: float | None = None
    """For the whole page, when there are more long s than this in a thousand letters of it."""
    unsure: float | None = None
    """For a line that the readers before were less sure of."""

    @classmethod
    def of(cls, section: SectionProxy) -> Rule:
        """ValueError: a value is no number."""
        return cls(
            long_s=section.getfloat(LONG_S, fallback=None, raw=True),
            unsure=section.getfloat(UNSURE, fallback=None, raw=True),
        )


@dataclass(frozen=True, slots=True, eq=False)
class Reading:
    """What a reader made of a line: text, frames, and `span`, the first frame of the crop and the one behind it."""

    text: str
    frames: Frames
    logits: Any
    span: tuple[int, int]
    width: int
    """Of the crop it saw, pixels."""
    reader: Reader
    confidence: float


class Reader:
    """A recogniser of pero-ocr, what its probabilities are worth, and when it is asked."""

    def __init__(
        self, recogniser: Any, calibration: Calibration, rule: Rule | None = None, *, ctc: bool = True
    ) -> None:
        self.recogniser, self.calibration, self.rule, self.ctc = recogniser, calibration, rule or Rule(), ctc

    @property
    def characters(self) -> Sequence[str]:
        return self.recogniser.characters  # type: ignore[no-any-return]

    def read(self, crops: Sequence[NDArray[np.uint8]]) -> list[Reading]:
        """Reads crops of any one height, (height, width, 3)."""
        height = self.recogniser.line_px_height
        fitting = [_of_height(crop, height) for crop in crops]
        usual = self.recogniser.max_input_horizontal_pixels
        # A line wider than the usual batch would be cut off: it goes alone, in a batch of its own width.
        long = [place for place, crop in enumerate(fitting) if self.ctc and self._padded(crop) > usual]
        alone = frozenset(long)
        batches = [[place for place in range(len(crops)) if place not in alone], *([place] for place in long)]
        found: dict[int, Reading] = {}
        for batch in filter(None, batches):
            widest = max(self._padded(fitting[place]) for place in batch)
            self.recogniser.max_input_horizontal_pixels = max(usual, widest)
            try:
                results = self.recogniser.process_lines([fitting[place] for place in batch])
            finally:
                self.recogniser.max_input_horizontal_pixels = usual
            for place, text, logits, span in zip(batch, *results, strict=True):
                frames = Frames.of(logits)
                sure = self.calibration(frames.letters())
                found[place] = Reading(text, frames, logits, span, fitting[place].shape[1], self, sure)
        return [found[place] for place in range(len(crops))]

    def _padded(self, crop: NDArray[np.uint8]) -> int:
        """The width of the line's batch in pixels."""
        return int(math.ceil(crop.shape[1] / 32) * 32 + 2 * self.recogniser.line_padding_px)


def _of_height(crop: NDArray[np.uint8], height: int) -> NDArray[np.uint8]:
    if crop.shape[0] == height:
        return crop
    width = max(1, round(crop.shape[1] * height / crop.shape[0]))
    smaller = height < crop.shape[0]
    how = cv2.INTER_AREA if smaller else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(crop, (width, height), interpolation=how), np.uint8)


def read(readers: Sequence[Reader], crops: Sequence[NDArray[np.uint8]]) -> list[Reading]:
    """The best reading of every line of a page."""
    first, *others = readers
    for reader in others:
        if reader.rule.long_s is not None:
            # A few lines tell old print, so that the page need not be read twice.
            places = _sample(crops)
            tried = first.read([crops[place] for place in places])
            if is_old_print([reading.text for reading in tried], reader.rule.long_s):
                return _surest(reader, [other for other in others if other.rule.long_s is None], crops)
            rest = [place for place in range(len(crops)) if place not in set(places)]
            known = dict(zip(places, tried, strict=True))
            known |= zip(rest, first.read([crops[place] for place in rest]), strict=True)
            return _improved([known[place] for place in range(len(crops))], others, crops)
    return _surest(first, others, crops)


def _surest(first: Reader, others: Sequence[Reader], crops: Sequence[NDArray[np.uint8]]) -> list[Reading]:
    return _improved(first.read(crops), others, crops)


def _improved(readings: list[Reading], others: Sequence[Reader], crops: Sequence[NDArray[np.uint8]]) -> list[Reading]:
    for reader in others:
        if reader.rule.long_s is not None:
            continue
        limit = reader.rule.unsure
        places = [place for place, own in enumerate(readings) if limit is None or own.confidence < limit]
        for place, other in zip(places, reader.read([crops[place] for place in places]), strict=True):
            if other.confidence > readings[place].confidence:
                readings[place] = other
    return readings


def _sample(crops: Sequence[NDArray[np.uint8]]) -> list[int]:
    """Lines from all over the page, the long ones of a page of many, that hold some hundred letters."""
    widths = [crop.shape[1] / crop.shape[0] * 2 for crop in crops]  # a letter is about half as wide as its line is high
    chosen, letters = [], 0.0
    usual = float(np.median(widths)) if widths else 0.0
    step = max(1, len(crops) // 12)
    order = [place for offset in range(step) for place in range(offset, len(crops), step)]
    for place in order:
        if letters >= _SAMPLE:
            break
        if widths[place] >= 0.7 * usual:
            chosen.append(place)
            letters += widths[place]
    return sorted(chosen)


def is_old_print(texts: Sequence[str], limit: float) -> bool:
    """Whether long s are more than `limit` of a thousand letters."""
    letters = sum(character.isalpha() for text in texts for character in text)
    long_s = sum(text.count("ſ") for text in texts)
    return long_s >= _FEW and long_s * _PER > limit * letters


def rules(config: ConfigParser) -> dict[str, Rule]:
    """The rules of the sections that there are; ValueError: a value is no number."""
    return {name: Rule.of(config[name]) for name in SECTIONS if config.has_section(name)}


def calibration_of(section: SectionProxy) -> Calibration:
    """ValueError: CONFIDENCE is not as `Calibration.of` wants it."""
    text = section.get(CONFIDENCE, raw=True, fallback="")
    return Calibration.of(text) if text.strip() else Calibration()


def description_of(section: SectionProxy, directory: Path) -> Path:
    return directory / section[JSON]
