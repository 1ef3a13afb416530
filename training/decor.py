"""What stands on a page and is no text: pictures, rules, ornaments, stamps, blots, strokes of a pen."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from PIL import Image as Pillow
from PIL import ImageDraw

from training import fonts, ink


class Decor:
    """Draws on `sheet`, white on black; `ornaments` are paths of fonts of printers' flowers and may be none."""

    def __init__(self, rng: np.random.Generator, sheet: Pillow.Image, ornaments: Sequence[str]) -> None:
        self.rng, self.sheet, self.ornaments = rng, sheet, ornaments
        self.pen = ImageDraw.Draw(sheet)

    def rule(self, left: float, right: float, y: float, size: float) -> None:
        """Plain, double, or swelling towards its middle; `size` is the font size of the text beside it."""
        rng, thick = self.rng, 1 + int(size / 14)
        grey = int(rng.integers(120, 256))
        kind = rng.random()
        if kind < 0.15 and right - left > 4 * size:
            swell, middle = size * rng.uniform(0.08, 0.3), (left + right) / 2
            self.pen.polygon([(left, y), (middle, y - swell), (right, y), (middle, y + swell)], fill=grey)
            return
        self.pen.line([(left, y), (right, y)], fill=grey, width=thick)
        if kind < 0.35:
            y += size * rng.uniform(0.12, 0.3)
            self.pen.line([(left, y), (right, y)], fill=grey, width=max(1, int(thick * rng.uniform(0.5, 3))))

    def picture(self, left: float, top: float, width: float, height: float) -> None:
        """Greys without an outline, or hatching as of an engraving."""
        rng, shape = self.rng, (max(2, int(height)), max(8, int(width)))
        grey = ink.clouds(rng, shape, int(rng.integers(2, 30)), 60) + rng.uniform(60, 200)
        if rng.random() < 0.5:
            y, x = np.mgrid[: shape[0], : shape[1]].astype(np.float32)
            bend = ink.clouds(rng, shape, int(rng.integers(10, 60)), rng.uniform(0, 6))
            turn, apart = rng.uniform(0, np.pi), rng.uniform(3, 8)
            waves = np.sin((x * np.cos(turn) + y * np.sin(turn) + bend) * 2 * np.pi / apart)
            grey = np.where(waves > 1 - grey / 128, 230.0, 0.0)
        self.sheet.paste(Pillow.fromarray(np.clip(grey, 0, 255).astype(np.uint8)), (int(left), int(top)))

    def ornament(self, middle: float, top: float, width: float, size: float) -> float:
        """One flower or a band of the same; returns its height, 0 without a font."""
        rng = self.rng
        if not self.ornaments:
            return 0.0
        large = max(8, int(size * rng.uniform(0.8, 3)))
        font = fonts.load(self.ornaments[int(rng.integers(len(self.ornaments)))], large)
        flower = chr(int(rng.integers(ord("A"), ord("Z") + 1)))
        step = max(font.getlength(flower), large * 0.3)
        band = flower * (int(rng.integers(1, max(2, int(width / step)))) if rng.random() < 0.5 else 1)
        box = font.getbbox(band)
        self.pen.text((middle - (box[0] + box[2]) / 2, top - box[1]), band, fill=255, font=font)
        return float(box[3] - box[1])

    def stamp(self, size: float) -> None:
        """A faint ring or frame with a few turned letters in it, anywhere, also over text."""
        rng, (width, height) = self.rng, self.sheet.size
        side = int(size * rng.uniform(3, 9))
        grey = int(rng.integers(40, 130))
        mark = Pillow.new("L", (side, side), 0)
        pen = ImageDraw.Draw(mark)
        edge = side * rng.uniform(0.02, 0.2)
        shape = pen.ellipse if rng.random() < 0.7 else pen.rectangle
        for inset in (edge, edge + side * 0.06)[: int(rng.integers(1, 3))]:
            shape([inset, edge, side - inset, side - edge], outline=grey, width=max(1, side // 40))
        for _ in range(int(rng.integers(0, 3)) * bool(self.ornaments)):
            font = fonts.load(self.ornaments[int(rng.integers(len(self.ornaments)))], max(8, side // 5))
            pen.text((side * rng.uniform(0.2, 0.6), side * rng.uniform(0.2, 0.6)), "B", fill=grey, font=font)
        mark = mark.rotate(rng.uniform(-40, 40))
        place = int(rng.uniform(0, max(1, width - side))), int(rng.uniform(0, max(1, height - side)))
        under = self.sheet.crop((*place, place[0] + side, place[1] + side))
        self.sheet.paste(Pillow.fromarray(np.maximum(np.asarray(mark), np.asarray(under))), place)

    def scribble(self, size: float) -> None:
        """A stroke of a pen that wanders: a signature's flourish, a mark in the margin, a crack."""
        rng, (width, height) = self.rng, self.sheet.size
        steps = rng.normal(0, size * rng.uniform(0.1, 0.5), (int(rng.integers(5, 40)), 2))
        points = np.cumsum(np.cumsum(steps, 0) * 0.3, 0) + rng.uniform((0, 0), (width, height))
        grey = int(rng.integers(60, 220))
        self.pen.line([(float(x), float(y)) for x, y in points], fill=grey, width=1 + int(size / 20), joint="curve")
