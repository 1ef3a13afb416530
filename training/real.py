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
_BESIDE = 4
"""Columns of paper put beside a crop before it is moved."""


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
                return changed(self.rng, crop), line.text

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


def changed(rng: np.random.Generator, crop: ink.Image) -> ink.Image:
    """The crop as another scan and layout would give it: other heights, slope, slant, margins, ink and contrast."""
    beside = np.percentile(crop.reshape(-1, 3), 75, axis=0).astype(np.uint8)  # a letter at the edge makes no streak
    crop = cv2.copyMakeBorder(crop, 0, 0, _BESIDE, _BESIDE, cv2.BORDER_CONSTANT, value=tuple(map(int, beside)))
    height, width = crop.shape[:2]
    zoom = rng.uniform(0.86, 1.16) if rng.random() < 0.7 else 1.0
    stretch = zoom * (rng.uniform(0.93, 1.08) if rng.random() < 0.5 else 1.0)
    left, right = (int(rng.integers(0, 14)) if rng.random() < 0.7 else int(rng.integers(0, 70)) for _ in range(2))
    slant = rng.normal(0, 0.06) if rng.random() < 0.4 else 0.0
    slope = rng.normal(0, 1.0) / max(120, width)
    shift = rng.normal(0, 1.2)
    left -= int(_BESIDE * stretch)
    wide = max(16, int((width - _BESIDE) * stretch) + left + right)
    # (x, y) of the new crop from those of the old one, round its middle row.
    matrix = np.array(
        [
            [stretch, stretch * slant, left - stretch * slant * height / 2],
            [zoom * slope, zoom, height / 2 - zoom * height / 2 + shift - zoom * slope * width / 2],
        ],
        np.float32,
    )
    out = cv2.warpAffine(crop, matrix, (wide, height), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    draw = rng.random()
    if draw < 0.08:
        out = cv2.erode(out, np.ones((2, 2) if rng.random() < 0.3 else (1, 2), np.uint8))  # dark grows
    elif draw < 0.16:
        out = cv2.addWeighted(out, 0.5, cv2.dilate(out, np.ones((2, 2), np.uint8)), 0.5, 0)
    elif draw < 0.26:
        out = cv2.GaussianBlur(out, (0, 0), rng.uniform(0.4, 1.0))
    if rng.random() < 0.5:
        gain, offset = rng.uniform(0.65, 1.3), rng.uniform(-25, 25)
        out = np.clip((out.astype(np.float32) - 160) * gain + 160 + offset, 0, 255).astype(np.uint8)
    if rng.random() < 0.2:
        noise = rng.standard_normal(out.shape[:2]).astype(np.float32)[:, :, None] * rng.uniform(2, 12)
        out = np.clip(out + noise, 0, 255).astype(np.uint8)
    if rng.random() < 0.35:
        out = ink.scanned(rng, np.ascontiguousarray(out))
    return np.asarray(out, np.uint8)
