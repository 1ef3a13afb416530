"""Searchable PDF: the document as it was, with invisible text over its words."""

from __future__ import annotations

import math
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO, Any

import numpy as np
import pikepdf
from pikepdf import Dictionary, Name

from pero_worker.errors import OutputError, PageError
from pero_worker.formats import Document
from pero_worker.formats.glyphless import ADVANCE, add_font
from pero_worker.formats.imagepdf import images_as_pdf
from pero_worker.formats.words import box_of, from_left_to_right, words_of
from pero_worker.formats.xmltext import clean_text
from pero_worker.inputs.documents import is_pdf
from pero_worker.page import Line, Page, Point, Word

_FONT = "/PeroWorkerText"
_LETTER = (0.0, 0.0, 612.0, 792.0)
_MAX_DEPTH = 50
_BASELINE = 0.2
"""How far above the lower edge of a word's box its baseline is taken to be, as a share of the height."""

_MALFORMED = (
    pikepdf.PdfError,
    pikepdf.PasswordError,
    ValueError,
    TypeError,
    KeyError,
    IndexError,
    AttributeError,
    RuntimeError,
    OverflowError,
)
"""What a PDF whose objects are not of the kinds they should be makes pikepdf raise."""


def write(document: Document, stream: IO[bytes]) -> None:
    """The document as a searchable PDF: see `write_searchable_pdf`."""
    write_searchable_pdf(document.source, document.pages, stream, dpi=document.dpi)


def write_searchable_pdf(source: Path, pages: Sequence[Page | None], stream: IO[bytes], *, dpi: int) -> None:
    """Writes `source` (an image of one or more pages, or a PDF) as a PDF with the text of `pages`.

    Pages that are None stay without text. A PDF's pages are kept; images are embedded as they are where PDF knows
    their encoding, else losslessly. An image's size comes from its own resolution, else from `dpi`. PageError: the
    source cannot be made into a PDF. OutputError: `stream` or a temporary file cannot be written.
    """
    try:
        with source.open("rb") as file:
            head = file.read(1024)
    except OSError as error:
        raise PageError(f"cannot read {source}: {error.strerror}", permanent=True) from error
    try:
        with tempfile.TemporaryDirectory(prefix="pero-worker-pdf-") as scratch:
            document = source if is_pdf(head) else images_as_pdf(source, pages, dpi, Path(scratch))
            with pikepdf.open(document) as pdf:
                if document != source and Name.ID in pdf.trailer:
                    del pdf.trailer.ID  # img2pdf's tells the time
                font = add_font(pdf)
                for sheet, page in zip(pdf.pages, pages, strict=False):
                    if page is not None:
                        _add_text(pdf, sheet, page, font)
                pdf.save(stream, deterministic_id=True)
    except _MALFORMED as error:
        reason = " ".join(str(error).split())[:200]
        raise PageError(f"{source.name} cannot be made into a searchable PDF: {reason}", permanent=True) from error
    except OSError as error:
        reason = error.strerror or str(error)
        raise OutputError(f"cannot write the searchable PDF of {source.name}: {reason}") from error


def _add_text(pdf: pikepdf.Pdf, sheet: pikepdf.Page, page: Page, font: pikepdf.Object) -> None:
    operators = b"\n".join([b"q BT 3 Tr", *_text(page, _Placement(sheet, page)), b"ET Q"])
    # The page's own drawing is enclosed, so that what it leaves set does not move the text.
    sheet.contents_add(pikepdf.Stream(pdf, b"q"), prepend=True)
    sheet.contents_add(pikepdf.Stream(pdf, b"Q"))
    sheet.contents_add(pikepdf.Stream(pdf, operators))
    if "/Resources" not in sheet.obj:
        sheet.obj.Resources = Dictionary(_inherited(sheet, "/Resources") or {})
    if Name.Font not in sheet.obj.Resources:
        sheet.obj.Resources.Font = Dictionary()
    sheet.obj.Resources.Font[_FONT] = font


def _text(page: Page, place: _Placement) -> Iterator[bytes]:
    for line in page.lines():
        words = words_of(line)
        for number, word in enumerate(words, 1):
            operators = _word(word, line, place, last=number == len(words))
            if operators:
                yield operators


def _word(word: Word, line: Line, place: _Placement, *, last: bool) -> bytes:
    """Text operators for a word. Its code is hexadecimal, so that no text can break out of the string."""
    text = clean_text(word.text)
    if not text or not word.polygon:
        return b""
    start, end, head = (place.point(point) for point in _run(word, line))
    if not all(map(math.isfinite, (*start, *end, *head))):
        return b""
    size = max(1.0, math.dist(start, head))
    length = max(0.1, math.dist(start, end))
    angle = math.atan2(end[1] - start[1], end[0] - start[0])
    code = from_left_to_right(text).encode("utf-16-be")
    stretch = 100 * length / (ADVANCE * size * len(code) / 2)
    space = "" if last else "0020"
    cosine, sine = math.cos(angle), math.sin(angle)
    return (
        f"{_FONT} {size:.2f} Tf {stretch:.2f} Tz "
        f"{cosine:.5f} {sine:.5f} {-sine:.5f} {cosine:.5f} {start[0]:.2f} {start[1]:.2f} Tm <{code.hex()}{space}> Tj"
    ).encode()


def _run(word: Word, line: Line) -> tuple[Point, Point, Point]:
    """Where a word's baseline starts and ends, and the point a font size above its start; in pixels.

    The word is projected on its line's baseline, which may be slanted, upright or curved.
    """
    baseline = line.baseline
    if len(baseline) < 2 or baseline[0] == baseline[-1]:
        left, top, right, bottom = box_of(word.polygon)
        level = bottom - _BASELINE * (bottom - top)
        baseline = ((left, level), (right, level))
    origin, tip = np.array(baseline[0]), np.array(baseline[-1])
    along = (tip - origin) / np.linalg.norm(tip - origin)
    up = np.array((along[1], -along[0]))
    outline, track = np.array(word.polygon) - origin, np.array(baseline) - origin
    places = track @ along
    order = np.argsort(places, kind="stable")
    ends = np.array((np.min(outline @ along), np.max(outline @ along)))
    rises = np.interp(ends, places[order], (track @ up)[order])
    start, end = (origin + at * along + rise * up for at, rise in zip(ends, rises, strict=True))
    head = start + (sum(line.heights) if line.heights else np.ptp(outline @ up)) * up
    return (float(start[0]), float(start[1])), (float(end[0]), float(end[1])), (float(head[0]), float(head[1]))


class _Placement:
    """From pixels of the upright page image to a PDF page's own coordinates, /Rotate and CropBox minded.

    Boxes and turns that are out of order are taken as pdfium takes them, which made the page image.
    """

    def __init__(self, sheet: pikepdf.Page, page: Page) -> None:
        self._left, self._bottom, self._right, self._top = _visible_box(sheet)
        self._turn = _quarter_turns(sheet)
        width, height = self._right - self._left, self._top - self._bottom
        if self._turn % 2:
            width, height = height, width
        self._across, self._up = width / page.width, height / page.height
        self._height = height

    def point(self, pixel: Point) -> Point:
        u, v = pixel[0] * self._across, self._height - pixel[1] * self._up
        match self._turn:
            case 1:
                return self._right - v, self._bottom + u
            case 2:
                return self._right - u, self._top - v
            case 3:
                return self._left + v, self._top - u
            case _:
                return self._left + u, self._bottom + v


def _visible_box(sheet: pikepdf.Page) -> tuple[float, float, float, float]:
    media = _box(_inherited(sheet, "/MediaBox")) or _LETTER
    crop = _box(_inherited(sheet, "/CropBox")) or media
    left, bottom = max(media[0], crop[0]), max(media[1], crop[1])
    right, top = min(media[2], crop[2]), min(media[3], crop[3])
    return (left, bottom, right, top) if left < right and bottom < top else media


def _box(corners: Any) -> tuple[float, float, float, float] | None:
    """A box in order, or None when it is none or empty."""
    try:
        ax, ay, bx, by = (float(value) for value in corners)
    except (TypeError, ValueError):
        return None
    box = min(ax, bx), min(ay, by), max(ax, bx), max(ay, by)
    return box if box[0] < box[2] and box[1] < box[3] else None


def _quarter_turns(sheet: pikepdf.Page) -> int:
    """/Rotate in quarter turns clockwise, 0 to 3."""
    try:
        return int(int(_inherited(sheet, "/Rotate")) / 90) % 4
    except (TypeError, ValueError):
        return 0


def _inherited(sheet: pikepdf.Page, name: str) -> Any:
    node: Any = sheet.obj
    for _ in range(_MAX_DEPTH):
        if name in node:
            return node[name]
        if "/Parent" not in node:
            return None
        node = node["/Parent"]
    return None
