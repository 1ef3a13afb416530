"""JPEGs that Pillow refuses: without their end, or with more than 8 bits."""

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
"""More picture than there is: where something is missing, it changes what is decoded."""
_ENOUGH = 0.99
"""Of the rows. The last ones are margin."""
_SCAN = 0xDA
_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}


def mended(data: bytes, decode: Callable[[bytes], NDArray[Any]]) -> bytes:
    """A JPEG without its end, with one; `decode` makes rows of pixels of a JPEG. PageError: too much is missing.

    What is missing is not seen in what a decoder makes of it: it fills the rest with grey. Other bytes in its place
    change that rest, and nothing where the picture was complete.
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
    """Whether the picture ends with the marker that says so; other data may follow."""
    scan = next((place for kind, place in _segments(data) if kind == _SCAN), len(data))
    return data.find(_END, scan) >= 0


def size_and_depth(data: bytes) -> tuple[int, int, int]:
    """Width, height and bits a sample by the frame header; zeros: there is none."""
    for kind, place in _segments(data):
        frame = data[place + 4 : place + 9]
        if kind in _FRAMES and len(frame) == 5:
            return int.from_bytes(frame[3:5], "big"), int.from_bytes(frame[1:3], "big"), frame[0]
    return 0, 0, 0


def _segments(data: bytes) -> Iterator[tuple[int, int]]:
    """The markers before the picture's data, and the first of those, with their places."""
    place = 2
    while place + 4 <= len(data) and data[place] == 0xFF:
        yield data[place + 1], place
        if data[place + 1] == _SCAN:
            return
        place += 2 + int.from_bytes(data[place + 2 : place + 4], "big")


def deep_size(data: bytes, max_pixels: int) -> tuple[int, int] | None:
    """Width and height of a JPEG of more than 8 bits; None: it is none, or larger than allowed."""
    width, height, bits = size_and_depth(data)
    return (width, height) if 8 < bits <= 16 and 0 < width * height <= max_pixels else None


def deep_pixels(data: bytes, max_pixels: int) -> Image | None:
    """The picture of a JPEG of more than 8 bits; None: it is none, or larger than allowed."""
    if deep_size(data, max_pixels) is None:
        return None
    bits = size_and_depth(data)[2]
    import imagecodecs  # noqa: PLC0415 - for rare files

    try:
        values = imagecodecs.jpeg_decode(data)
    except Exception:  # of many kinds
        return None
    values = values[:, :, np.newaxis] if values.ndim == 2 else values
    return as_bgr(values, colours=values.shape[2], bits=bits) if values.shape[2] in {1, 3} else None
