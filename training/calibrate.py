"""What a recogniser's probabilities are worth on real lines that it did not learn from: points for `CONFIDENCE`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rapidfuzz.distance import Levenshtein

from pero_worker.training.alphabet import Alphabet
from pero_worker.training.batches import padded
from pero_worker.training.network import input_of
from training.real import RealLines, find

_EDGES = (0.0, 0.4, 0.55, 0.65, 0.72, 0.78, 0.83, 0.87, 0.9, 0.93, 0.955, 0.975, 0.987, 0.994, 0.998, 1.0)
_LEAST = 250
"""Letters that a point stands on at least."""
_APART = 0.0005


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
    """Mean probability and share of right letters of lines of like probability, rising in both."""
    groups: list[list[Judged]] = [[]]
    for low, high in zip(_EDGES, (*_EDGES[1:-1], 1.1), strict=False):
        groups[-1] += [line for line in judged if low <= line.given < high]
        if sum(line.letters for line in groups[-1]) >= _LEAST:
            groups.append([])
    if len(groups) > 1:
        groups[-2] += groups.pop()
    found: list[tuple[float, float, int]] = []
    for group in groups:
        letters = sum(line.letters for line in group)
        given = sum(line.given * line.letters for line in group) / letters
        right = max(0.0, 1 - sum(line.wrong for line in group) / letters)
        found.append((given, right, letters))
        # Neighbours that fall, or are too near, are one.
        while len(found) > 1 and (found[-1][1] < found[-2][1] or found[-1][0] - found[-2][0] < _APART):
            (a, b, n), (c, d, m) = found[-2:]
            found[-2:] = [((a * n + c * m) / (n + m), (b * n + d * m) / (n + m), n + m)]
    inner = [(round(given, 4), round(right, 4)) for given, right, _ in found if _APART < given < 1 - _APART]
    return [(0.0, 0.0), *inner, (1.0, round(found[-1][1], 4))]


def written(found: Sequence[tuple[float, float]]) -> str:
    return " ".join(f"{given:g}:{right:g}" for given, right in found)
