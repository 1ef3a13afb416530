"""Converts samples of any depth, sign and layout to 8-bit BGR, for pictures that Pillow cannot hold."""

from __future__ import annotations

import io
import logging
from collections.abc import Mapping
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from pero_worker.errors import PageError
from pero_worker.page import Image

_MAX_BYTES_A_PIXEL = 16
WHITE_IS_ZERO, BLACK_IS_ZERO, RGB, PALETTE, MASK, CMYK, YCBCR, LAB = 0, 1, 2, 3, 4, 5, 6, 8
_COLOURS = {WHITE_IS_ZERO: 1, BLACK_IS_ZERO: 1, RGB: 3, PALETTE: 1, CMYK: 4, LAB: 3}
"""Samples per pixel, not counting extra ones such as alpha."""
_NAMES = {
    YCBCR: "YCbCr without JPEG",
    9: "ICC Lab",
    10: "ITU Lab",
    32803: "raw sensor data (CFA)",
    32844: "LogL",
    32845: "LogLuv",
    34892: "linear raw sensor data",
}
_PILLOW_UNPACKS = frozenset({1, 2, 3, 4, 5, 8, 32773, 32946, 34925, 50000})
_JPEG = frozenset({6, 7, 99, 33007, 34892})
_BITS, _COMPRESSION, _PHOTOMETRIC, _SAMPLES, _PLANAR, _EXTRA, _FORMAT = 258, 259, 262, 277, 284, 338, 339
_UNSIGNED, _SIGNED, _FLOAT = 1, 2, 3
_PREMULTIPLIED, _ALPHA = 1, 2
_STRIP = 256
_DEPTHS = (8, 10, 12, 14, 16)

# tifffile logs what it also raises.
logging.getLogger("tifffile").addHandler(logging.NullHandler())


def pillow_reads(tags: Mapping[int, tuple[int, ...]]) -> bool:
    """Whether Pillow decodes a TIFF page with these tags correctly. Raises `PageError` if nothing here can."""
    photometric = tags.get(_PHOTOMETRIC, (BLACK_IS_ZERO,))[0]
    compression = tags.get(_COMPRESSION, (1,))[0]
    bits = tags.get(_BITS, (1,))
    if compression in _JPEG and set(bits) <= {8}:
        return True
    if photometric not in _COLOURS:
        name = _NAMES.get(photometric, f"of the unknown kind {photometric}")
        raise PageError(f"the colours of the TIFF are {name}, which cannot be read: convert it", permanent=True)
    if set(tags.get(_FORMAT, (_UNSIGNED,))) - {_UNSIGNED, 4}:
        return False
    if compression not in _PILLOW_UNPACKS:
        return False
    if photometric in {WHITE_IS_ZERO, BLACK_IS_ZERO}:
        return tags.get(_SAMPLES, (1,))[0] == 1 and bits[0] in {1, 2, 4, 8}
    plain = set(bits) == {8} and tags.get(_PLANAR, (1,))[0] == 1
    return photometric in {RGB, CMYK} and plain and _EXTRA not in tags


def tiff_pixels(stream: IO[bytes], max_pixels: int) -> Image:
    """Decodes the picture of a TIFF's first directory as stored, shape (h, w, 3); the caller has checked its size.

    Raises `PageError` if it is damaged or of an unknown kind.
    """
    from tifffile import TiffFile  # noqa: PLC0415 - half a second, for rare files

    try:
        with TiffFile(stream, _multifile=False) as file:
            page = file.pages.first
            _check(page, max_pixels, stream.seek(0, io.SEEK_END))
            values = page.asarray(maxworkers=1)
            colours = _COLOURS.get(int(page.photometric))
            if colours is None:
                raise PageError("the colours of the TIFF are of an unknown kind", permanent=True)
            values = _with_channels_last(values, page.axes)
            if page.photometric == LAB:
                values, colours = values[:, :, :1], 1  # Lightness is all that reading needs.
            extra = int(page.extrasamples[0]) if page.extrasamples and values.shape[2] > colours else 0
            if page.photometric == PALETTE:
                return _coloured(values[:, :, 0], np.asarray(page.colormap))
            bits = page.bitspersample if page.dtype is not None and page.dtype.kind == "u" else 0
            return as_bgr(values, colours=colours, alpha=extra, bits=bits, inverted=page.photometric == WHITE_IS_ZERO)
    except PageError:
        raise
    except MemoryError:
        raise PageError("the picture needs more memory than there is", permanent=True) from None
    except Exception as error:  # many kinds, from many decoders
        reason = " ".join(str(error).split()) or type(error).__name__
        raise PageError(
            f"the TIFF is damaged, or of a kind that cannot be read: {reason[:200]}", permanent=True
        ) from error


def as_bgr(values: NDArray[Any], *, colours: int, alpha: int = 0, bits: int = 0, inverted: bool = False) -> Image:
    """Converts `values` (h, w, samples) to 8-bit blue, green and red, with transparent parts as white paper.

    `bits` is the depth of unsigned samples, 0 for others. 16-bit words are taken to be as deep (8, 10, 12, 14 or 16) as
    the greatest value needs: scanners put 12 bits into them. Floats within 0..1 are taken as they are; other floats and
    negative numbers are stretched. `alpha` is 1 for premultiplied colours, 2 for others, 0 without alpha.
    """
    low, high = value_range(values[:, :, :colours], bits)
    black, white = (high, low) if inverted else (low, high)
    height, width = values.shape[:2]
    result = np.empty((height, width, 3), np.uint8)
    for top in range(0, height, _STRIP):  # As floats, a whole picture would take eight times its memory.
        strip = values[top : top + _STRIP].astype(np.float32)
        shown: NDArray[Any] = _scaled(strip[:, :, :colours], black, white) * 255
        if colours == 4:
            shown = (255 - shown[:, :, :3]) * (255 - shown[:, :, 3:]) / 255
        if alpha and values.shape[2] > colours:
            opaque = _scaled(strip[:, :, colours : colours + 1], low, high)
            shown = (shown if alpha == _PREMULTIPLIED else shown * opaque) + 255 * (1 - opaque)
        result[top : top + _STRIP] = (shown + 0.01).clip(0, 255)[:, :, ::-1]  # 254.9999 is 255.
    return result


def value_range(values: NDArray[Any], bits: int = 0) -> tuple[float, float]:
    """Returns the values that mean black and white."""
    finite = np.isfinite(values) if values.dtype.kind == "f" else True
    low = float(values.min(initial=np.inf if values.dtype.kind == "f" else np.iinfo(values.dtype).max, where=finite))
    high = float(values.max(initial=-np.inf if values.dtype.kind == "f" else np.iinfo(values.dtype).min, where=finite))
    if values.dtype.kind == "f":
        return (low, high) if low < 0 or high > 1 else (0.0, 1.0)
    if low < 0:
        return low, high
    if 0 < bits < 16:
        return 0.0, 2.0**bits - 1
    return 0.0, next((2.0**depth - 1 for depth in _DEPTHS if high < 2**depth), high)


def _scaled(values: NDArray[np.float32], black: float, white: float) -> NDArray[Any]:
    """Scales to 0..1; nan becomes black."""
    shown = (values - np.float32(black)) * np.float32(1 / ((white - black) or 1.0))
    return np.asarray(np.nan_to_num(shown, nan=0.0, posinf=1.0, neginf=0.0).clip(0, 1))


def _coloured(indexes: NDArray[Any], colours: NDArray[Any]) -> Image:
    """Looks up colours in a palette of shape (3, n). Some programs write its 16 bits as 8."""
    table = (colours if colours.max(initial=0) < 256 else colours >> 8).astype(np.uint8)
    if indexes.max(initial=0) >= table.shape[1]:
        raise PageError("the TIFF is damaged: it has colours that are not in its palette", permanent=True)
    return np.ascontiguousarray(table.T[indexes][:, :, ::-1])


def _with_channels_last(values: NDArray[Any], axes: str) -> NDArray[Any]:
    """Returns tifffile's array as (h, w, samples)."""
    for axis in "ZT":
        if axis in axes and values.shape[axes.index(axis)] == 1:
            values, axes = values.squeeze(axes.index(axis)), axes.replace(axis, "")
    match axes:
        case "YX":
            return values[:, :, np.newaxis]
        case "YXS":
            return values
        case "SYX":
            return np.moveaxis(values, 0, 2)
    raise PageError(f"the TIFF's samples lie in an order that cannot be read ({axes})", permanent=True)


def _check(page: Any, max_pixels: int, size: int) -> None:
    """Raises `PageError` if the page would take too much memory or some of its data is missing."""
    if page.dtype is None or page.dtype.kind not in "uif":
        raise PageError("the samples of the TIFF are of a kind that cannot be read", permanent=True)
    if page.nbytes > max_pixels * _MAX_BYTES_A_PIXEL:
        raise PageError(f"the picture takes {page.nbytes / 1e6:.0f} MB: reduce its depth or size", permanent=True)
    there = sum(
        max(0, min(length, size - place)) for place, length in zip(page.dataoffsets, page.databytecounts, strict=False)
    )
    wanted = sum(page.databytecounts)
    if there < wanted:
        raise PageError(f"the image is cut: {there} of {wanted} bytes are there", permanent=True)
