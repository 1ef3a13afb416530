"""Pages of a PDF as images, at the resolution of the scans in them."""

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

# That this build draws no XFA forms it would say for each document; they come with an ordinary page, too.
logging.getLogger("pypdfium2").setLevel(logging.ERROR)
_SCAN_COVERS = 0.7
_HAIR = 1 - 1e-5


def count_pdf_pages(path: Path) -> int:
    """How many page objects a PDF has; its own word is no proof. PageError: it cannot be opened, or has none."""
    with open_pdf(path) as document:
        claimed = len(document)
    try:
        with open_objects(path) as pdf:
            return len(pdf.pages) or claimed
    except (pikepdf.PdfError, pikepdf.PasswordError, RuntimeError, ValueError):
        return _loadable(path, claimed)


@contextmanager
def open_objects(path: Path) -> Iterator[pikepdf.Pdf]:
    """The PDF as objects, whatever its name: pikepdf wants names in UTF-8."""
    with os.fdopen(os.open(path, os.O_RDONLY | os.O_CLOEXEC), "rb") as stream, pikepdf.open(stream) as pdf:
        yield pdf


def _loadable(path: Path, claimed: int) -> int:
    """How many pages pdfium finds of a PDF that is too damaged for others."""
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
        with suppress(pdfium.PdfiumError):  # Without it what was typed into forms is not drawn.
            document.init_forms()
        if not len(document):
            raise PageError("the PDF has no pages", permanent=True)
        yield document
    finally:
        document.close()


def _wants_password(path: Path) -> bool:
    """pdfium's code may be that of the document before."""
    try:
        with open_objects(path):
            return False
    except pikepdf.PasswordError:
        return True
    except (pikepdf.PdfError, RuntimeError, ValueError, OSError):
        return False


def render_page(document: Any, index: int, dpi: int, max_pixels: int) -> PageScan:
    """A page of an opened PDF, upright; a scan at its own resolution, other pages at `dpi`."""
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
        scale = resolution / 72 * _HAIR
        image = _drawn(page, scale, forms=True)
        if document.formenv is not None and pdfium_c.FPDFPage_GetAnnotCount(page.raw):
            # What is in forms is smoothed for screens, with coloured edges that paper does not have.
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
    """The page as its media box has it: its crop box lies beside it, and viewers ignore that, too."""
    page.set_cropbox(*page.get_mediabox())
    page.close()
    return document[index]


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
