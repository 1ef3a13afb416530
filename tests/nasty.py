"""Broken and odd inputs, made from a drawn picture, each with what it must give."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

TEXT = (
    "The library keeps every page it scans.",
    "A page without text is still a page,",
    "and nobody should lose it on the way.",
    "Reading machines see black and white,",
    "old paper is brown and never flat.",
    "Whoever counts the lines of this page",
    "will find that there are a dozen here,",
    "drawn large enough for any engine.",
    "The letters stand on straight lines,",
    "with much room between one another,",
    "so that what fails is not the reading",
    "but the file that carries the words.",
)
_FONT = "/usr/share/fonts/truetype/dejavu/DejaVuSerif.ttf"
EXIF_UNDONE_BY = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_90,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_270,
}
"""How an upright picture is stored under each EXIF orientation."""

Case = tuple[str, bytes, str]
"""File name, content, and what must come of it: text, empty, error or any."""


def draw_text_picture() -> Image.Image:
    """A page of 1600 x 1146 pixels with a dozen lines, grey paper, RGB."""
    picture = Image.new("RGB", (1600, 1146), (238, 234, 226))
    pen = ImageDraw.Draw(picture)
    font = ImageFont.truetype(_FONT, 46)
    for number, line in enumerate(TEXT):
        pen.text((140, 60 + 86 * number), line, (24, 22, 20), font)
    return picture


def encoded(picture: Image.Image, kind: str, **options: object) -> bytes:
    target = io.BytesIO()
    picture.save(target, kind, **options)
    return target.getvalue()


def cases(picture: Image.Image) -> Iterator[Case]:
    """Everything; `picture` is RGB with text."""
    yield from _readable(picture)
    yield from _strange(picture)
    yield from _broken(picture)
    yield from _bombs()
    small = encoded(picture.resize((1200, 860)), "JPEG")
    for name in ("name with spaces & ünïcödé, 100%.jpg", "-rf.jpg", "quote'\"$(id).jpg", "x" * 200 + ".jpg"):
        yield name, small, "text"


def _readable(picture: Image.Image) -> Iterator[Case]:
    grey = picture.convert("L")
    values = np.asarray(grey)
    wide = Image.fromarray(values.astype(np.uint16) * 257)
    ink = Image.fromarray(255 - values)
    black = Image.new("L", picture.size, 0)
    turned = Image.Exif()
    turned[0x0112] = 6
    bilevel = grey.point(lambda value: 255 * (value > 128)).convert("1")
    yield "baseline.jpg", encoded(picture, "JPEG"), "text"
    yield "progressive.jpg", encoded(picture, "JPEG", progressive=True), "text"
    yield "cmyk.jpg", encoded(picture.convert("CMYK"), "JPEG"), "text"
    sideways = picture.rotate(90, expand=True)
    yield "exif_rot6.jpg", encoded(sideways, "JPEG", exif=turned.tobytes()), "text"
    yield "16bit.tif", encoded(wide, "TIFF"), "text"
    yield "16bit.png", encoded(wide, "PNG"), "text"
    yield "float32.tif", encoded(Image.fromarray(values.astype(np.float32) / 255), "TIFF"), "text"
    yield "g4_1bit.tif", encoded(bilevel, "TIFF", compression="group4", dpi=(300, 300)), "text"
    yield "lzw.tif", encoded(picture, "TIFF", compression="tiff_lzw"), "text"
    yield "jpeg_in.tif", encoded(picture, "TIFF", compression="jpeg"), "text"
    yield "page.jp2", encoded(picture, "JPEG2000", quality_mode="rates", quality_layers=[20]), "text"
    yield "page.webp", encoded(picture, "WEBP", quality=70), "text"
    yield "palette.png", encoded(picture.convert("P", palette=Image.Palette.ADAPTIVE, colors=4), "PNG"), "text"
    yield "text_in_alpha.png", encoded(Image.merge("RGBA", (black, black, black, ink)), "PNG"), "text"
    yield "page.bmp", encoded(picture.resize((1200, 860)), "BMP"), "text"
    yield "wrong_extension.png", encoded(picture, "JPEG"), "text"
    more = [picture.rotate(180), Image.new("RGB", (800, 1000), "white")]
    yield "three.tif", encoded(picture, "TIFF", save_all=True, append_images=more, compression="tiff_deflate"), "text"
    yield "two.pdf", encoded(picture, "PDF", save_all=True, append_images=more[:1], resolution=150), "text"
    frames = [Image.new("P", picture.size, shade) for shade in (1, 2)]
    yield "animated.gif", encoded(picture.convert("P"), "GIF", save_all=True, append_images=frames), "text"
    yield "skewed.png", encoded(grey.rotate(3, fillcolor=255, expand=True), "PNG"), "text"


def _strange(picture: Image.Image) -> Iterator[Case]:
    noise = np.random.default_rng(1).random((900, 700)) > 0.5
    yield "blank_white.png", encoded(Image.new("L", (2480, 3508), 255), "PNG"), "empty"
    yield "blank_black.png", encoded(Image.new("L", (2480, 3508), 0), "PNG"), "empty"
    yield "1x1.png", encoded(Image.new("L", (1, 1), 0), "PNG"), "empty"
    yield "1x4000.png", encoded(Image.new("L", (1, 4000), 128), "PNG"), "empty"
    yield "20000x8.png", encoded(Image.new("L", (20000, 8), 128), "PNG"), "empty"
    yield "noise.png", encoded(Image.fromarray(noise.astype(np.uint8) * 255).convert("1"), "PNG"), "any"
    yield "upside_down.png", encoded(picture.rotate(180), "PNG"), "any"
    yield "inverted.png", encoded(Image.fromarray(255 - np.asarray(picture)), "PNG"), "any"
    yield "low_resolution.jpg", encoded(picture.resize((480, 344)), "JPEG", quality=30), "any"


def _broken(picture: Image.Image) -> Iterator[Case]:
    jpeg, png = encoded(picture, "JPEG"), encoded(picture, "PNG")
    flipped = bytearray(png)
    flipped[len(png) // 2] ^= 0xFF
    looping = struct.pack("<4sIHHHIII", b"II*\0", 8, 1, 256, 4, 1, 10, 8)
    entities = "".join(f'<!ENTITY e{i} "{f"&e{i - 1};" * 10}">' for i in range(1, 10))
    laughs = f'<?xml version="1.0"?><!DOCTYPE x [<!ENTITY e0 "ha">{entities}]><x>&e9;</x>'.encode()
    yield "truncated.jpg", jpeg[: len(jpeg) // 2], "error"
    yield "header_only.jpg", jpeg[:20], "error"
    yield "truncated.png", png[: len(png) // 3], "error"
    yield "bad_crc.png", bytes(flipped), "error"
    yield "empty.jpg", b"", "error"
    yield "text.jpg", "not an image, příliš žluťoučký kůň\n".encode() * 20, "error"
    yield "zip.tif", b"PK\x05\x06" + bytes(18), "error"
    yield "html.png", b"<!DOCTYPE html><html><body>404 Not Found</body></html>", "error"
    yield "loop.tif", looping, "error"
    yield "entities.svg", laughs, "error"
    yield "entities.page.xml", laughs.replace(b"x>", b"PcGts>"), "error"
    yield "no_pages.pdf", b"%PDF-1.7\n%%EOF\n", "error"


def _bombs() -> Iterator[Case]:
    packer, data = zlib.compressobj(9), b""
    for _ in range(50_000):
        data += packer.compress(bytes(1 + 50_000 // 8))
    yield "gigapixels.png", _png(50_000, 50_000, 1, 0, data + packer.flush()), "error"
    yield "claims.png", _png(0x7FFFFFFF, 0x7FFFFFFF, 8, 2, zlib.compress(bytes(100))), "error"
    header = b"GIF89a" + struct.pack("<HHBBB", 65535, 65535, 0x80, 0, 0) + bytes(3) + b"\xff" * 3
    yield "65535.gif", header + b"," + struct.pack("<HHHHB", 0, 0, 65535, 65535, 0) + b"\x02\x02\x4c\x01\0;", "error"
    comment = _chunk(b"zTXt", b"x\0\0" + zlib.compress(b"A" * 80_000_000, 9))
    yield "comment.png", _png(8, 8, 8, 0, zlib.compress(bytes(72)), comment), "empty"


def _png(width: int, height: int, depth: int, colour: int, data: bytes, extra: bytes = b"") -> bytes:
    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + _chunk(b"IHDR", header) + extra + _chunk(b"IDAT", data) + _chunk(b"IEND", b"")


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def write_all(folder: Path, picture: Image.Image) -> dict[str, str]:
    """Writes every case into `folder`; returns what each file must give."""
    expected = {}
    for name, content, outcome in cases(picture):
        (folder / name).write_bytes(content)
        expected[name] = outcome
    return expected
