"""JPEGs that Pillow refuses: those without an end, or with more than 8 bits per sample."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pero_worker.errors import PageError
from pero_worker.inputs.samples import as_bgr
from pero_worker.page import Image

_END = b"\xff\xd9"
_PROBE = b"\x5a\xa5\x3c" * 400
"""Appended as picture data: if some of the picture is missing, it changes what is decoded."""
_ENOUGH = 0.99
"""Share of the rows that must be present. The last ones are margin."""
_SCAN = 0xDA
_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}


def mended(data: bytes, decode: Callable[[bytes], NDArray[Any]]) -> bytes:
    """Adds the missing end to a JPEG; `decode` turns a JPEG into rows of pixels.

    The decoded picture alone does not show what is missing, because the decoder fills the rest with grey. Other bytes
    in place of the missing ones change that rest, and change nothing if the picture was complete. Raises `PageError` if
    too much is missing.
    """
    rows = decode(data + _END)
    other = decode(data + _PROBE + _END)
    differ = np.flatnonzero((rows != other).reshape(len(rows), -1).any(axis=1))
    there = int(differ[0]) if len(differ) else len(rows)
    if there < _ENOUGH * len(rows):
        raise PageError(
            f"the image is cut: {there} of its {len(rows)} rows are there; it was not copied or downloaded completely",
            permanent=True,
        )
    return data + _END


def has_end(data: bytes) -> bool:
    """Whether the picture has its end marker; other data may follow."""
    scan = next((place for kind, place in _segments(data) if kind == _SCAN), len(data))
    return data.find(_END, scan) >= 0


def size_and_depth(data: bytes) -> tuple[int, int, int]:
    """Returns width, height and bits per sample from the frame header; zeros if there is none."""
    for kind, place in _segments(data):
        frame = data[place + 4 : place + 9]
        if kind in _FRAMES and len(frame) == 5:
            return int.from_bytes(frame[3:5], "big"), int.from_bytes(frame[1:3], "big"), frame[0]
    return 0, 0, 0


def _segments(data: bytes) -> Iterator[tuple[int, int]]:
    """Yields the markers, with their places, up to and including the one that starts the picture's data."""
    place = 2
    while place + 4 <= len(data) and data[place] == 0xFF:
        yield data[place + 1], place
        if data[place + 1] == _SCAN:
            return
        place += 2 + int.from_bytes(data[place + 2 : place + 4], "big")


def deep_size(data: bytes, max_pixels: int) -> tuple[int, int] | None:
    """Returns the size of a JPEG with more than 8 bits per sample; None if it is not one, or larger than allowed."""
    width, height, bits = size_and_depth(data)
    return (width, height) if 8 < bits <= 16 and 0 < width * height <= max_pixels else None


def deep_pixels(data: bytes, max_pixels: int) -> Image | None:
    """Decodes a JPEG with more than 8 bits per sample; None if it is not one, or larger than allowed."""
    if deep_size(data, max_pixels) is None:
        return None
    bits = size_and_depth(data)[2]
    import imagecodecs  # noqa: PLC0415 - for rare files

    try:
        values = imagecodecs.jpeg_decode(data)
    except Exception:  # many kinds are possible
        return None
    values = values[:, :, np.newaxis] if values.ndim == 2 else values
    return as_bgr(values, colours=values.shape[2], bits=bits) if values.shape[2] in {1, 3} else None
