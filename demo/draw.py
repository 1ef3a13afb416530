"""Draws the demo's Fraktur and Czech pages from free text with Debian's fonts, and makes them look scanned."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter, ImageFont, ImageOps

PAGE_SIZE = (1654, 2339)  # A4 at 200 dots an inch
MARGIN = 190
STRIP = 64

Grey = NDArray[np.float32]


@dataclass(frozen=True)
class Sheet:
    """One page to draw: its text (first two lines are headings), its font, and how the scanner saw it."""

    name: str
    font: str
    size: int
    skew: float
    seed: int


SHEETS = (
    Sheet("fraktur", "Blankenburg_UNZ1A.ttf", 53, 0.011, 1774),
    Sheet("czech", "OldStandard-Regular.ttf", 50, -0.008, 1855),
)


def typeset(text: str, font: ImageFont.FreeTypeFont, size: tuple[int, int]) -> tuple[Image.Image, list[str]]:
    """Set two headings and justified paragraphs in black on white; return the page (mode L) and its lines.

    Raises ValueError where the text does not fit the page.
    """
    headings, *paragraphs = text.strip().split("\n\n")
    page = Image.new("L", size, 255)
    pen = ImageDraw.Draw(page)
    measure, leading = size[0] - 2 * MARGIN, round(font.size * 1.5)
    y = MARGIN
    lines = []
    for heading in headings.splitlines():
        pen.text(((size[0] - font.getlength(heading)) / 2, y), heading, font=font, fill=0)
        lines.append(heading)
        y += round(leading * 1.3)
    for paragraph in paragraphs:
        indent = font.size * 1.2
        for words, is_last in _broken(paragraph.split(), font, measure, indent):
            gap = font.getlength(" ")
            if not is_last:
                free = measure - indent - sum(font.getlength(word) for word in words)
                gap = free / max(1, len(words) - 1)
            x = MARGIN + indent
            for word in words:
                pen.text((x, y), word, font=font, fill=0)
                x += font.getlength(word) + gap
            lines.append(" ".join(words))
            indent = 0.0
            y += leading
    if y > size[1] - MARGIN / 2:
        raise ValueError(f"the text takes {y} of {size[1]} pixels: use a smaller font size")
    return page, lines


def _broken(
    words: list[str], font: ImageFont.FreeTypeFont, measure: float, indent: float
) -> list[tuple[list[str], bool]]:
    """Break words into lines, as many as fit each; the flag marks the last line."""
    lines: list[list[str]] = [[]]
    for word in words:
        room = measure - (indent if len(lines) == 1 else 0)
        if lines[-1] and font.getlength(" ".join([*lines[-1], word])) > room:
            lines.append([])
        lines[-1].append(word)
    return [(line, line is lines[-1]) for line in lines]


def scanned(page: Image.Image, skew: float, seed: int) -> Image.Image:
    """Make a clean page (mode L) look like a scan of old paper (mode RGB); the same seed gives the same pixels."""
    rng = np.random.default_rng(seed)
    page = _bent(page, skew, curl=9.0)
    ink = _ink(page, rng)
    # What is printed on the other side of the leaf shows through, mirrored, weak and soft.
    verso = ImageOps.mirror(page).filter(ImageFilter.GaussianBlur(4))
    shine = 0.10 * (1 - _grey(verso)) * _clouds(ink.shape, 300, rng, 0.5, 1.0)
    width = ink.shape[1]
    across = np.linspace(0.0, 1.0, width, dtype=np.float32)
    gutter = 1 - 0.45 * np.exp(-across * 22) - 0.10 * np.exp(-(1 - across) * 60)
    light = gutter * _clouds(ink.shape, 420, rng, 0.93, 1.0) * _clouds(ink.shape, 40, rng, 0.985, 1.0)
    light = light * rng.normal(1.0, 0.012, ink.shape).astype(np.float32)
    paper = np.array([240, 230, 206], np.float32) * (light * (1 - shine))[..., None]
    black = np.array([46, 40, 36], np.float32)
    colour = paper * (1 - ink[..., None]) + black * ink[..., None]
    colour[:, -6:] *= 0.25  # the scanner's lid beyond the leaf's edge
    image = Image.fromarray(np.clip(colour, 0, 255).astype(np.uint8))
    return image.filter(ImageFilter.GaussianBlur(0.6))


def _grey(image: Image.Image) -> Grey:
    grey: Grey = np.asarray(image, np.float32) / np.float32(255)
    return grey


def _clouds(shape: tuple[int, ...], cell: int, rng: np.random.Generator, low: float, high: float) -> Grey:
    """Smooth noise between low and high whose blobs are about `cell` pixels wide."""
    height, width = shape
    coarse = rng.uniform(low, high, (height // cell + 3, width // cell + 3)).astype(np.float32)
    smooth = Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC)
    clouds: Grey = np.asarray(smooth).clip(low, high)
    return clouds


def _ink(page: Image.Image, rng: np.random.Generator) -> Grey:
    """How much ink lies at each pixel (0 to 1): worn edges, specks in the black, lighter and heavier patches."""
    spread = 1 - _grey(page.filter(ImageFilter.GaussianBlur(1.1)))
    ragged = spread + rng.normal(0, 0.06, spread.shape).astype(np.float32) + _clouds(spread.shape, 5, rng, -0.14, 0.14)
    # Noise moves the threshold only near ink, so that the bare paper stays free of false specks.
    edge = 1 / (1 + np.exp(-(ragged - 0.36) * 11))
    return np.asarray(edge * (spread > 0.04) * _clouds(spread.shape, 160, rng, 0.72, 1.0), np.float32)


def _bent(page: Image.Image, skew: float, curl: float) -> Image.Image:
    """Tilt the page by `skew` (pixels down for each pixel right) and bend it by up to `curl` pixels at the spine."""
    width, height = page.size

    def shift(x: int) -> float:
        return skew * (x - width / 2) + curl * float(np.exp(-3.5 * x / width)) * float(np.sin(2.2 * x / width))

    mesh = []
    for left in range(0, width, STRIP):
        right = min(left + STRIP, width)
        a, b = shift(left), shift(right)
        mesh.append(((left, 0, right, height), (left, -a, left, height - a, right, height - b, right, -b)))
    return page.transform(page.size, Image.Transform.MESH, mesh, Image.Resampling.BICUBIC, fillcolor=255)


def main() -> None:
    """`draw.py FONTS SCANS TRUTH`: draw every sheet with the fonts found below FONTS; its lines go to TRUTH."""
    fonts, scans, truth = (Path(argument) for argument in sys.argv[1:4])
    for folder in (scans, truth):
        folder.mkdir(parents=True, exist_ok=True)
    for sheet in SHEETS:
        (path,) = fonts.rglob(sheet.font)
        text = (Path(__file__).parent / "text" / f"{sheet.name}.txt").read_text(encoding="utf-8")
        page, lines = typeset(text, ImageFont.truetype(str(path), sheet.size), PAGE_SIZE)
        target = scans / f"{sheet.name}.jpg"
        scanned(page, sheet.skew, sheet.seed).save(target, quality=85, dpi=(200, 200))
        (truth / f"{sheet.name}.gt.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
        print(target)


if __name__ == "__main__":
    main()
