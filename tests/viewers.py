"""What three viewers (pdfium, poppler, MuPDF) draw of a PDF, and where they find its words."""

from __future__ import annotations

import html
import re
import subprocess
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import pypdfium2 as pdfium
from numpy.typing import NDArray
from PIL import Image as Pillow

DPI = 72
Words = list[tuple[str, tuple[float, float, float, float]]]
"""Words with left, top, right, bottom in points of the page as it is seen, y down."""


def drawn_by_pdfium(path: Path) -> list[NDArray[np.uint8]]:
    # Twice: what a process has in place of a broken font is another one at first.
    for _ in range(2):
        document = pdfium.PdfDocument(path)
        document.init_forms()
        drawn = [document[number].render(scale=DPI / 72).to_numpy().copy() for number in range(len(document))]
        document.close()
    return drawn


def drawn_by_poppler(path: Path) -> list[NDArray[np.uint8]]:
    return _drawn(path, "pdftoppm", "-r", str(DPI), "-cropbox", str(path), str(path.with_suffix("")) + "-poppler")


def drawn_by_mupdf(path: Path) -> list[NDArray[np.uint8]]:
    target = str(path.with_suffix("")) + "-mupdf%04d.ppm"
    return _drawn(path, "mutool", "draw", "-q", "-r", str(DPI), "-c", "rgb", "-o", target, str(path))


def _drawn(path: Path, *command: str) -> list[NDArray[np.uint8]]:
    # They complain about what is wrong with a file, and draw it.
    subprocess.run(command, capture_output=True, check=False)
    name = "poppler" if command[0] == "pdftoppm" else "mupdf"
    return [np.asarray(Pillow.open(file)) for file in sorted(path.parent.glob(f"{path.stem}-{name}*.ppm"))]


def words_of_pdfium(path: Path) -> list[Words]:
    document = pdfium.PdfDocument(path)
    found = []
    for number in range(len(document)):
        sheet = document[number]
        text = sheet.get_textpage()
        pieces: Words = []
        for match in re.finditer(r"\S+", "".join(_characters(text))):
            boxes = [text.get_charbox(i) for i in range(*match.span())]
            lefts, bottoms, rights, tops = zip(*boxes, strict=True)
            pieces.append(
                (match[0], (min(lefts), sheet.get_height() - max(tops), max(rights), sheet.get_height() - min(bottoms)))
            )
        found.append(pieces)
        text.close()
    document.close()
    return found


def _characters(text: pdfium.PdfTextPage) -> list[str]:
    return [chr(pdfium.raw.FPDFText_GetUnicode(text.raw, i)) for i in range(text.count_chars())]


def words_of_poppler(path: Path) -> list[Words]:
    done = subprocess.run(["pdftotext", "-cropbox", "-bbox", path, "-"], capture_output=True, text=True, check=False)
    pages = re.split(r"<page ", done.stdout)[1:]
    pattern = r'<word xMin="([-\d.]+)" yMin="([-\d.]+)" xMax="([-\d.]+)" yMax="([-\d.]+)">(.*?)</word>'
    return [
        [(html.unescape(w), (float(a), float(b), float(c), float(d))) for a, b, c, d, w in re.findall(pattern, page)]
        for page in pages
    ]


def words_of_mupdf(path: Path) -> list[Words]:
    done = subprocess.run(["mutool", "draw", "-q", "-F", "stext", path], capture_output=True, text=True, check=False)
    found = []
    for page in re.split(r"<page ", done.stdout)[1:]:
        pieces: Words = []
        for line in re.split(r"<line ", page)[1:]:
            letters = re.findall(r'<char quad="([^"]*)"[^>]* c="([^"]*)"', line)
            for run in _runs([(html.unescape(c), [float(v) for v in quad.split()]) for quad, c in letters]):
                xs = [v for _, quad in run for v in quad[0::2]]
                ys = [v for _, quad in run for v in quad[1::2]]
                pieces.append(("".join(c for c, _ in run), (min(xs), min(ys), max(xs), max(ys))))
        found.append(pieces)
    return found


def _runs(letters: list[tuple[str, list[float]]]) -> list[list[tuple[str, list[float]]]]:
    runs: list[list[tuple[str, list[float]]]] = [[]]
    for letter in letters:
        if letter[0].isspace():
            runs.append([])
        else:
            runs[-1].append(letter)
    return [run for run in runs if run]


DRAWN_BY: Mapping[str, Callable[[Path], list[NDArray[np.uint8]]]] = {
    "pdfium": drawn_by_pdfium,
    "poppler": drawn_by_poppler,
    "mupdf": drawn_by_mupdf,
}
WORDS_OF: Mapping[str, Callable[[Path], list[Words]]] = {
    "pdfium": words_of_pdfium,
    "poppler": words_of_poppler,
    "mupdf": words_of_mupdf,
}
