"""Decodes images of any origin into upright BGR arrays; the size is checked before anything is decoded."""

from __future__ import annotations

import io
import struct
import warnings
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO

import numpy as np
from PIL import Image as Pillow
from PIL import ImageOps, UnidentifiedImageError

from pero_worker.errors import PageError
from pero_worker.page import Image

DEFAULT_MAX_PIXELS = 120_000_000
"""A newspaper page at 400 dpi. Decoding takes 7 bytes a pixel at most, 3 of which are the result."""

_STRIP = 512
_PNG = b"\x89PNG\r\n\x1a\n"
_PNG_UNUSED = frozenset({b"tEXt", b"zTXt", b"iTXt", b"iCCP"})

_FORMATS = ("JPEG", "PNG", "TIFF", "JPEG2000", "WEBP", "BMP", "GIF", "PPM")
_PHOTOMETRIC = 262
_SANE_DPI = (30, 2400)
_DAMAGED = (
    OSError,
    SyntaxError,  # Pillow's word for a broken PNG
    ValueError,
    EOFError,
    IndexError,
    KeyError,
    TypeError,
    OverflowError,
    MemoryError,
    NotImplementedError,
    struct.error,
    zlib.error,
)


# Our own check of the size comes first, is stricter, and has an option.
Pillow.MAX_IMAGE_PIXELS = None


def decode_image(data: bytes, *, max_pixels: int = DEFAULT_MAX_PIXELS) -> Image:
    """The (first) picture in an encoded image file, shape (h, w, 3).

    EXIF orientation is applied, transparency is put on white, 16 bits and floats are scaled to 8. PageError
    (permanent): empty, not an image, damaged, or larger than `max_pixels` by its own header.
    """
    if not data:
        raise PageError("the image is empty (0 bytes): it was not copied or downloaded completely", permanent=True)
    with opened(io.BytesIO(data)) as picture:
        return pixels_of(picture, max_pixels)


@contextmanager
def opened(stream: IO[bytes]) -> Iterator[Pillow.Image]:
    """A picture opened but not decoded; whatever Pillow raises within the block is a PageError."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with Pillow.open(_without_comments(stream), formats=_FORMATS) as picture:
                yield picture
    except PageError:
        raise
    except UnidentifiedImageError:
        raise PageError("this is not an image of a kind that can be read, or it is damaged", permanent=True) from None
    except _DAMAGED as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise PageError(f"the image is damaged: {reason[:200]}", permanent=True) from error


def pixels_of(picture: Pillow.Image, max_pixels: int) -> Image:
    """The current frame of an opened picture, upright, BGR."""
    width, height = picture.size
    if width < 1 or height < 1 or width * height > max_pixels:
        raise PageError(
            f"the image has {width} x {height} pixels, more than the {max_pixels / 1e6:g} megapixels allowed; "
            "if it is real, raise --max-megapixels",
            permanent=True,
        )
    ImageOps.exif_transpose(picture, in_place=True)
    scale = _scale_of(picture)
    width, height = picture.size
    pixels = np.empty((height, width, 3), np.uint8)
    for top, strip in _strips(picture):
        pixels[top : top + _STRIP] = np.asarray(_eight_bits(strip, scale))[:, :, ::-1]
    return pixels


def _strips(picture: Pillow.Image) -> Iterator[tuple[int, Pillow.Image]]:
    """The picture in pieces, each with its top: to convert it at once would hold it in memory three times."""
    width, height = picture.size
    for top in range(0, height, _STRIP):
        yield top, picture.crop((0, top, width, min(height, top + _STRIP)))


def dpi_of(picture: Pillow.Image) -> float | None:
    """The resolution an image states, when it is believable."""
    try:
        dpi = float(picture.info["dpi"][0])
    except (KeyError, TypeError, ValueError, IndexError, ZeroDivisionError):
        return None
    return dpi if _SANE_DPI[0] <= dpi <= _SANE_DPI[1] else None  # nan, from x/0 in a TIFF, is neither


def _without_comments(stream: IO[bytes]) -> IO[bytes]:
    """A PNG without texts and colour profile, which may unpack to any size and are unused here; others as they are."""
    head = stream.read(len(_PNG))
    stream.seek(0)
    if head != _PNG:
        return stream
    kept = io.BytesIO()
    kept.write(stream.read(len(_PNG)))
    while len(start := stream.read(8)) == 8:
        length, kind = struct.unpack(">I4s", start)
        if kind in _PNG_UNUSED:
            stream.seek(length + 4, io.SEEK_CUR)
        else:
            kept.write(start)
            kept.write(stream.read(length + 4))
    kept.seek(0)
    return kept


def _scale_of(picture: Pillow.Image) -> tuple[float, float] | None:
    """For a mode with more than 8 bits: the values that become black and white.

    Floats in 0..1 mean just that, others are stretched; integers are 16 bits wide unless all fit in 8, or do not
    fit in 16. A TIFF may say that 0 is white; Pillow heeds that only up to 8 bits.
    """
    scale = _range_of(picture)
    white_is_zero = getattr(picture, "tag_v2", {}).get(_PHOTOMETRIC) == 0
    return (scale[1], scale[0]) if scale and white_is_zero else scale


def _range_of(picture: Pillow.Image) -> tuple[float, float] | None:
    if picture.mode != "F" and not picture.mode.startswith("I"):
        return None
    low, high = np.inf, -np.inf
    for _, strip in _strips(picture):
        values = np.asarray(strip, np.float32)
        finite = np.isfinite(values)
        low = min(low, float(values.min(initial=np.inf, where=finite)))
        high = max(high, float(values.max(initial=-np.inf, where=finite)))
    if picture.mode == "F":
        return (low, high) if low < 0 or high > 1 else (0.0, 1.0)
    return (0.0, 255.0) if picture.mode == "I" and high <= 255 else (0.0, max(65535.0, high))


def _eight_bits(picture: Pillow.Image, scale: tuple[float, float] | None) -> Pillow.Image:
    """RGB, with what `convert('RGB')` would clip or lose done properly."""
    if scale is not None:
        low, high = scale
        values = np.nan_to_num(np.asarray(picture, np.float32), nan=low, posinf=high, neginf=low)
        grey = ((values - low) * (255.0 / ((high - low) or 1.0))).clip(0, 255).astype(np.uint8)
        return Pillow.fromarray(grey).convert("RGB")
    if picture.mode in {"RGBA", "LA", "PA", "RGBa", "La"} or "transparency" in picture.info:
        picture = picture.convert("RGBA")
        paper = Pillow.new("RGBA", picture.size, "white")
        return Pillow.alpha_composite(paper, picture).convert("RGB")
    return picture if picture.mode == "RGB" else picture.convert("RGB")
