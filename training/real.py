"""Real lines with their texts: archives of crops with a table lines.tsv; training/README.md says what is in it."""

from __future__ import annotations

import csv
import io
import random
import unicodedata
import zipfile
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from pero_worker.training.variety import varied
from training import ink
from training.alphabet import INDEX

HANDWRITING = "handwriting"
_LEFT_OUT = frozenset({"ocr17", "gothique16"})
"""Archives that are not learnt from: one may be passed on under its licence only, one is not spelt as it is printed."""
_SAME = str.maketrans({"―": "—", "‐": "-", "✝": "†", "⁋": "¶", "ʼ": "’", "ĳ": "ij", "⸳": "·"})
_EVEN = 0.6
"""A source of twice as many lines is drawn 2 ** _EVEN times as often."""
_WIDEST = 37
"""Times its height."""


@dataclass(frozen=True, slots=True)
class Crop:
    """Where a line is: `name` in `archive`, and what is known about it."""

    archive: Path
    name: str
    text: str
    kind: str


def find(folder: Path, split: str, kinds: Iterable[str] = ()) -> dict[str, list[Crop]]:
    """The lines of a split by source and class, those with a character beyond the alphabet left out."""
    found: dict[str, list[Crop]] = defaultdict(list)
    for archive in sorted(folder.glob("lines_*.zip")):
        source = archive.stem.removeprefix("lines_")
        if source in _LEFT_OUT:
            continue
        with zipfile.ZipFile(archive) as opened:
            table = opened.read("lines.tsv").decode()
        for row in csv.DictReader(io.StringIO(table), delimiter="\t", quoting=csv.QUOTE_NONE):
            kind = row["class"]
            text = plain(row["text"])
            if row["split"] == split and kind != HANDWRITING and all(character in INDEX for character in text):
                found[f"{source} {kind}"].append(Crop(archive, row["file"], text, kind))
    return found


def plain(text: str) -> str:
    """The text as the net is to spell it."""
    return unicodedata.normalize("NFC", text.translate(_SAME)).strip()


class RealLines:
    """Draws lines without end: a crop (height, width, 3), a little other than it is each time, and its text."""

    def __init__(self, folder: Path, height: int, seed: int) -> None:
        self.height = height
        self.sources = list(find(folder, "train").values())
        self.weights = [len(lines) ** _EVEN for lines in self.sources]
        self.random = random.Random(seed)  # noqa: S311 - no secrets here
        self.rng = np.random.default_rng(seed)
        self._opened: dict[Path, zipfile.ZipFile] = {}

    def __call__(self) -> tuple[ink.Image, str]:
        while True:
            line = self.random.choice(self.random.choices(self.sources, self.weights)[0])
            crop = self.read(line)
            if crop.shape[1] <= _WIDEST * self.height:
                return varied(self.rng, crop), line.text

    def read(self, line: Crop) -> ink.Image:
        opened = self._opened.get(line.archive)
        if opened is None:
            opened = self._opened[line.archive] = zipfile.ZipFile(line.archive)
        pixels = np.frombuffer(opened.read(line.name), np.uint8)
        crop = np.asarray(cv2.imdecode(pixels, cv2.IMREAD_COLOR), np.uint8)
        if crop.shape[0] != self.height:
            width = max(8, round(crop.shape[1] * self.height / crop.shape[0]))
            crop = np.asarray(cv2.resize(crop, (width, self.height), interpolation=cv2.INTER_AREA), np.uint8)
        return crop
