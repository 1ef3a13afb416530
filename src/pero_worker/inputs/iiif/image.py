"""IIIF Image API 1 to 3: the addresses that a picture can be requested at, best first."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from pero_worker.errors import UsageError
from pero_worker.inputs.books import Picture
from pero_worker.inputs.iiif.resources import as_list

_SIZE = re.compile(
    r"max|pct:[0-9]{1,3}(\.[0-9]{1,4})?|[1-9][0-9]{0,5},|,[1-9][0-9]{0,5}|!?[1-9][0-9]{0,5},[1-9][0-9]{0,5}"
)
_MAX_SIDE = 1_000_000
_TILE = 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageDescription:
    """What an info.json says."""

    version: int
    """Version of the Image API: 1, 2 or 3."""
    level: int
    """Compliance level; a service of level 0 answers only what it lists."""
    width: int
    """Width of the whole picture in pixels."""
    height: int
    """Height of the whole picture in pixels."""
    max_width: int = 0
    """Greatest width of a response in pixels; 0 for any."""
    max_height: int = 0
    """Greatest height of a response in pixels; 0 for any."""
    max_area: int = 0
    """Greatest area of a response in pixels; 0 for any."""
    sizes: tuple[tuple[int, int], ...] = ()
    """Sizes of whole pictures that are ready."""
    tile: tuple[int, int] = (0, 0)
    """Width and height of the tiles at full size; (0, 0) if none are named."""
    cuts: bool = False
    """Whether any region can be requested."""

    def served(self, width: int, height: int, *, strictly: bool = False) -> tuple[int, int]:
        """Returns the largest size at which a region of `width` x `height` pixels is served.

        With `strictly`, a greatest height that is not named is taken to be the greatest width.
        """
        shrink = 1.0
        max_height = self.max_height or (self.max_width if strictly else 0)
        if self.max_width:
            shrink = min(shrink, self.max_width / width)
        if max_height:
            shrink = min(shrink, max_height / height)
        if self.max_area:
            shrink = min(shrink, math.sqrt(self.max_area / (width * height)))
        return max(1, int(width * shrink + 1e-6)), max(1, int(height * shrink + 1e-6))


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """An address to try, and what is left to do with the picture it returns."""

    url: str
    """The complete address."""
    region: str = ""
    """Region that is still to be cut out."""
    rotation: int = 0
    """Rotation that is still to be applied, in degrees clockwise."""
    smaller: bool = False
    """Whether the picture is smaller than the one asked for, as far as is known."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tile:
    """A piece of a picture at full size."""

    url: str
    """The complete address."""
    left: int
    """Its left edge in the picture, in pixels."""
    top: int
    """Its top edge in the picture, in pixels."""
    width: int
    """Its width in pixels."""
    height: int
    """Its height in pixels."""


def check_size(size: str) -> str:
    """Returns `size` if the Image API takes it. Raises `UsageError` if it is not a size."""
    if not _SIZE.fullmatch(size):
        raise UsageError(f"--iiif-size {size}: write max, 2000, (width), ,3000 (height), !2000,2000 or pct:50")
    return size


def description_of(document: Any) -> ImageDescription:
    """Reads an info.json. Raises `ValueError` if it is not one."""
    if not isinstance(document, dict):
        raise ValueError("the description of the picture is not an object")
    width, height = _pixels(document.get("width")), _pixels(document.get("height"))
    if not width or not height:
        raise ValueError("the description of the picture tells no size")
    limits: dict[str, Any] = dict(document)
    profiles = as_list(document.get("profile"))
    for profile in profiles:
        if isinstance(profile, dict):
            limits.update({k: v for k, v in profile.items() if k in {"maxWidth", "maxHeight", "maxArea"}})
    level = max((_level(profile) for profile in profiles if isinstance(profile, str)), default=0)
    supported = {
        str(name)
        for names in (document.get("extraFeatures"), *(p.get("supports") for p in profiles if isinstance(p, dict)))
        for name in as_list(names)
    }
    sizes = (
        (_pixels(s.get("width")), _pixels(s.get("height")))
        for s in as_list(document.get("sizes"))
        if isinstance(s, dict)
    )
    return ImageDescription(
        version=_version(document),
        level=level,
        width=width,
        height=height,
        max_width=_pixels(limits.get("maxWidth")),
        max_height=_pixels(limits.get("maxHeight")),
        max_area=_pixels(limits.get("maxArea"), _MAX_SIDE**2),
        sizes=tuple(sorted((size for size in sizes if all(size)), reverse=True)[:100]),
        tile=_tile(document),
        cuts=level >= 1 or "regionByPx" in supported,
    )


def base_of(service: str) -> str:
    """Removes '/info.json' from the end, and keeps the rest byte for byte."""
    return service.removesuffix("info.json").removesuffix("/") if service.endswith("/info.json") else service


def description_urls(service: str) -> tuple[str, ...]:
    """Returns where a service describes its picture.

    Ids that end in a slash are joined as browsers do, then as written.
    """
    base = base_of(service)
    return (f"{base}info.json", f"{base}/info.json") if base.endswith("/") else (f"{base}/info.json",)


def candidates(picture: Picture, description: ImageDescription | None, size: str = "max") -> Iterator[Candidate]:
    """Yields the addresses of `picture`, best first; without `description`, as the document gives them."""
    if picture.service and description:
        yield from _of_service(picture, description, size)
    if picture.url:
        done = picture.url_is_part
        region, rotation = ("", 0) if done else (picture.region, picture.rotation)
        yield Candidate(url=picture.url, region=region, rotation=rotation, smaller=description is not None)
    if picture.service and description and not description.cuts and size == "max":
        base, quality = base_of(picture.service.id).rstrip("/"), _quality(description)
        for width, height in description.sizes:
            for written in (f"{width},{height}", f"{width},"):
                url = f"{base}/full/{written}/0/{quality}.jpg"
                yield Candidate(url=url, rotation=picture.rotation, smaller=True)
    if picture.service and description is None:
        base = base_of(picture.service.id).rstrip("/")
        for full in ("max", "full"):
            url = f"{base}/{picture.region or 'full'}/{full}/{picture.rotation}/default.jpg"
            yield Candidate(url=url)


def tiles(picture: Picture, description: ImageDescription) -> tuple[Tile, ...]:
    """Returns the tiles of the whole picture, or of its region.

    Returns () if they would give no more than a single response does.
    """
    left, top, width, height = _box(picture.region, description)
    if picture.service is None or (description.served(width, height) == (width, height) and description.level > 0):
        return ()
    step_x, step_y = description.tile
    if not description.cuts and (not step_x or picture.region or (width, height) in description.sizes):
        return ()
    step_x, step_y = description.served(step_x or _TILE, step_y or _TILE, strictly=True)
    base, quality = base_of(picture.service.id).rstrip("/"), _quality(description)
    found = []
    for y in range(top, top + height, step_y):
        for x in range(left, left + width, step_x):
            across, down = min(step_x, left + width - x), min(step_y, top + height - y)
            size = f"{across},{down}" if description.version == 3 else f"{across},"
            url = f"{base}/{x},{y},{across},{down}/{size}/0/{quality}.jpg"
            found.append(Tile(url=url, left=x - left, top=y - top, width=across, height=down))
    return tuple(found)


def _of_service(picture: Picture, description: ImageDescription, size: str) -> Iterator[Candidate]:
    assert picture.service is not None  # noqa: S101 - for the type checker
    base, quality = base_of(picture.service.id).rstrip("/"), _quality(description)
    _, _, width, height = _box(picture.region, description)
    region = picture.region if picture.region and description.cuts else "full"
    left = "" if region != "full" else picture.region
    # Level 1 does not require rotation.
    rotation = picture.rotation if description.level >= 2 and not left else 0
    turned = picture.rotation - rotation
    for written in _sizes(description, size, width, height, whole=region == "full"):
        url = f"{base}/{region}/{written}/{rotation}/{quality}.jpg"
        yield Candidate(url=url, region=left, rotation=turned)


def _sizes(description: ImageDescription, size: str, width: int, height: int, *, whole: bool) -> Iterator[str]:
    if size != "max":
        yield size
        return
    across, down = description.served(width, height)
    strict, strict_down = description.served(width, height, strictly=True)
    if description.version == 3:
        yield "max"
    elif (across, down) == (width, height):
        yield "full"
        if description.version == 2:
            yield "max"
    else:
        yield from dict.fromkeys((f"{across},", f"{strict},", "full"))
    if description.level > 0 or not whole:
        yield f"{strict},{strict_down}" if description.version == 3 else f"{strict},"


def _box(region: str, description: ImageDescription) -> tuple[int, int, int, int]:
    """Returns left, top, width and height of a region, kept within the picture."""
    if not region:
        return 0, 0, description.width, description.height
    left, top, width, height = (int(number) for number in region.split(","))
    left, top = min(left, description.width - 1), min(top, description.height - 1)
    return left, top, min(width, description.width - left), min(height, description.height - top)


def _quality(description: ImageDescription) -> str:
    return "native" if description.version == 1 else "default"


def _version(document: dict[str, Any]) -> int:
    kind = str(document.get("type", document.get("@type", "")))
    if kind.startswith("ImageService") and kind[-1] in "123":
        return int(kind[-1])
    texts = (*as_list(document.get("@context")), *as_list(document.get("profile")))
    text = " ".join(text for text in texts if isinstance(text, str))
    if "image/3" in text:
        return 3
    if "image/2" in text or (not text and "protocol" in document):
        return 2
    return 1 if "image-api/1" in text or "image/1" in text or "protocol" not in document else 2


def _level(profile: str) -> int:
    found = re.search(r"level([012])", profile)
    return int(found[1]) if found else 0


def _tile(document: dict[str, Any]) -> tuple[int, int]:
    for tile in as_list(document.get("tiles")):
        if isinstance(tile, dict) and 1 in as_list(tile.get("scaleFactors")):
            width = _pixels(tile.get("width"))
            return width, _pixels(tile.get("height")) or width
    width = _pixels(document.get("tile_width"))
    return width, _pixels(document.get("tile_height")) or width


def _pixels(value: Any, most: int = _MAX_SIDE) -> int:
    if isinstance(value, str) and re.fullmatch(r"[0-9]{1,13}", value):
        value = int(value)
    return int(value) if isinstance(value, int | float) and 0 < value <= most else 0
