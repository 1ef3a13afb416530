"""Images as they come from the field: one grey page in many depths, layouts and containers."""

from __future__ import annotations

import base64
import io
import struct
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import tifffile
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont, TiffImagePlugin

LINES = ("The harbour master wrote a letter", "to the council about seven ships", "that had come from the north with")
_FONT = "/usr/share/fonts/truetype/dejavu/DejaVuSerif.ttf"
Tags = Mapping[int, tuple[int, Sequence[Any]]]
"""Tags of a TIFF: type and values."""


def drawn(lines: Sequence[str] = LINES, size: tuple[int, int] = (800, 300), font: int = 40) -> Image.Image:
    """Dark letters on light paper, grey."""
    image = Image.new("L", size, 250)
    for number, line in enumerate(lines):
        pen = ImageFont.truetype(_FONT, font)
        ImageDraw.Draw(image).text((40, font + number * font * 2), line, font=pen, fill=15)
    return image


def tiff(strips: Sequence[bytes], size: tuple[int, int], tags: Tags, *, order: str = "<", big: bool = False) -> bytes:
    """A TIFF of one directory from its bytes: uncompressed, and black is zero, if `tags` say nothing else."""
    width, height = size
    entries: dict[int, tuple[int, Sequence[Any]]] = {
        256: (4, [width]),
        257: (4, [height]),
        258: (3, [8]),
        259: (3, [1]),
        262: (3, [1]),
        277: (3, [1]),
        278: (4, [height]),
        282: (5, [(300, 1)]),
        283: (5, [(300, 1)]),
        296: (3, [2]),
    }
    header = 16 if big else 8
    body, places = b"", []
    for strip in strips:
        places.append(header + len(body))
        body += strip + b"\0" * (len(strip) % 2)
    entries |= {273: (4, places), 279: (4, [len(strip) for strip in strips])} | dict(tags)
    return _head(order, big, header + len(body)) + body + directory(entries, header + len(body), order=order, big=big)


def directory(entries: Tags, place: int, *, following: int = 0, order: str = "<", big: bool = False) -> bytes:
    """An image directory that stands at `place`."""
    room, code = (8, "Q") if big else (4, "I")
    table, more = b"", b""
    tail = place + struct.calcsize(f"<{'Q' if big else 'H'}") + (12 + 2 * room - 8) * len(entries) + room
    for tag, (kind, values) in sorted(entries.items()):
        letter = {1: "B", 3: "H", 4: "I", 5: "II", 11: "f", 12: "d", 16: "Q"}[kind]
        packed = b"".join(struct.pack(order + letter, *(v if isinstance(v, tuple) else (v,))) for v in values)
        if len(packed) > room:
            value, more = struct.pack(order + code, tail + len(more)), more + packed + b"\0" * (len(packed) % 2)
        else:
            value = packed.ljust(room, b"\0")
        table += struct.pack(f"{order}HH{code}", tag, kind, len(values)) + value
    count = struct.pack(order + ("Q" if big else "H"), len(entries))
    return count + table + struct.pack(order + code, following) + more


def _head(order: str, big: bool, place: int) -> bytes:
    mark = b"II" if order == "<" else b"MM"
    if big:
        return mark + struct.pack(f"{order}HHHQ", 43, 8, 0, place)
    return mark + struct.pack(f"{order}HI", 42, place)


def packed(values: NDArray[Any], bits: int) -> bytes:
    """Rows of samples of `bits` bits each, one behind the other, each row filled up to a byte."""
    planes = (values[..., np.newaxis] >> np.arange(bits)[::-1]) & 1
    return np.packbits(planes.reshape(len(values), -1).astype(np.uint8), axis=1).tobytes()


def deep(grey: NDArray[np.uint8], bits: int) -> NDArray[np.uint16]:
    deeper: NDArray[np.uint16] = ((grey.astype(np.uint32) * (2**bits - 1) + 127) // 255).astype(np.uint16)
    return deeper


def same_page(grey: NDArray[np.uint8]) -> Iterator[tuple[str, bytes]]:
    """Files that all show `grey`."""
    yield from _by_hand(grey)
    yield from _by_tifffile(grey)
    yield from _by_pillow(grey)


def _by_hand(grey: NDArray[np.uint8]) -> Iterator[tuple[str, bytes]]:
    size = grey.shape[1], grey.shape[0]
    for bits in (2, 4, 6, 10, 12, 14):
        yield f"grey_{bits}_packed.tif", tiff([packed(deep(grey, bits), bits)], size, {258: (3, [bits])})
    for bits in (10, 12, 14, 16):
        words = deep(grey, bits)
        yield f"grey_{bits}_in_16.tif", tiff([words.tobytes()], size, {258: (3, [16])})
        yield (
            f"grey_{bits}_in_16_big_endian.tif",
            tiff([words.astype(">u2").tobytes()], size, {258: (3, [16])}, order=">"),
        )
    inverted = 4095 - deep(grey, 12)
    yield "white_is_zero_12.tif", tiff([packed(inverted, 12)], size, {258: (3, [12]), 262: (3, [0])})
    yield "bigtiff.tif", tiff([grey.tobytes()], size, {}, big=True)
    for name, alpha in (("premultiplied", 1), ("unassociated", 2), ("unspecified", 0)):
        opaque = np.stack([grey, np.full_like(grey, 255)], 2).tobytes()
        two = {258: (3, [8, 8]), 277: (3, [2]), 338: (3, [alpha])}
        yield f"grey_alpha_{name}.tif", tiff([opaque], size, two)
    # Ink in the alpha channel alone.
    ink = 255 - grey
    clear = np.stack([np.zeros_like(grey), ink], 2).tobytes()
    yield "ink_in_alpha.tif", tiff([clear], size, {258: (3, [8, 8]), 277: (3, [2]), 338: (3, [2])})
    yield "ink_in_alpha_premultiplied.tif", tiff([clear], size, {258: (3, [8, 8]), 277: (3, [2]), 338: (3, [1])})
    planes = [deep(grey, 12).tobytes()] * 3
    yield (
        "rgb_12_in_16_planar.tif",
        tiff(planes, size, {258: (3, [16] * 3), 262: (3, [2]), 277: (3, [3]), 284: (3, [2])}),
    )
    ramp = np.arange(256)
    for name, scale in (("palette_of_16_bits", 257), ("palette_of_8_bits", 1)):
        colours = np.tile(ramp[::-1] * scale, 3).tolist()
        yield f"{name}.tif", tiff([(255 - grey).tobytes()], size, {262: (3, [3]), 320: (3, colours)})
    lab = np.stack([grey, np.zeros_like(grey), np.zeros_like(grey)], 2).tobytes()
    yield "lab.tif", tiff([lab], size, {258: (3, [8] * 3), 262: (3, [8]), 277: (3, [3])})
    ink_only = np.stack([np.zeros_like(grey)] * 3 + [255 - grey], 2).tobytes()
    yield "cmyk.tif", tiff([ink_only], size, {258: (3, [8] * 4), 262: (3, [5]), 277: (3, [4])})
    rows = [row.tobytes() for row in grey]
    yield "a_strip_a_row.tif", tiff(rows, size, {278: (4, [1])})


def _by_tifffile(grey: NDArray[np.uint8]) -> Iterator[tuple[str, bytes]]:
    rgb = np.stack([grey] * 3, 2)
    wide = rgb.astype(np.uint16) * 257
    clear = np.concatenate([wide, np.full_like(wide[:, :, :1], 65535)], 2)
    cases: dict[str, tuple[NDArray[Any], dict[str, Any]]] = {
        "float16": ((grey / 255).astype(np.float16), {}),
        "float32": ((grey / 255).astype(np.float32), {}),
        "float32_to_255": (grey.astype(np.float32), {}),
        "float64_rgb": (rgb / 255, {"photometric": "rgb"}),
        "int16_around_zero": (grey.astype(np.int16) - 128, {}),
        "uint32": (grey.astype(np.uint32) * 16843009, {}),
        "rgb8_planar": (np.moveaxis(rgb, 2, 0), {"photometric": "rgb", "planarconfig": "separate"}),
        "rgb16": (wide, {"photometric": "rgb"}),
        "rgb12_in_16": (deep(grey, 12)[:, :, None].repeat(3, 2), {"photometric": "rgb"}),
        "rgba16": (clear, {"photometric": "rgb", "extrasamples": ["unassalpha"]}),
        "rgb16_lzw_predicted": (wide, {"photometric": "rgb", "compression": "lzw", "predictor": True}),
        "rgb16_planar_deflate": (
            np.moveaxis(wide, 2, 0),
            {"photometric": "rgb", "planarconfig": "separate", "compression": "adobe_deflate"},
        ),
        "grey16_tiles": (grey.astype(np.uint16) * 257, {"tile": (64, 64), "compression": "packbits"}),
        "grey8_tiles_zstd": (grey, {"tile": (128, 128), "compression": "zstd"}),
        "cmyk16_planar": (
            np.stack([np.zeros_like(grey)] * 3 + [255 - grey]).astype(np.uint16) * 257,
            {"photometric": "separated", "planarconfig": "separate"},
        ),
        "float32_predicted": ((grey / 255).astype(np.float32), {"compression": "adobe_deflate", "predictor": True}),
        "jpeg_in_tiff": (rgb, {"photometric": "rgb", "compression": "jpeg"}),
        "jpeg2000_in_tiff": (rgb, {"photometric": "rgb", "compression": "jpeg2000"}),
        "webp_in_tiff": (rgb, {"photometric": "rgb", "compression": "webp"}),
    }
    for name, (values, options) in cases.items():
        target = io.BytesIO()
        tifffile.imwrite(target, values, metadata=None, **({"photometric": "minisblack"} | options))
        yield f"{name}.tif", target.getvalue()


def _by_pillow(grey: NDArray[np.uint8]) -> Iterator[tuple[str, bytes]]:
    picture = Image.fromarray(grey)
    for name, image in (
        ("grey_12_in_16.png", Image.fromarray(deep(grey, 12))),
        ("grey_alpha.png", Image.merge("LA", (picture, Image.new("L", picture.size, 255)))),
        ("photo.jfif", picture.convert("RGB")),
        ("photo.avif", picture.convert("RGB")),
        ("photo.jp2", picture),
        ("page.pnm", picture),
        ("page.webp", picture.convert("RGB")),
    ):
        kind = {"jfif": "JPEG", "jp2": "JPEG2000", "pnm": "PPM"}.get(name[-4:].strip("."), name.rpartition(".")[2])
        yield name, encoded(image, kind)
    import imagecodecs  # noqa: PLC0415

    twelve = deep(grey, 12)
    yield "rgb_12_in_16.png", bytes(imagecodecs.png_encode(twelve[:, :, None].repeat(3, 2)))
    yield "grey_alpha_16.png", bytes(imagecodecs.png_encode(np.stack([twelve, np.full_like(twelve, 4095)], 2)))
    yield "twelve_bits.jpg", bytes(imagecodecs.jpeg_encode(twelve, level=95, bitspersample=12))
    yield "page12.pgm", b"P5 %d %d 4095\n" % picture.size + twelve.astype(">u2").tobytes()
    jpeg = encoded(picture, "JPEG", quality=92)
    yield "no_end.jpg", jpeg[:-2]
    yield "no_end_progressive.jpg", encoded(picture, "JPEG", quality=92, progressive=True)[:-2]
    mpo = io.BytesIO()
    picture.convert("RGB").save(mpo, "MPO", save_all=True, append_images=[Image.new("RGB", picture.size)])
    yield "photo.mpo", mpo.getvalue()


def encoded(picture: Image.Image, kind: str, **options: Any) -> bytes:
    target = io.BytesIO()
    picture.save(target, kind, **options)
    return target.getvalue()


def frames(*images: tuple[Image.Image, int]) -> bytes:
    """A TIFF of several images, each with its NewSubfileType (0 picture, 1 reduced, 2 page, 4 mask)."""
    target = io.BytesIO()
    with TiffImagePlugin.AppendingTiffWriter(target, new=True) as writer:
        for image, kind in images:
            tags = TiffImagePlugin.ImageFileDirectory_v2()
            tags[254] = kind
            image.save(writer, format="TIFF", tiffinfo=tags, dpi=(300, 300))
            writer.newFrame()
        return target.getvalue()


def directory_places(data: bytes) -> list[int]:
    """Where the directories of a little-endian TIFF begin."""
    places, place = [], struct.unpack_from("<I", data, 4)[0]
    while place:
        places.append(place)
        count = struct.unpack_from("<H", data, place)[0]
        place = struct.unpack_from("<I", data, place + 2 + 12 * count)[0]
    return places


def chain(count: int) -> bytes:
    """A TIFF of `count` pages of 8 x 8 pixels."""
    body = bytes(64)
    entries: Iterable[tuple[int, int]] = (
        (256, 8), (257, 8), (258, 8), (259, 1), (262, 1), (273, 8), (277, 1), (278, 8), (279, 64),
    )  # fmt: skip
    table = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in entries)
    length = 2 + len(table) + 4
    parts = [b"II*\0", struct.pack("<I", 72), body]
    for number in range(count):
        following = 72 + (number + 1) * length if number + 1 < count else 0
        parts.append(struct.pack("<H", len(table) // 12) + table + struct.pack("<I", following))
    return b"".join(parts)


HEIC = base64.b64decode(
    """
    AAAAHGZ0eXBoZWljAAAAAG1pZjFoZWljbWlhZgAAAVZtZXRhAAAAAAAAACFoZGxyAAAAAAAAAABwaWN0AAAAAAAAAAAAAAAAAAAA
    ACJpbG9jAAAAAERAAAEAAQAAAAABegABAAAAAAAAAEkAAAAjaWluZgAAAAAAAQAAABVpbmZlAgAAAAABAABodmMxAAAAAA5waXRt
    AAAAAAABAAAA1mlwcnAAAAC3aXBjbwAAAHhodmNDAQNwAAAAkAAAAAAAHvAA/P34+AAADwNgAAEAGEABDAH//wNwAAADAJAAAAMA
    AAMAHroCQGEAAQArQgEBA3AAAAMAkAAAAwAAAwAeoDCBBZbqSSmubgIaDAgAAAMAyAAAAwAIQGIAAQAHRAHBcrAiQAAAABNjb2xy
    bmNseAABAA0ABoAAAAAUaXNwZQAAAAAAAABgAAAAQAAAABBwaXhpAAAAAAMICAgAAAAXaXBtYQAAAAAAAAABAAEEgQIDBAAAAFFt
    ZGF0AAAARSgBrwngFazWl4x8C1PT/V6j+x8hHSiAk7s6PqHkgDzPE1OAGMedAm/89vhuFqIBlPi5Gz8hlisGD28Jsaj9vMp+2LtW
    uA==
    """
)
"""96 x 64 pixels of light grey with a red part (8, 8) to (40, 24): libheif's decoder comes without an encoder."""
