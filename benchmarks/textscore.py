"""Character and word error rates of recognized text.

Text is compared in NFC, with white space folded to single spaces. `fold` also maps long s, ligatures, r rotunda, the
combining small e and typographic quotes and dashes to plain characters, to be fair to engines whose alphabet lacks
them. Rates are Levenshtein distances divided by the length of the ground truth.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from dataclasses import dataclass

from rapidfuzz.distance import Levenshtein

_LETTERS = {"ſ": "s", "ꝛ": "r", "ﬀ": "ff", "ﬁ": "fi", "ﬂ": "fl", "ﬃ": "ffi", "ﬄ": "ffl", "ﬅ": "st", "ﬆ": "st"}
_MORE = {"æ": "ae", "œ": "oe", "Ɵ": "O", "…": "...", "•": "", "·": ""}
_PLAIN = str.maketrans(
    _LETTERS | _MORE | dict.fromkeys("⸗–—‐‑−¬", "-") | dict.fromkeys("„“”‟»«", '"') | dict.fromkeys("‘’‚`´", "'")
)


@dataclass(frozen=True)
class Score:
    """Lengths of the ground truth and edit distances, in characters and in words."""

    characters: int = 0
    character_errors: int = 0
    words: int = 0
    word_errors: int = 0

    def __add__(self, other: Score) -> Score:
        return Score(
            self.characters + other.characters,
            self.character_errors + other.character_errors,
            self.words + other.words,
            self.word_errors + other.word_errors,
        )

    @property
    def cer(self) -> float:
        return self.character_errors / max(1, self.characters)

    @property
    def wer(self) -> float:
        return self.word_errors / max(1, self.words)


def score(truth: str, text: str, *, fold: bool = True) -> Score:
    truth, text = normalised(truth, fold=fold), normalised(text, fold=fold)
    right, found = truth.split(), text.split()
    return Score(len(truth), Levenshtein.distance(truth, text), len(right), Levenshtein.distance(right, found))


def bag_errors(truth: str, text: str) -> int:
    """Returns the number of wrong words regardless of order: those missing or those in excess, whichever is more."""
    right, found = (Counter(normalised(side, fold=True).split()) for side in (truth, text))
    return max((right - found).total(), (found - right).total())


def normalised(text: str, *, fold: bool) -> str:
    text = unicodedata.normalize("NFC", text.lstrip("\ufeff"))
    if fold:
        text = unicodedata.normalize("NFC", text.replace("\u0364", "\u0308")).translate(_PLAIN)
        text = text.replace("''", '"').replace(",,", '"')
    return re.sub(r"\s+", " ", text.replace("\u00ad", "-")).strip()
