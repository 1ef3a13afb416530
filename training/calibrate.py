"""What a recogniser's probabilities are worth on real lines that it did not learn from: points for `CONFIDENCE`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rapidfuzz.distance import Levenshtein
from scipy.optimize import minimize

from pero_worker.training.alphabet import Alphabet
from pero_worker.training.batches import padded
from pero_worker.training.network import input_of
from training.real import RealLines, find

_PLACES = (0.3, 0.5, 0.6, 0.7, 0.8, 0.85, 0.9, 0.93, 0.95, 0.96, 0.97, 0.98, 0.985, 0.99, 0.994, 0.997, 0.999, 1.0)
_LEAST = 1e-4
_STARTS = ((-5.0, 0.0, 0.0), (-4.0, 0.5, 0.3), (-6.0, -0.3, -0.3))
"""Logarithms of a, b and c."""


@dataclass(frozen=True, slots=True)
class Judged:
    """A line: the mean probability of its letters, how many there are in truth, and how many edits it takes."""

    given: float
    letters: int
    wrong: int


@torch.inference_mode()
def judge(net: Any, alphabet: Alphabet, height: int, folder: Path) -> list[Judged]:
    """Reads all lines of the split `dev`."""
    reader = RealLines(folder, height, 0)
    judged: list[Judged] = []
    for crops in find(folder, "dev").values():
        for crop in crops:
            pixels = input_of(torch.from_numpy(padded([reader.read(crop)])))
            with torch.autocast("cpu", torch.bfloat16):
                logits = net(pixels)
            chances, best = (part[0].numpy() for part in logits.float().softmax(1).max(1))
            judged.append(
                Judged(
                    _letters(chances, best, alphabet.blank),
                    len(crop.text),
                    Levenshtein.distance(crop.text, alphabet.text(best)),
                )
            )
    return judged


def _letters(chances: Any, best: Any, blank: int) -> float:
    starts = np.flatnonzero(np.concatenate([[True], best[1:] != best[:-1]]))
    spoken = np.maximum.reduceat(chances, starts)[best[starts] != blank]
    return float(spoken.mean()) if len(spoken) else float(chances.min())


def points(judged: Sequence[Judged]) -> list[tuple[float, float]]:
    """Mean probability of letters, and how many of them are right: points of the likeliest curve of this form.

    Errors are a + b * (1 - probability) ** c, all positive, so that whoever is surer stays surer: the mean of bins has
    steps, most of all where nearly all letters are right and misprints of the truth count for as much as the reader's.
    """
    given = np.array([line.given for line in judged])
    letters = np.array([max(1, line.letters) for line in judged])
    wrong = np.minimum([line.wrong for line in judged], letters)

    def errors(form: Sequence[float], at: Any) -> Any:
        a, b, c = np.exp(form)
        return np.clip(a + b * (1 - at + _LEAST) ** c, _LEAST, 1 - _LEAST)

    def unlikely(form: Sequence[float]) -> float:
        share = errors(form, given)
        return -float((wrong * np.log(share) + (letters - wrong) * np.log(1 - share)).sum())

    found = min((minimize(unlikely, start, method="Nelder-Mead") for start in _STARTS), key=lambda result: result.fun)
    return [(0.0, 0.0), *((at, round(1 - float(errors(found.x, at)), 4)) for at in _PLACES)]


def written(found: Sequence[tuple[float, float]]) -> str:
    return " ".join(f"{given:g}:{right:g}" for given, right in found)
