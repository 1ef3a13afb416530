"""Renders pages of a PDF as images, at the resolution of the scans in them."""

from __future__ import annotations

import logging
import math
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np
import pikepdf
import pypdfium2 as pdfium
import pypdfium2.raw as pdfium_c

from pero_worker.errors import PageError
from pero_worker.inputs.images import PageScan
from pero_worker.page import Image

# It would log for each document that this build draws no XFA forms; these come with an ordinary page, too.
logging.getLogger("pypdfium2").setLevel(logging.ERROR)
_SCAN_COVERS = 0.7
_HAIR = 1 - 1e-5


def count_pdf_pages(path: Path) -> int:
    """Counts the page objects of a PDF, because the count it states may be wrong.

    Raises `PageError` if it cannot be opened or has none.
    """
    with open_pdf(path) as document:
        claimed = len(document)
    try:
        with open_objects(path) as pdf:
            return len(pdf.pages) or claimed
    except (pikepdf.PdfError, pikepdf.PasswordError, RuntimeError, ValueError):
        return _loadable(path, claimed)


@contextmanager
def open_objects(path: Path) -> Iterator[pikepdf.Pdf]:
    """Opens the PDF as objects, whatever its file name: pikepdf wants names in UTF-8."""
    with os.fdopen(os.open(path, os.O_RDONLY | os.O_CLOEXEC), "rb") as stream, pikepdf.open(stream) as pdf:
        yield pdf


def _loadable(path: Path, claimed: int) -> int:
    """Counts the pages that pdfium finds in a PDF that is too damaged for pikepdf."""
    with open_pdf(path) as document:
        for number in range(claimed):
            try:
                document[number].close()
            except pdfium.PdfiumError:
                return max(1, number)
    return claimed


@contextmanager
def open_pdf(path: Path) -> Iterator[Any]:
    try:
        document = pdfium.PdfDocument(path)
    except pdfium.PdfiumError as error:
        code = getattr(error, "err_code", None)
        if code in {pdfium_c.FPDF_ERR_PASSWORD, pdfium_c.FPDF_ERR_SECURITY} and _wants_password(path):
            raise PageError(
                "the PDF is encrypted: remove the password first, as with qpdf --decrypt", permanent=True
            ) from error
        raise PageError(
            "the PDF cannot be opened: it is damaged or has no pages; get it again, or mend it with qpdf",
            permanent=True,
        ) from error
    try:
        with suppress(pdfium.PdfiumError):  # Without it, text typed into forms is not drawn.
            document.init_forms()
        if not len(document):
            raise PageError("the PDF has no pages", permanent=True)
        yield document
    finally:
        document.close()


def _wants_password(path: Path) -> bool:
    """Whether a password is needed; pdfium's error code may be left over from the previous document."""
    try:
        with open_objects(path):
            return False
    except pikepdf.PasswordError:
        return True
    except (pikepdf.PdfError, RuntimeError, ValueError, OSError):
        return False


def render_page(document: Any, index: int, dpi: int, max_pixels: int) -> PageScan:
    """Renders a page of an opened PDF, upright; a scan at its own resolution, other pages at `dpi`."""
    try:
        page = document[index]
    except (pdfium.PdfiumError, IndexError) as error:
        raise PageError(f"page {index + 1} of the PDF is damaged", permanent=True) from error
    try:
        width, height = page.get_size()
        if width * height <= 0:
            page = _uncropped(document, index, page)
            width, height = page.get_size()
        resolution = _scan_dpi(page, width, height) or float(dpi)
        if resolution < dpi and _has_visible_text(page):
            # A coarse picture behind visible text is paper, not a scan.
            resolution = float(dpi)
        pixels = math.ceil(width * resolution / 72) * math.ceil(height * resolution / 72)
        if not 0 < pixels <= max_pixels:
            raise PageError(
                f"the PDF page is {width:.0f} x {height:.0f} points, {pixels / 1e6:.0f} megapixels at "
                f"{resolution:.0f} dpi, more than the {max_pixels / 1e6:g} allowed; lower --dpi or "
                "raise --max-megapixels",
                permanent=True,
            )
        # A hair less, as sizes are rounded up: a scan must keep its own pixels, not be resampled to one row more.
        scale = resolution / 72 * _HAIR
        image = _drawn(page, scale, forms=True)
        if document.formenv is not None and pdfium_c.FPDFPage_GetAnnotCount(page.raw):
            # The contents of forms are smoothed for screens, with coloured edges that paper does not have.
            in_forms = (image != _drawn(page, scale, forms=False)).any(axis=2)
            image[in_forms] = image[in_forms].mean(axis=1, keepdims=True).astype(np.uint8)
        return PageScan(image=image, dpi=resolution)
    except pdfium.PdfiumError as error:
        raise PageError(f"page {index + 1} of the PDF cannot be rendered: {error}", permanent=True) from error
    finally:
        page.close()


def _drawn(page: Any, scale: float, *, forms: bool) -> Image:
    bitmap = page.render(scale=scale, rev_byteorder=False, prefer_bgrx=False, may_draw_forms=forms)
    try:
        array = bitmap.to_numpy()
        if array.ndim == 2 or array.shape[2] == 1:
            array = np.repeat(array.reshape(*array.shape[:2], 1), 3, axis=2)
        return np.ascontiguousarray(array[:, :, :3])
    finally:
        bitmap.close()


def _uncropped(document: Any, index: int, page: Any) -> Any:
    """Returns the page cropped to its media box: its crop box lies outside that, and viewers ignore it, too."""
    page.set_cropbox(*page.get_mediabox())
    page.close()
    return document[index]


def _has_visible_text(page: Any) -> bool:
    """Whether the page draws text other than the invisible text that OCR lays over a scan."""
    return any(
        pdfium_c.FPDFTextObj_GetTextRenderMode(item.raw) != pdfium_c.FPDF_TEXTRENDERMODE_INVISIBLE
        for item in page.get_objects(filter=(pdfium_c.FPDF_PAGEOBJ_TEXT,), max_depth=3)
    )


def _scan_dpi(page: Any, width: float, height: float) -> float | None:
    """Returns the finest resolution of the images that cover most of the page; None if none is believable.

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
        # Computed from areas, so that a quarter turn of the image does not matter.
        best = max(best, 72 * math.sqrt(columns * rows / area))
    return best if 30 <= best <= 2400 else None
