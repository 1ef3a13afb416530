"""Files that other readers take for whole or for broken: read correctly, or refused with a remedy."""

from __future__ import annotations

import io
import struct
import unicodedata
import zlib
from collections.abc import Callable
from pathlib import Path

import imagecodecs
import numpy as np
import pytest
import tifffile
from field_images import drawn
from numpy.typing import NDArray

from pero_worker.errors import NoInputError, PageError
from pero_worker.inputs.discover import discover
from pero_worker.inputs.documents import count_pages, read_header, read_page
from pero_worker.local.devices import choose_devices
from pero_worker.names import same_place

PICTURE = drawn(size=(300, 200))
GREY = np.asarray(PICTURE)


def saved(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    return path


def encoded(kind: str, **options: object) -> bytes:
    stream = io.BytesIO()
    PICTURE.convert("RGB").save(stream, kind, **options)
    return stream.getvalue()


def png(values: NDArray[np.uint8], *, rows: int, interlaced: bool = False) -> bytes:
    """A grey PNG that says it is whole and holds only the first rows, or passes."""
    passes = [(0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2)]
    parts = [values[y::down, x::across] for x, y, across, down in (passes if interlaced else [(0, 0, 1, 1)])]
    data = b"".join(b"\0" + row.tobytes() for part in parts for row in part)
    height, width = values.shape
    end = len(data) * rows // height

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, interlaced)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(data[:end])) + chunk(b"IEND", b"")
    )


@pytest.mark.parametrize("interlaced", [False, True])
def test_a_png_that_lacks_rows_is_refused_and_a_whole_one_with_a_black_end_is_read(
    tmp_path: Path, interlaced: bool
) -> None:
    black_end = GREY.copy()
    black_end[-40:] = 0
    whole = read_page(saved(tmp_path / "a.png", png(black_end, rows=200, interlaced=interlaced)), 0)
    assert (whole.image[:, :, 0] == black_end).all()
    for name, values in (("few", GREY), ("many", np.random.default_rng(0).integers(0, 256, (700, 500), np.uint8))):
        height = len(values)
        for rows in (height // 3, height * 3 // 4, height - 1):
            cut = saved(tmp_path / f"{name}{rows}.png", png(values, rows=rows, interlaced=interlaced))
            with pytest.raises(PageError, match=r"is cut|truncated"):
                read_page(cut, 0)


@pytest.mark.parametrize("kind", ["PNG", "WEBP"])
@pytest.mark.parametrize("exif", [b"Exif\0\0II*\0", b"Exif\0\0rubbish"])
def test_a_broken_exif_costs_nothing(tmp_path: Path, kind: str, exif: bytes) -> None:
    path = saved(tmp_path / "a.img", encoded(kind, exif=exif, lossless=True))
    assert count_pages(path) == 1
    assert (read_page(path, 0).image[:, :, 1] == GREY).all()


def test_a_png_that_is_cut_says_so_although_its_exif_is_looked_for(tmp_path: Path) -> None:
    path = saved(tmp_path / "a.png", encoded("PNG")[:2000])
    with pytest.raises(PageError, match="damaged"):
        read_page(path, 0)


@pytest.mark.parametrize("bits", [12, 16])
def test_a_deep_jpeg_is_read_where_it_lies(tmp_path: Path, bits: int) -> None:
    values = (GREY.astype(np.uint32) * (2**bits - 1) // 255).astype(np.uint16)
    path = saved(
        tmp_path / "a.jpg", bytes(imagecodecs.jpeg8_encode(values, level=95, bitspersample=bits, lossless=bits == 16))
    )
    assert count_pages(path) == 1
    assert read_header(path, 0, max_pixels=10**6).width == 300
    assert np.abs(read_page(path, 0).image[:, :, 0].astype(int) - GREY).mean() < 3


@pytest.mark.parametrize("order", ["<", ">"])
def test_a_large_tiff_may_have_either_order_of_bytes(tmp_path: Path, order: str) -> None:
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, np.dstack([GREY] * 3), photometric="rgb", bigtiff=True, byteorder=order)
    assert (read_page(path, 0).image[:, :, 0] == GREY).all()


def test_a_jpeg_that_was_copied_as_text_is_not_read_as_noise(tmp_path: Path) -> None:
    content = encoded("JPEG", quality=95)
    assert content.count(b"\n") > 20
    path = saved(tmp_path / "a.jpg", content.replace(b"\n", b"\r\n"))
    with pytest.raises(PageError, match="binary mode"):
        read_page(path, 0)
    read_page(saved(tmp_path / "b.jpg", content), 0)


@pytest.mark.parametrize(
    ("content", "remedy"),
    [
        (b"\xff\x0a" + bytes(range(200, 256)), "JPEG XL: convert"),
        (b"\0\0\0\x0cJXL \r\n\x87\n", "JPEG XL: convert"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:00\n", "git lfs pull"),
        (b"8BPS\0\1" + bytes(30), "Photoshop file: save"),
        (b"\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\0\x10JFIF", "get the file again"),
        (b"\x89PNG\n\x1a\n\0\0\0\rIHDR", "binary mode"),
        (b"\x89PNG\r\r\n\x1a\r\n\0\0\0\rIHDR", "binary mode"),
        (bytes(128) + b"DICM" + bytes(40), "DICOM: convert"),
        (b"\0\0\0\x18ftypmp42" + bytes(40), "film"),
        (b"AT&TFORM\0\0\0\0DJVU", "DjVu: convert"),
        (b"data:image/png;base64,iVBORw0KGgo=", "decode it"),
        (b"\x1f\x8b\x08\0" + bytes(range(200, 256)), "unpack it"),
    ],
)
def test_what_is_not_read_is_named_with_what_to_do(tmp_path: Path, content: bytes, remedy: str) -> None:
    path = saved(tmp_path / "a.jpg", content)
    with pytest.raises(PageError, match=remedy):
        count_pages(path)


def test_a_cut_picture_is_not_called_text(tmp_path: Path) -> None:
    path = saved(tmp_path / "a.pgm", b"P5\n300 200\n255\n" + b"a" * 500)
    with pytest.raises(PageError, match="truncated") as raised:
        read_page(path, 0)
    assert "text" not in str(raised.value)


@pytest.mark.parametrize("name", ["..png", "...png", "....png"])
def test_a_name_of_dots_leads_nowhere_else(tmp_path: Path, name: str) -> None:
    saved(tmp_path / name, b"x")
    [document] = discover([str(tmp_path / name)]).documents
    assert document.name == name


@pytest.mark.parametrize("change", [str.upper, lambda name: unicodedata.normalize("NFD", name)])
def test_names_that_a_file_system_may_take_as_one_stay_apart(tmp_path: Path, change: Callable[[str], str]) -> None:
    names = ["café.png", change("café") + ".png"]
    assert len({saved(tmp_path / name, b"x") for name in names}) == 2
    found = [document.name for document in discover([str(tmp_path)]).documents]
    assert len({same_place(name) for name in found}) == 2


def test_standard_input_is_refused_with_the_remedy() -> None:
    with pytest.raises(NoInputError, match="save it as a file"):
        discover(["-"])


@pytest.mark.parametrize("device", ["cpu", "cuda", "cuda:0"])
@pytest.mark.parametrize(("jobs", "pages", "expected"), [(9999, 3, 3), (2, 100, 2), (5, 0, 1)])
def test_no_more_processes_than_pages(device: str, jobs: int, pages: int, expected: int) -> None:
    assert len(choose_devices(device, jobs, pages)) == expected
