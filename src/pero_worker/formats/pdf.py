"""Searchable PDF: the document as it was, with invisible text under its words."""

from __future__ import annotations

import io
import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO, Any

import img2pdf
import pikepdf
from pikepdf import Dictionary, Name
from PIL import Image as Pillow

from pero_worker.errors import PageError
from pero_worker.formats.documents import is_pdf, opened_file, read_page
from pero_worker.formats.glyphless import ADVANCE, add_font
from pero_worker.formats.images import dpi_of
from pero_worker.formats.words import box_of, words_of
from pero_worker.page import Page, Point, Polygon, Word

_FONT = "/PeroWorkerText"
_EXIF_ORIENTATION = 0x0112
_TURNS = frozenset({3, 6, 8})
_SIDES = (3.0, 14400.0)
"""The least and the greatest side of a PDF page, in points."""

_BASELINE = 0.2
"""How far above the lower edge of a word's box its baseline is taken to be, as a share of the height."""


def write_searchable_pdf(source: Path, pages: Sequence[Page | None], stream: IO[bytes], *, dpi: int) -> None:
    """Writes `source` (an image of one or more pages, or a PDF) as a PDF with the text of `pages`.

    Pages that are None stay without text. A PDF's pages are kept; images are embedded as they are where PDF knows
    their encoding, else losslessly. An image's size comes from its own resolution, else from `dpi`. PageError: the
    source cannot be made into a PDF.
    """
    try:
        with source.open("rb") as file:
            head = file.read(1024)
        with pikepdf.open(source if is_pdf(head) else _images_as_pdf(source, len(pages), dpi)) as pdf:
            font = add_font(pdf)
            for sheet, page in zip(pdf.pages, pages, strict=False):
                if page is not None:
                    _add_text(pdf, sheet, page, font)
            pdf.save(stream, linearize=False)
    except (PageError, OSError):
        raise
    except Exception as error:  # the document may be anybody's, and the libraries raise exceptions of many kinds
        raise PageError(f"{source.name} cannot be made into a searchable PDF: {error}", permanent=True) from error


def _images_as_pdf(source: Path, count: int, dpi: int) -> IO[bytes]:
    with opened_file(source) as picture:
        resolution = dpi_of(picture) or float(dpi)
        orientation = picture.getexif().get(_EXIF_ORIENTATION, 1)
        # A PDF page can be turned but not mirrored, and img2pdf turns only JPEG.
        as_it_is = orientation == 1 or (picture.format == "JPEG" and orientation in _TURNS)

    def size(columns: int, rows: int, _: tuple[float, float]) -> tuple[float, float, float, float]:
        width, height = (_within(pixels * 72 / resolution) for pixels in (columns, rows))
        return width, height, width, height

    options: dict[str, Any] = {"layout_fun": size, "rotation": img2pdf.Rotation.ifvalid, "first_frame_only": count == 1}
    target = io.BytesIO()
    if as_it_is:
        try:
            img2pdf.convert(str(source), outputstream=target, **options)
        except Exception:  # img2pdf refuses much (transparency, 16 bits, WebP) with exceptions of many kinds
            as_it_is = False
    if not as_it_is:
        target = io.BytesIO()
        img2pdf.convert([_as_png(source, index, dpi) for index in range(count)], outputstream=target, **options)
    target.seek(0)
    return target


def _within(points: float) -> float:
    return min(max(points, _SIDES[0]), _SIDES[1])


def _as_png(source: Path, index: int, dpi: int) -> bytes:
    scan = read_page(source, index, dpi=dpi)
    target = io.BytesIO()
    Pillow.fromarray(scan.image[:, :, ::-1]).save(target, "PNG")
    return target.getvalue()


def _add_text(pdf: pikepdf.Pdf, sheet: pikepdf.Page, page: Page, font: pikepdf.Object) -> None:
    place = _Placement(sheet, page)
    operators = b"\n".join([b"q BT 3 Tr", *_text(page, place), b"ET Q"])
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
            operators = _word(word, place, last=number == len(words))
            if operators:
                yield operators


def _word(word: Word, place: _Placement, *, last: bool) -> bytes:
    """Text operators for a word. Its code is hexadecimal, so that no text can break out of the string."""
    if not word.polygon or not word.text:
        return b""
    top_left, top_right, bottom_right, bottom_left = _corners(word.polygon)
    start = place.point(_between(bottom_left, top_left, _BASELINE))
    end = place.point(_between(bottom_right, top_right, _BASELINE))
    foot, head = place.point(bottom_left), place.point(top_left)
    size = max(1.0, math.dist(foot, head))
    length = max(0.1, math.dist(start, end))
    angle = math.atan2(end[1] - start[1], end[0] - start[0])
    code = word.text.encode("utf-16-be", "replace")
    stretch = 100 * length / (ADVANCE * size * len(code) / 2)
    tail = "" if last else "0020"
    cosine, sine = math.cos(angle), math.sin(angle)
    return (
        f"{_FONT} {size:.2f} Tf {stretch:.2f} Tz "
        f"{cosine:.5f} {sine:.5f} {-sine:.5f} {cosine:.5f} {start[0]:.2f} {start[1]:.2f} Tm <{code.hex()}{tail}> Tj"
    ).encode()


def _corners(polygon: Polygon) -> Polygon:
    if len(polygon) == 4:
        return polygon
    left, top, right, bottom = box_of(polygon)
    return (left, top), (right, top), (right, bottom), (left, bottom)


def _between(a: Point, b: Point, share: float) -> Point:
    return a[0] + (b[0] - a[0]) * share, a[1] + (b[1] - a[1]) * share


class _Placement:
    """From pixels of the upright page image to a PDF page's own coordinates, /Rotate and CropBox minded."""

    def __init__(self, sheet: pikepdf.Page, page: Page) -> None:
        self._left, self._bottom, self._right, self._top = (float(value) for value in sheet.cropbox)
        turn = _inherited(sheet, "/Rotate")
        self._turn = int(turn) % 360 if turn is not None else 0
        width, height = self._right - self._left, self._top - self._bottom
        if self._turn in {90, 270}:
            width, height = height, width
        self._across, self._up = width / page.width, height / page.height
        self._height = height

    def point(self, pixel: Point) -> Point:
        u, v = pixel[0] * self._across, self._height - pixel[1] * self._up
        match self._turn:
            case 90:
                return self._right - v, self._bottom + u
            case 180:
                return self._right - u, self._top - v
            case 270:
                return self._left + v, self._top - u
            case _:
                return self._left + u, self._bottom + v


def _inherited(sheet: pikepdf.Page, name: str) -> Any:
    node: Any = sheet.obj
    for _ in range(50):
        if name in node:
            return node[name]
        if "/Parent" not in node:
            return None
        node = node["/Parent"]
    return None
