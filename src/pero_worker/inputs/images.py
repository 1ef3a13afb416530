"""Decodes images of any origin into upright BGR arrays; the size is checked before anything is decoded."""

from __future__ import annotations

import io
import struct
import sys
import warnings
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import IO, Any

import numpy as np
import pi_heif
from PIL import Image as Pillow
from PIL import UnidentifiedImageError

from pero_worker.errors import PageError
from pero_worker.inputs import jpeg
from pero_worker.inputs.bounds import DEFAULT_MAX_PIXELS
from pero_worker.inputs.foreign import copied_as_text
from pero_worker.inputs.headers import Header, header_of_picture, header_of_tiff, stated_orientation
from pero_worker.inputs.png import lacks_rows, without_comments
from pero_worker.inputs.samples import as_bgr, tiff_pixels
from pero_worker.inputs.tiff import TiffPage, at_directory, is_tiff, tiff_pages
from pero_worker.page import Image

_STRIP = 512

_FORMATS = ("JPEG", "PNG", "TIFF", "JPEG2000", "WEBP", "BMP", "GIF", "PPM", "HEIF", "AVIF")
_DAMAGED = (
    OSError,
    SyntaxError,  # what Pillow raises for a broken PNG
    ValueError,
    EOFError,
    IndexError,
    KeyError,
    TypeError,
    OverflowError,
    MemoryError,
    RuntimeError,  # from libavif; includes NotImplementedError
    struct.error,
    zlib.error,
)


# Our own size check comes first, is stricter, and has an option.
Pillow.MAX_IMAGE_PIXELS = None
pi_heif.register_heif_opener(thumbnails=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class PageScan:
    """A page as an upright image."""

    image: Image
    """Shape (h, w, 3): blue, green, red."""
    dpi: float | None = None
    """Horizontal resolution; None if no believable value is known."""
    aspect: float = 1.0
    """Ratio of vertical to horizontal resolution: about 0.5 for a fax, whose pixels are twice as high as wide."""


_MAX_COPIED_BYTES = 256_000_000
_NOT_ALL_ROWS = "its last rows are not there; it was not copied or downloaded completely"


def decode_image(data: bytes, *, max_pixels: int = DEFAULT_MAX_PIXELS) -> Image:
    """Decodes as `decode_scan` does, and returns only the image."""
    return decode_scan(data, max_pixels=max_pixels).image


def decode_scan(data: bytes, *, max_pixels: int = DEFAULT_MAX_PIXELS) -> PageScan:
    """Decodes the (first) picture in an image file.

    EXIF orientation is applied, transparency is put on white, other depths are scaled to 8 bits. Raises a permanent
    `PageError` if the data is empty, not an image, damaged, or larger than `max_pixels` by its own header.
    """
    if not data:
        raise PageError("the image is empty (0 bytes): it was not copied or downloaded completely", permanent=True)
    stream = io.BytesIO(data)
    return scan_of(stream, tiff_pages(stream)[0] if is_tiff(data[:4]) else None, max_pixels)


def header_of(stream: IO[bytes], page: TiffPage | None, max_pixels: int) -> Header:
    """Reads the header of the picture in `stream`, or of a TIFF page. Raises `PageError` as `decode_scan` does."""
    if page is not None:
        return header_of_tiff(page, max_pixels)
    stream.seek(0)
    try:
        with opened(stream) as picture:
            return header_of_picture(picture, max_pixels)
    except PageError:
        if (size := jpeg.deep_size(_jpeg(stream), max_pixels)) is not None:
            return Header(kind="JPEG", width=size[0], height=size[1], ordinary=False)
        raise


def check_picture(stream: IO[bytes]) -> None:
    """Raises `PageError` if, by its header, this is not a picture of a kind that is read."""
    try:
        with opened(stream):
            pass
    except PageError:
        if jpeg.deep_size(_jpeg(stream), sys.maxsize) is None:
            raise


def scan_of(stream: IO[bytes], page: TiffPage | None, max_pixels: int) -> PageScan:
    """Decodes the picture in `stream`, or one page of a TIFF. Raises `PageError` as `decode_scan` does."""
    if page is not None:
        header = header_of(stream, page, max_pixels)
        if not header.ordinary or _pillow_misses(stream):
            return _scan(tiff_pixels(at_directory(stream, page), max_pixels), header)
        return _scan_of_tiff(stream, page, header)
    stream.seek(0)
    try:
        with opened(stream) as picture:
            header = header_of_picture(picture, max_pixels)
            return _scan(_pixels(picture, stream), header)
    except PageError:
        if (image := jpeg.deep_pixels(_jpeg(stream), max_pixels)) is not None:
            return PageScan(image=image)
        raise


def _pillow_misses(stream: IO[bytes]) -> bool:
    """Whether this is a big-endian BigTIFF (made for over 4 GB), in which Pillow looks in the wrong place."""
    stream.seek(0)
    return stream.read(4) == b"MM\0+"


def _scan_of_tiff(stream: IO[bytes], page: TiffPage, header: Header) -> PageScan:
    redirected = at_directory(stream, page)
    try:
        with opened(redirected) as picture:
            pixels = _pixels(picture, redirected)
            # Pillow rotates TIFFs by itself while loading them.
            return _scan(pixels, header, turn=stated_orientation(picture) != 1)
    except PageError:
        if not page.number or hasattr(stream, "getvalue") or stream.seek(0, io.SEEK_END) > _MAX_COPIED_BYTES:
            raise
    # In an open file, libtiff reads the first directory regardless, and that may be the damaged one.
    stream.seek(0)
    return _scan_of_tiff(io.BytesIO(stream.read()), page, header)


@contextmanager
def opened(stream: IO[bytes]) -> Iterator[Any]:
    """Opens a picture without decoding it; whatever Pillow raises within the block becomes a `PageError`."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with Pillow.open(without_comments(stream), formats=_FORMATS) as picture:
                yield picture
    except PageError:
        raise
    except UnidentifiedImageError:
        raise PageError("this is not an image of a kind that can be read, or it is damaged", permanent=True) from None
    except _DAMAGED as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise PageError(f"the image is damaged: {reason[:200]}", permanent=True) from error


def _scan(stored: Image, header: Header, *, turn: bool = True) -> PageScan:
    """Returns the picture upright; without `turn` it already is."""
    aspect, dpi = header.aspect, header.dpi
    if header.orientation >= 5:
        dpi = dpi * aspect if dpi else None
        aspect = 1 / aspect
    return PageScan(image=_upright(stored, header.orientation if turn else 1), dpi=dpi, aspect=aspect)


def _upright(image: Image, orientation: int) -> Image:
    match orientation:
        case 2:
            image = image[:, ::-1]
        case 3:
            image = image[::-1, ::-1]
        case 4:
            image = image[::-1]
        case 5:
            image = image.transpose(1, 0, 2)
        case 6:
            image = np.rot90(image, -1)
        case 7:
            image = image.transpose(1, 0, 2)[::-1, ::-1]
        case 8:
            image = np.rot90(image)
    return np.ascontiguousarray(image)


def _pixels(picture: Any, stream: IO[bytes]) -> Image:
    """Decodes the picture as it is stored, in BGR."""
    if picture.format == "PNG" and (deep := _deep_png(stream)) is not None:
        return deep
    picture = _loaded(picture, stream)
    if picture.mode == "P":
        _check_palette(picture)
    if picture.format == "PNG" and _ends_in_zeros(picture) and lacks_rows(stream):
        raise PageError(f"the image is cut: {_NOT_ALL_ROWS}", permanent=True)
    if picture.mode == "F" or picture.mode.startswith("I"):
        return as_bgr(np.asarray(picture)[:, :, np.newaxis], colours=1)
    pixels = np.empty((picture.height, picture.width, 3), np.uint8)
    for top, strip in _strips(picture):
        colours = np.asarray(_eight_bits(strip))
        for channel in range(3):  # one by one takes a third of the time of reversing all
            pixels[top : top + _STRIP, :, channel] = colours[:, :, 2 - channel]
    return pixels


def _ends_in_zeros(picture: Any) -> bool:
    """Whether one of the last two rows is all zeros.

    If an interlaced picture has an odd number of rows, the last but one is the last to arrive.
    """
    ends = (picture.crop((0, row, picture.width, row + 1)) for row in range(max(0, picture.height - 2), picture.height))
    return any(end.getbbox(alpha_only=False) is None for end in ends)


def _check_palette(picture: Any) -> None:
    """Raises `PageError` if pixels use colours that the palette lacks, which would come out black."""
    colours = len(picture.palette.palette) // len(picture.palette.mode)
    missing = {number for number, count in enumerate(picture.histogram()) if count and number >= colours}
    if missing - {picture.info.get("transparency")}:
        raise PageError(
            f"the image is damaged: its palette has {colours} colours and lacks some of those used", permanent=True
        )


def _loaded(picture: Any, stream: IO[bytes]) -> Any:
    """Decodes the picture; a JPEG that lacks nothing but its end is repaired."""
    if picture.format in {"JPEG", "MPO"} and copied_as_text(_jpeg(stream)):
        raise PageError(
            "the JPEG was copied as text, which changes bytes: copy it again in binary mode", permanent=True
        )
    try:
        picture.load()
        return picture
    except OSError:
        if picture.format not in {"JPEG", "MPO"}:
            raise
    stream.seek(0)
    with opened(io.BytesIO(jpeg.mended(stream.read(), _rows))) as whole:
        return whole.copy()


def _rows(data: bytes) -> np.ndarray[Any, Any]:
    with Pillow.open(io.BytesIO(data), formats=("JPEG",)) as picture:
        return np.asarray(picture)


def _jpeg(stream: IO[bytes]) -> bytes:
    """Returns the whole file if it is a JPEG, else nothing."""
    stream.seek(0)
    head = stream.read(3)
    return head + stream.read() if head == b"\xff\xd8\xff" else b""


def _deep_png(stream: IO[bytes]) -> Image | None:
    """Decodes a 16-bit PNG in colour or with alpha; None for other files.

    Pillow would keep only the upper 8 bits, which may hold nothing.
    """
    stream.seek(0)
    head = stream.read(26)
    if len(head) < 26 or head[24] != 16 or head[25] not in {2, 4, 6}:
        return None
    import imagecodecs  # noqa: PLC0415 - for rare files

    stream.seek(0)
    try:
        values = imagecodecs.png_decode(without_comments(stream).read())
    except imagecodecs.PngError as error:
        raise PageError(f"the image is damaged: {error}", permanent=True) from error
    samples = values.shape[2]
    return as_bgr(values, colours=samples - 1 + samples % 2, alpha=2 if samples % 2 == 0 else 0, bits=16)


def _strips(picture: Pillow.Image) -> Iterator[tuple[int, Pillow.Image]]:
    """Yields the picture in strips, each with its top row: converted at once, it would be in memory three times."""
    width, height = picture.size
    for top in range(0, height, _STRIP):
        yield top, picture.crop((0, top, width, min(height, top + _STRIP)))


def _eight_bits(picture: Any) -> Any:
    """Converts to RGB, putting transparency, which `convert('RGB')` would lose, on white."""
    if picture.mode in {"RGBA", "LA", "PA", "RGBa", "La"} or "transparency" in picture.info:
        picture = picture.convert("RGBA")
        paper = Pillow.new("RGBA", picture.size, "white")
        return Pillow.alpha_composite(paper, picture).convert("RGB")
    return picture if picture.mode == "RGB" else picture.convert("RGB")
