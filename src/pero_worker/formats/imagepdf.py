"""Scans as a PDF: embedded as they are where PDF supports their encoding, otherwise losslessly."""

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
from pero_worker.inputs.bounds import DEFAULT_MAX_PIXELS
from pero_worker.inputs.documents import read_header, read_page
from pero_worker.inputs.jpeg import has_end
from pero_worker.page import Page

_TURNS = frozenset({3, 6, 8})
_SMALLEST, _LARGEST = 3.0, 14400.0
"""Shortest and longest side of a page that PDF viewers accept, in points."""

# img2pdf also logs what it raises.
logging.getLogger("img2pdf").addHandler(logging.NullHandler())


@dataclass(frozen=True, slots=True, kw_only=True)
class _Frame:
    """A picture of a document, by its header: size in pixels as stored, dots per inch across and down."""

    size: tuple[int, int]
    dpi: tuple[float, float]
    as_is: bool


def images_as_pdf(source: Path, pages: Sequence[Page | None], dpi: int, folder: Path) -> Path:
    """Makes a PDF of the pictures of `source` in `folder`, one per page; memory holds them encoded, never decoded.

    A picture that cannot be decoded becomes an empty page if its page is None; otherwise `PageError` is raised.
    """
    most = max(DEFAULT_MAX_PIXELS, *(page.width * page.height for page in pages if page is not None), 0)
    frames = [_frame(source, index, dpi, most) for index in range(len(pages))]
    target = folder / "scans.pdf"
    if all(frame.as_is for frame in frames):
        try:
            _convert([str(_ended(source, folder))], [frame.dpi for frame in frames], target)
        except OSError as error:
            if error.errno is not None:
                raise
            target.unlink(missing_ok=True)  # Pillow reports a damaged picture this way: the others are kept.
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
            Pillow.new("1", frame.size, 1).save(path)
        pictures.append(str(path))
    _convert(pictures, [frame.dpi for frame in frames], target)
    return target


def _frame(source: Path, index: int, dpi: int, most: int) -> _Frame:
    try:
        header = read_header(source, index, max_pixels=most)
    except PageError:
        return _Frame(size=(1, 1), dpi=(float(dpi), float(dpi)), as_is=False)
    across = header.dpi or float(dpi)
    down = across * header.aspect
    # img2pdf turns JPEGs as readers do, but supports neither mirroring nor the orientation of other formats.
    turned = header.kind in {"JPEG", "MPO"} and header.orientation in _TURNS
    as_is = header.ordinary and header.number == index and (turned or header.orientation == 1)
    if not as_is and header.orientation >= 5:
        across, down = down, across
    return _Frame(size=(header.width, header.height), dpi=(across, down), as_is=as_is)


def _ended(source: Path, folder: Path) -> Path:
    """Returns the source; for a JPEG without an end marker, a copy that has one."""
    data = source.read_bytes()
    if not data.startswith(b"\xff\xd8\xff") or has_end(data):
        return source
    copy = folder / "ended.jpg"
    copy.write_bytes(data + b"\xff\xd9")
    return copy


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
