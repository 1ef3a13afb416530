"""Documents of one or many pages: plain images, multi-page TIFF, PDF. Told apart by content, not by name."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pypdfium2 as pdfium
import pypdfium2.raw as pdfium_c

from pero_worker.errors import PageError
from pero_worker.inputs.images import DEFAULT_MAX_PIXELS, dpi_of, opened, pixels_of
from pero_worker.page import Image

_MAX_FRAMES = 100_000
_SCAN_COVERS = 0.7
_HAIR = 1 - 1e-5
_IMAGES = (b"\xff\xd8\xff", b"\x89PNG", b"II", b"MM", b"GIF8", b"RIFF", b"BM", b"\0\0\0\x0cjP", b"\xff\x4f\xff\x51")
_FOREIGN = (
    (b"PK\x03\x04", "a zip archive"),
    (b"PK\x05\x06", "an empty zip archive"),
    (b"<!doctype html", "an HTML page, perhaps what a server says about a missing file"),
    (b"<html", "an HTML page, perhaps what a server says about a missing file"),
    (b"<?xml", "XML"),
    (b"<svg", "an SVG drawing"),
)


@dataclass(frozen=True, slots=True)
class PageScan:
    """A page as an upright image; `dpi` is None when nothing believable is known."""

    image: Image
    dpi: float | None


def count_pages(path: Path) -> int:
    """How many pages a document has: frames of a TIFF, pages of a PDF, else 1 (of a GIF, only the first frame).

    PageError (permanent): empty, damaged, encrypted, or neither an image nor a PDF.
    """
    head = _head(path)
    if is_pdf(head):
        with open_pdf(path) as document:
            return len(document)
    if not _is_tiff(head):
        with opened_file(path):
            return 1
    with opened_file(path) as picture:
        count = 0
        try:
            while count < _MAX_FRAMES:
                picture.seek(count)
                count += 1
        except EOFError:
            return count
        raise PageError(
            f"the TIFF has more than {_MAX_FRAMES} pages, or its directory runs in a circle", permanent=True
        )


def read_page(path: Path, index: int, *, dpi: int = 300, max_pixels: int = DEFAULT_MAX_PIXELS) -> PageScan:
    """Page `index` (from 0), upright. A PDF page that is a scan comes at the scan's resolution, another at `dpi`."""
    if is_pdf(_head(path)):
        with open_pdf(path) as document:
            return _render(document, index, dpi, max_pixels)
    with opened_file(path) as picture:
        if index:
            picture.seek(index)
        return PageScan(pixels_of(picture, max_pixels), dpi_of(picture))


def is_pdf(head: bytes) -> bool:
    """A PDF may begin with up to 1 kB of anything; an image may mention in a comment that it comes from a PDF."""
    return b"%PDF-" in head[:1024] and not head.startswith(_IMAGES)


@contextmanager
def opened_file(path: Path) -> Iterator[Any]:
    """`images.opened` on a file, with a word about what it is instead of an image."""
    try:
        with path.open("rb") as stream, opened(stream) as picture:
            yield picture
    except PageError as error:
        looks = _looks_like(_head(path))
        raise PageError(f"{error}; it looks like {looks}" if looks else str(error), permanent=True) from error


@contextmanager
def open_pdf(path: Path) -> Iterator[Any]:
    try:
        document = pdfium.PdfDocument(path)
    except pdfium.PdfiumError as error:
        code = getattr(error, "err_code", None)
        if code in {pdfium_c.FPDF_ERR_PASSWORD, pdfium_c.FPDF_ERR_SECURITY}:
            raise PageError(
                "the PDF is encrypted: remove the password first, as with qpdf --decrypt", permanent=True
            ) from error
        raise PageError("the PDF cannot be opened: it is damaged or has no pages", permanent=True) from error
    try:
        if not len(document):
            raise PageError("the PDF has no pages", permanent=True)
        yield document
    finally:
        document.close()


def _head(path: Path) -> bytes:
    try:
        if path.exists() and not path.is_file():
            # A pipe would be waited for without end, and can be read but once.
            raise PageError(f"{path} is a folder, a pipe or a device: name a file", permanent=True)
        with path.open("rb") as stream:
            head = stream.read(1024)
    except OSError as error:
        raise PageError(f"cannot read {path}: {error.strerror}", permanent=True) from error
    if not head:
        raise PageError("the file is empty (0 bytes): it was not copied or downloaded completely", permanent=True)
    return head


def _is_tiff(head: bytes) -> bool:
    return head[:4] in {b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"}


def _looks_like(head: bytes) -> str:
    start = head.removeprefix(b"\xef\xbb\xbf").lstrip().lower()
    for magic, name in _FOREIGN:
        if start.startswith(magic.lower()):
            return name
    try:
        text = head.decode("utf-8", "strict") if len(head) < 1024 else head[:1000].decode("utf-8", "ignore")
    except UnicodeDecodeError:
        return ""
    return "plain text" if text.isprintable() or all(c.isprintable() or c in "\r\n\t" for c in text) else ""


def _render(document: Any, index: int, dpi: int, max_pixels: int) -> PageScan:
    try:
        page = document[index]
    except (pdfium.PdfiumError, IndexError) as error:
        raise PageError(f"page {index + 1} of the PDF is damaged", permanent=True) from error
    try:
        width, height = page.get_size()
        resolution = _scan_dpi(page, width, height) or float(dpi)
        if resolution < dpi and _has_visible_text(page):
            # A coarse picture behind printed letters is paper, not a scan.
            resolution = float(dpi)
        pixels = math.ceil(width * resolution / 72) * math.ceil(height * resolution / 72)
        if not 0 < pixels <= max_pixels:
            raise PageError(
                f"the PDF page is {width:.0f} x {height:.0f} points, {pixels / 1e6:.0f} megapixels at "
                f"{resolution:.0f} dpi, more than the {max_pixels / 1e6:g} allowed; lower --dpi or "
                "raise --max-megapixels",
                permanent=True,
            )
        # A hair less, as sizes are rounded up: a scan must come out with its own pixels, not resampled to one row more.
        bitmap = page.render(scale=resolution / 72 * _HAIR, rev_byteorder=False, prefer_bgrx=False)
        try:
            array = bitmap.to_numpy()
            if array.ndim == 2 or array.shape[2] == 1:
                array = np.repeat(array.reshape(*array.shape[:2], 1), 3, axis=2)
            return PageScan(np.ascontiguousarray(array[:, :, :3]), resolution)
        finally:
            bitmap.close()
    except pdfium.PdfiumError as error:
        raise PageError(f"page {index + 1} of the PDF cannot be rendered: {error}", permanent=True) from error
    finally:
        page.close()


def _has_visible_text(page: Any) -> bool:
    """Whether text is drawn, other than the invisible text that OCR lays over a scan."""
    return any(
        pdfium_c.FPDFTextObj_GetTextRenderMode(item.raw) != pdfium_c.FPDF_TEXTRENDERMODE_INVISIBLE
        for item in page.get_objects(filter=(pdfium_c.FPDF_PAGEOBJ_TEXT,), max_depth=3)
    )


def _scan_dpi(page: Any, width: float, height: float) -> float | None:
    """The finest resolution of the images that cover most of the page.

    There may be several: coarse paper under fine text is how scans are often compressed (mixed raster content).
    """
    best = 0.0
    for item in page.get_objects(filter=(pdfium_c.FPDF_PAGEOBJ_IMAGE,), max_depth=3):
        try:
            left, bottom, right, top = item.get_bounds()
            columns, rows = item.get_px_size()
        except pdfium.PdfiumError:
            continue
        area = (right - left) * (top - bottom)
        if area <= 0 or area < _SCAN_COVERS * width * height:
            continue
        # Through areas, so that a quarter turn of the image does not matter.
        best = max(best, 72 * math.sqrt(columns * rows / area))
    return best if 30 <= best <= 2400 else None
