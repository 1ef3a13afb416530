"""Scans as a PDF: embedded as they are where PDF knows their encoding, else losslessly."""

from __future__ import annotations

import io
import logging
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import img2pdf
import numpy as np
from PIL import Image as Pillow

from pero_worker.errors import PageError
from pero_worker.inputs.documents import opened_file, read_page
from pero_worker.inputs.images import DEFAULT_MAX_PIXELS, dpi_of
from pero_worker.page import Page

_ORIENTATION = 0x0112
_TURNS = frozenset({3, 6, 8})
_SMALLEST, _LARGEST = 3.0, 14400.0
"""Sides of a page in points that PDF viewers accept."""

# img2pdf says through its log what it also raises.
logging.getLogger("img2pdf").addHandler(logging.NullHandler())


@dataclass(frozen=True, slots=True)
class _Frame:
    """A picture of a document by its header: size in pixels as stored, dots per inch across and down."""

    size: tuple[int, int]
    dpi: tuple[float, float]
    as_is: bool


def images_as_pdf(source: Path, pages: Sequence[Page | None], dpi: int, folder: Path) -> Path:
    """Makes a PDF of the pictures of `source` in `folder`, one a page; memory holds them encoded, never decoded.

    A picture that cannot be decoded becomes an empty page when its page is None, else it is a PageError.
    """
    most = max(DEFAULT_MAX_PIXELS, *(page.width * page.height for page in pages if page is not None), 0)
    with opened_file(source) as picture:
        frames = [_frame(picture, index, dpi, most) for index in range(len(pages))]
    target = folder / "scans.pdf"
    if all(frame.as_is for frame in frames):
        try:
            _convert([str(source)], [frame.dpi for frame in frames], target)
        except OSError:
            raise
        except Exception:  # img2pdf refuses much (transparency, 16 bits, WebP) with exceptions of many kinds
            target.unlink(missing_ok=True)
        else:
            return target
    pictures = []
    for index, (frame, page) in enumerate(zip(frames, pages, strict=True)):
        path = folder / f"{index}.png"
        try:
            scan = read_page(source, index, dpi=dpi, max_pixels=most)
            _picture(scan.image).save(path)
        except PageError:
            if page is not None:
                raise
            width, height = frame.size if frame.size[0] * frame.size[1] <= most else (1, 1)
            Pillow.new("1", (width, height), 1).save(path)
        pictures.append(str(path))
    _convert(pictures, [frame.dpi for frame in frames], target)
    return target


def _frame(picture: Any, index: int, dpi: int, most: int) -> _Frame:
    if index:
        picture.seek(index)
    orientation = picture.getexif().get(_ORIENTATION, 1)
    across = dpi_of(picture) or float(dpi)
    down = across * _ratio(picture)
    width, height = picture.size
    # img2pdf turns JPEGs as readers do, but knows no mirroring and no orientation of other formats.
    turned = picture.format in {"JPEG", "MPO"} and orientation in _TURNS
    as_is = width * height <= most and (turned or orientation not in range(2, 9))
    if not as_is and orientation in range(5, 9):
        across, down = down, across
    return _Frame((width, height), (across, down), as_is)


def _ratio(picture: Any) -> float:
    """Dots down to dots across; a fax has 98 to 204."""
    try:
        across, down = (float(value) for value in picture.info["dpi"])
        return down / across if 0.25 <= down / across <= 4 else 1.0
    except (KeyError, TypeError, ValueError, ZeroDivisionError):
        return 1.0


def _picture(image: np.ndarray[Any, Any]) -> Pillow.Image:
    grey = np.array_equal(image[:, :, 0], image[:, :, 1]) and np.array_equal(image[:, :, 1], image[:, :, 2])
    return Pillow.fromarray(np.ascontiguousarray(image[:, :, 0] if grey else image[:, :, ::-1]))


def _convert(inputs: list[str], resolutions: Sequence[tuple[float, float]], target: Path) -> None:
    remaining: Iterator[tuple[float, float]] = iter(resolutions)

    def layout(columns: int, rows: int, _: tuple[float, float]) -> tuple[float, float, float, float]:
        across, down = next(remaining)
        width = min(max(columns * 72 / across, _SMALLEST), _LARGEST)
        height = min(max(rows * 72 / down, _SMALLEST), _LARGEST)
        return width, height, width, height

    encoded = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        img2pdf.convert(
            inputs,
            outputstream=encoded,
            layout_fun=layout,
            rotation=img2pdf.Rotation.ifvalid,
            first_frame_only=len(inputs) == len(resolutions),
            nodate=True,
        )
    target.write_bytes(encoded.getbuffer())
