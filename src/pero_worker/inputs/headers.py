"""What pictures say about themselves before they are decoded: size, resolution, which way is up."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from pero_worker.errors import PageError
from pero_worker.inputs.samples import pillow_reads
from pero_worker.inputs.tiff import TiffPage

ORIENTATION_TAG = 274
_WIDTH, _HEIGHT, _ACROSS, _DOWN, _UNIT = 256, 257, 282, 283, 296
_INCHES, _CENTIMETRES = 2, 3
_TILE_WIDTH, _TILE_HEIGHT = 322, 323
_MAX_TILE = 8192
"""By how many pixels a tile may exceed its picture: decoders hold a whole tile in memory."""
_SANE_DPI = (30, 2400)
_SANE_ASPECT = (0.25, 4.0)
_SQUARE = 1.03
"""Pixels whose width and height differ by less than this factor are taken as square."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Header:
    """What a picture says about itself."""

    kind: str
    """Pillow's name for the format."""
    width: int
    """Width in pixels, as stored."""
    height: int
    """Height in pixels, as stored."""
    orientation: int = 1
    """Orientation as EXIF numbers it, 1 to 8."""
    dpi: float | None = None
    """Horizontal resolution, as stored; None if no believable value is known."""
    aspect: float = 1.0
    """Ratio of vertical to horizontal resolution, as stored."""
    number: int = 0
    """Number of its directory in a TIFF, from 0."""
    ordinary: bool = True
    """Whether Pillow decodes it correctly."""


def header_of_picture(picture: Any, max_pixels: int) -> Header:
    """Reads the header of a picture opened by Pillow. Raises `PageError` if it is larger than `max_pixels`."""
    _check_size(picture.width, picture.height, max_pixels)  # Before EXIF, which decodes a PNG.
    across, down = _density(picture.info)
    return Header(
        kind=picture.format or "",
        width=picture.width,
        height=picture.height,
        orientation=stated_orientation(picture),
        dpi=_sane_dpi(picture.info.get("dpi", (0, 0))),
        aspect=_aspect(across, down),
    )


def stated_orientation(picture: Any) -> int:
    """Returns the orientation that EXIF states, or 1 if the EXIF is damaged, which says nothing about the picture."""
    if picture.format == "PNG":
        picture.load()  # EXIF may follow the pixels; an error here is about those, so it is not caught.
    try:
        orientation = picture.getexif().get(ORIENTATION_TAG, 1)
    except Exception:
        return 1
    return orientation if orientation in range(1, 9) else 1


def _density(info: dict[Any, Any]) -> tuple[float, float]:
    """Returns horizontal and vertical density, in whatever unit: JPEG and PNG may state only their ratio."""
    for name in ("dpi", "aspect", "jfif_density"):
        try:
            across, down = (float(value) for value in info[name])
        except (KeyError, TypeError, ValueError, ZeroDivisionError):
            continue
        return across, down
    return 0.0, 0.0


def header_of_tiff(page: TiffPage, max_pixels: int) -> Header:
    """Reads the header of a TIFF page. Raises `PageError` if it is damaged or larger than `max_pixels`."""
    header = _told_by(page)
    _check_size(header.width, header.height, max_pixels)
    for side, tile in ((header.width, _TILE_WIDTH), (header.height, _TILE_HEIGHT)):
        if page.tags.get(tile, (0,))[0] > side + _MAX_TILE:
            raise PageError("the TIFF is damaged: its tiles are far larger than the picture", permanent=True)
    return header


def _told_by(page: TiffPage) -> Header:
    if page.damage:
        raise PageError(page.damage, permanent=True)
    tags = page.tags
    across, down = (_fraction(tags.get(tag, ())) for tag in (_ACROSS, _DOWN))
    inches = {_INCHES: 1.0, _CENTIMETRES: 2.54}.get(tags.get(_UNIT, (_INCHES,))[0], 0.0)
    orientation = tags.get(ORIENTATION_TAG, (1,))[0]
    return Header(
        kind="TIFF",
        width=tags.get(_WIDTH, (0,))[0],
        height=tags.get(_HEIGHT, (0,))[0],
        orientation=orientation if orientation in range(1, 9) else 1,
        dpi=_sane_dpi((across * inches,)),
        aspect=_aspect(across, down),
        number=page.number,
        ordinary=pillow_reads(tags),
    )


def _fraction(parts: tuple[int, ...]) -> float:
    return parts[0] / parts[1] if len(parts) > 1 and parts[1] else 0.0


def _sane_dpi(dpi: Any) -> float | None:
    """Returns the resolution that an image states if it is believable, else None."""
    try:
        across = float(dpi[0])
    except (TypeError, ValueError, IndexError, ZeroDivisionError):
        return None
    return across if _SANE_DPI[0] <= across <= _SANE_DPI[1] else None  # False for nan, from x/0 in a TIFF


def _aspect(across: float, down: float) -> float:
    aspect = down / across if across > 0 and down > 0 else 1.0
    return 1.0 if not _SANE_ASPECT[0] <= aspect <= _SANE_ASPECT[1] or 1 / _SQUARE < aspect < _SQUARE else aspect


def _check_size(width: int, height: int, max_pixels: int) -> None:
    if width < 1 or height < 1:
        raise PageError(f"the image is damaged: it says that it has {width} x {height} pixels", permanent=True)
    if width * height > max_pixels:
        raise PageError(
            f"the image has {width} x {height} pixels, more than the {max_pixels / 1e6:g} megapixels allowed; "
            "if it is real, raise --max-megapixels",
            permanent=True,
        )
