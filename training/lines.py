"""Drawn lines of text, cropped as pero-ocr crops them: from `ascender` above to `descender` below the baseline."""

from __future__ import annotations

import math
import re

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image as Pillow
from PIL import ImageDraw
from PIL.ImageFont import FreeTypeFont

from pero_worker.training import variety
from training import fonts, ink
from training.fonts import BLACKLETTER, TYPEWRITER, Face
from training.sources import Sources

cv2.setNumThreads(0)
_MARKS = re.compile(r"(?<=\w)(?=[,;:!?.“”»«])")
_UMLAUTS = str.maketrans("äöü", "aou")
_SMALL_E = str.maketrans({"ä": "a\u0364", "ö": "o\u0364", "ü": "u\u0364"})
_MARGIN = 4.0


class LineMaker:
    """Draws lines without end; `clean` ones are black on white and straight, a share of `blank` has no text at all."""

    def __init__(
        self,
        sources: Sources,
        height: int,
        seed: int,
        *,
        shortest: int = 1,
        longest: int = 60,
        clean: bool = False,
        blank: float = 0.0,
    ) -> None:
        self.sources, self.height, self.clean = sources, height, clean
        self.shortest, self.longest, self.blank = shortest, longest, blank
        self.rng = np.random.default_rng(seed)

    def __call__(self) -> tuple[NDArray[np.uint8], str]:
        """A crop (height, width, 3) and its text."""
        rng, setting = self.rng, self.sources.setting(self.shortest, self.longest)
        face, text = setting.face, setting.text
        if rng.random() < self.blank:
            return self._no_text(face), ""
        # Where the crop begins and ends, in font sizes: real layouts give heights around these.
        usual = rng.random() < 0.85
        above = face.ascender * (rng.uniform(1.0, 1.35) if usual else rng.uniform(0.92, 1.6))
        below = face.descender * (rng.uniform(0.95, 1.7) if usual else rng.uniform(0.7, 2.2))
        finer = rng.uniform(0.85, 1.7)  # the resolution of the page against that of the crop
        size = max(12, round(self.height * finer / (above + below)))
        up, down = math.ceil(above * size) + 6, math.ceil(below * size) + 6
        inked, start, end, text = self._strike(face, text, size, up, up + down)
        if not self.clean:
            inked = ink.pressed(rng, inked, clogged=0.35 if face.kind == TYPEWRITER else 0.14)
        left = max(0, start - int(self._margin(0.05, 0.5) * size))
        right = min(inked.shape[1], end + int(self._margin(0.02, 0.6) * size))
        if self.clean:
            page = np.repeat((255 - inked * 235)[:, :, None], 3, 2).astype(np.uint8)
        else:
            page = ink.on_paper(rng, inked, behind=self._other_side(face, size, inked.shape))
        crop = self._crop(page, (left, right), up, (above * size, below * size), size)
        return (crop if self.clean else variety.scanned(rng, crop)), text

    def _margin(self, lost: float, usual: float) -> float:
        """Paper beside the text in font sizes; at times far too much of it, for baselines overshoot."""
        return float(self.rng.uniform(usual, _MARGIN) if self.rng.random() < 0.12 else self.rng.uniform(-lost, usual))

    def _no_text(self, face: Face) -> ink.Image:
        """What layout takes for a line at times: bare paper, ends of the neighbours' letters, a rule, a blot."""
        rng = self.rng
        size = int(self.height * rng.uniform(0.5, 1.2))
        width = int(self.height * rng.uniform(0.6, 5 if rng.random() < 0.8 else 15))
        sheet = Pillow.new("L", (width + size, self.height), 0)
        pen = ImageDraw.Draw(sheet)
        font = fonts.load(self.sources.path(face), max(12, size))
        if rng.random() < 0.6:  # their feet above, their heads below
            for y in (-rng.uniform(-0.3, 0.2) * size, self.height + rng.uniform(0.72, 1.3) * face.ascender * size):
                if rng.random() < 0.7:
                    text = self.sources.text(face, 3, 30)
                    pen.text((int(rng.integers(-size, size)), y), text, fill=255, font=font, anchor="ls")
        kind = rng.random()
        if kind < 0.15:
            y = rng.uniform(0.1, 0.9) * self.height
            pen.line([(0, y), (width, y + rng.normal(0, 2))], fill=255, width=int(rng.integers(1, 5)))
        elif kind < 0.35:
            for _ in range(int(rng.integers(1, 4))):
                x, y, r = rng.uniform(0, width), rng.uniform(0, self.height), rng.uniform(1, 6)
                pen.ellipse([x - r, y - r * rng.uniform(0.5, 1), x + r, y + r], fill=int(rng.integers(90, 255)))
        inked = ink.covered(sheet)[:, :width]
        behind = self._other_side(face, max(12, size), inked.shape)
        return variety.scanned(rng, ink.on_paper(rng, ink.pressed(rng, inked), 1.5, behind))

    def _strike(self, face: Face, text: str, size: int, up: int, height: int) -> tuple[ink.Ink, int, int, str]:
        """Ink of the line and of pieces of its neighbours, where the text begins and ends, and as what it is read."""
        rng = self.rng
        font = fonts.load(self.sources.path(face), size)
        spaced = 0.0
        draw = rng.random()
        if face.kind != TYPEWRITER and draw < 0.1:
            spaced = rng.uniform(0.08, 0.35 if draw < 0.06 else 0.65) * size  # emphasis by spacing, titles
        elif draw < 0.25:
            spaced = rng.normal(0, 0.03) * size
        loose = rng.uniform(0.08, 0.35) * size if face.kind != TYPEWRITER and rng.random() < 0.2 else 0.0
        small_e = not loose and face.kind != TYPEWRITER and rng.random() < 0.18 and any(c in "äöü" for c in text)
        drawn = text.translate(_UMLAUTS) if small_e else text
        if face.kind == BLACKLETTER and rng.random() < 0.5:  # most have one letter for both
            drawn = drawn.replace(*("IJ" if rng.random() < 0.5 else "JI"))
        start = int(_MARGIN * size) + 1
        marks = len(_MARKS.split(text))
        width = int(font.getlength(text) + max(0.0, spaced) * (len(text) + text.count(" ")) + loose * marks) + 2 * start
        sheet = Pillow.new("L", (width, height), 0)
        pen = ImageDraw.Draw(sheet)
        struck = face.kind == TYPEWRITER and not self.clean and rng.random() < 0.8
        if struck or spaced:
            end = self._letter_by_letter(pen, drawn, font, (start, up), spaced, struck)
        else:
            end = self._set(pen, face, drawn, font, (start, up), loose)
        if small_e and not spaced:
            tiny = fonts.load(self.sources.path(face), max(6, int(size * rng.uniform(0.45, 0.58))))
            for place, character in enumerate(text):
                if character in "äöü":
                    x = start + font.getlength(drawn[:place]) + font.getlength(drawn[place]) / 2
                    y = up - size * face.ascender * rng.uniform(0.66, 0.76)
                    pen.text((x, y), "e", fill=255, font=tiny, anchor="ms")
        if not self.clean and rng.random() < 0.4:
            self._neighbours(pen, face, font, (start, up), len(text))
        if not self.clean and rng.random() < 0.04:  # an underline
            y = up + int(size * rng.uniform(0.1, 0.25))
            pen.line([(start, y), (end, y)], fill=int(rng.integers(120, 255)), width=max(1, size // 14))
        read = text.translate(_SMALL_E) if small_e and not spaced else text
        return ink.covered(sheet), start, int(end), read

    def _set(
        self, pen: ImageDraw.ImageDraw, face: Face, text: str, font: FreeTypeFont, at: tuple[int, int], loose: float
    ) -> float:
        """Set with ligatures; a `loose` space before marks, as old prints have, is no character of the text."""
        features = ["dlig", "hlig"] if face.kind != TYPEWRITER and self.rng.random() < 0.3 else None
        x, y = float(at[0]), at[1]
        for part in _MARKS.split(text) if loose else [text]:
            x += loose * (x > at[0])
            pen.text((x, y), part, fill=255, font=font, anchor="ls", features=features)
            x += font.getlength(part, features=features)
        return x

    def _letter_by_letter(
        self, pen: ImageDraw.ImageDraw, text: str, font: FreeTypeFont, at: tuple[int, int], spaced: float, struck: bool
    ) -> float:
        """Typed, each letter with its own force, height and tilt of the type bar, or merely spaced."""
        rng, (x, y), size = self.rng, at, font.size
        shake = rng.uniform(0, 0.035) * size if struck else 0.0
        weak = rng.uniform(0, 0.6) if struck else 0.0
        place = float(x)
        habits: dict[str, tuple[float, float]] = {}
        for character in text:
            if character not in habits:  # a bent type bar is always wrong in the same way
                habits[character] = rng.normal(0, shake), rng.normal(0, shake / 2)
            rise, shift = habits[character]
            force = int(255 * (1 - weak * rng.random()))
            spot = place + shift, y + rise + rng.normal(0, shake / 3)
            pen.text(spot, character, fill=force, font=font, anchor="ls")
            place += font.getlength(character) + spaced * (2 if character == " " else 1)
        return place - spaced

    def _neighbours(
        self, pen: ImageDraw.ImageDraw, face: Face, font: FreeTypeFont, at: tuple[int, int], length: int
    ) -> None:
        (start, up), size = at, int(font.size)
        gap = self.rng.uniform(0.95, 1.5) * (face.ascender + face.descender) * size
        for step in (-gap, gap):
            if self.rng.random() < 0.8:
                other = self.sources.text(face, 3, max(4, length))
                pen.text((int(self.rng.integers(-size, start)), up + step), other, fill=255, font=font, anchor="ls")

    def _other_side(self, face: Face, size: int, shape: tuple[int, int]) -> ink.Ink | None:
        if self.rng.random() > 0.12:
            return None
        sheet = Pillow.new("L", (shape[1], shape[0]), 0)
        y = int(self.rng.uniform(0.2, 1.2) * shape[0])
        font = fonts.load(self.sources.path(face), size)
        ImageDraw.Draw(sheet).text((0, y), self.sources.text(face, 20, 60), fill=255, font=font, anchor="ls")
        mirrored = ink.covered(sheet)[:, ::-1]
        return np.asarray(cv2.GaussianBlur(np.ascontiguousarray(mirrored), (0, 0), self.rng.uniform(1, 3)), np.float32)

    def _crop(
        self, page: ink.Image, between: tuple[int, int], baseline: int, heights: tuple[float, float], size: int
    ) -> ink.Image:
        """The rows of `heights` round a baseline that wanders a little, `self.height` high."""
        rng, tidy = self.rng, self.clean
        scale = self.height / sum(heights)
        stretch = scale * (rng.uniform(0.9, 1.12) if rng.random() < 0.6 else 1.0)
        width = max(8, int((between[1] - between[0]) * stretch))
        along = np.linspace(-1, 1, width, dtype=np.float32)
        skew, wave = (0.0, 0.0) if tidy else (rng.normal(0, 0.006) * size, rng.normal(0, 0.018) * size)
        middle = baseline + skew * along * min(3, width / 200)
        middle = middle + wave * np.sin(along * rng.uniform(1, 5) + rng.uniform(0, 6))
        rows = middle[None] + np.linspace(-heights[0], heights[1], self.height, dtype=np.float32)[:, None]
        slant = 0.0 if tidy or rng.random() > 0.4 else rng.normal(0, 0.07)
        columns = between[0] + np.arange(width, dtype=np.float32)[None] / stretch + slant * (rows - middle[None])
        if scale < 0.8:
            page = cv2.GaussianBlur(page, (0, 0), 0.45 / scale)
        grid = columns.astype(np.float32), rows.astype(np.float32)
        return np.asarray(cv2.remap(page, *grid, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE), np.uint8)
