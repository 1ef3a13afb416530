"""Images as they come from the field: read correctly, or refused by name."""

from __future__ import annotations

import io
import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from field_images import HEIC, chain, deep, directory_places, drawn, encoded, frames, same_page, tiff
from PIL import Image as Pillow
from PIL import TiffImagePlugin

from pero_worker.errors import PageError
from pero_worker.inputs.documents import count_pages, read_page
from pero_worker.inputs.images import decode_image, decode_scan

PICTURE = drawn()
GREY = np.asarray(PICTURE)
SAME = dict(same_page(GREY))
SIZE = PICTURE.size


@pytest.mark.parametrize("name", SAME)
def test_every_depth_layout_and_container_shows_the_same_page(name: str) -> None:
    image = decode_image(SAME[name])
    assert image.shape == (*GREY.shape, 3)
    difference = np.abs(image.astype(int) - GREY[:, :, np.newaxis])
    coarse = {"grey_2_packed.tif": 45, "float32_to_255.tif": 30, "int16_around_zero.tif": 30}.get(name, 20)
    assert difference.mean() < coarse / 4, name
    assert np.quantile(difference, 0.99) < coarse * 2, name


def test_a_photo_of_a_telephone_is_read() -> None:
    image = decode_image(HEIC)
    assert image.shape == (64, 96, 3)
    assert image[15, 20].tolist() == pytest.approx([20, 20, 200], abs=5)
    assert image[50, 80].tolist() == pytest.approx([240, 240, 240], abs=5)


def test_colours_keep_their_places() -> None:
    red = np.zeros((4, 4, 3), np.uint16)
    red[:, :, 0] = 65535
    planes = [red[:, :, channel].tobytes() for channel in range(3)]
    tags = {258: (3, [16] * 3), 262: (3, [2]), 277: (3, [3]), 284: (3, [2])}
    assert decode_image(tiff(planes, (4, 4), tags))[0, 0].tolist() == [0, 0, 255]


@pytest.mark.parametrize(
    ("tags", "word"),
    [
        ({258: (3, [8] * 3), 262: (3, [6]), 277: (3, [3])}, "YCbCr"),
        ({262: (3, [32803])}, "CFA"),
        ({262: (3, [32845])}, "LogLuv"),
        ({262: (3, [77])}, "unknown kind 77"),
        ({339: (3, [6]), 258: (3, [64])}, "cannot be read"),
    ],
)
def test_what_cannot_be_read_rightly_is_refused_by_name(tags: dict[int, tuple[int, list[int]]], word: str) -> None:
    with pytest.raises(PageError, match=word) as caught:
        decode_image(tiff([GREY.tobytes() * 8], SIZE, tags))
    assert caught.value.permanent


@pytest.mark.parametrize("tag", [322, 323])
def test_a_tile_that_claims_to_be_huge_is_not_made_room_for(tag: int) -> None:
    tags = {322: (4, [16]), 323: (4, [16]), tag: (4, [15_990_912])}
    with pytest.raises(PageError, match="tiles"):
        decode_image(tiff([bytes(256)], (16, 16), {**tags, 324: (4, [8]), 325: (4, [256])}))


@pytest.mark.parametrize("bits", [8, 12, 16])
@pytest.mark.parametrize("part", [0.3, 0.9, 0.999])
def test_a_strip_that_is_cut_is_no_picture(bits: int, part: float) -> None:
    data = deep(GREY, 16).tobytes() if bits == 16 else GREY.tobytes() * 2
    whole = tiff([data], SIZE, {258: (3, [bits])})
    # The directory first, so that the file ends within the strip.
    start = len(whole) - (len(whole) - 8 - len(data))
    moved = 8 + len(whole) - start
    shifted = tiff([data], SIZE, {258: (3, [bits]), 273: (4, [moved])})
    table = bytearray(shifted[start:])
    for tag in (282, 283):
        place = table.index(struct.pack("<HHI", tag, 5, 1)) + 8
        struct.pack_into("<I", table, place, struct.unpack_from("<I", table, place)[0] - start + 8)
    cut = b"II*\0" + struct.pack("<I", 8) + bytes(table) + data
    assert decode_image(cut).shape == (*GREY.shape, 3)
    with pytest.raises(PageError, match=r"cut|truncated|damaged"):
        decode_image(cut[: int(moved + len(GREY.tobytes()) * bits / 8 * part)])


@pytest.mark.parametrize("progressive", [False, True])
@pytest.mark.parametrize("part", [0.2, 0.5, 0.9])
def test_a_jpeg_of_which_much_is_missing_is_refused(part: float, progressive: bool) -> None:
    whole = encoded(PICTURE, "JPEG", quality=90, progressive=progressive)
    with pytest.raises(PageError, match="cut"):
        decode_image(whole[: int(len(whole) * part)])


def test_thumbnails_pyramids_and_masks_are_no_pages(tmp_path: Path) -> None:
    small = PICTURE.resize((80, 30))
    path = tmp_path / "a.tif"
    other = Pillow.new("L", (30, 20), 99)
    path.write_bytes(frames((small, 1), (PICTURE, 0), (small, 1), (small, 4), (small, 5), (other, 2)))
    assert count_pages(path) == 2
    assert [read_page(path, index).image.shape for index in range(2)] == [(300, 800, 3), (20, 30, 3)]


def test_a_tiff_of_reduced_images_alone_is_one_page(tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    path.write_bytes(frames((PICTURE, 1), (PICTURE.resize((80, 30)), 1)))
    assert count_pages(path) == 1
    assert read_page(path, 0).image.shape == (300, 800, 3)


def test_a_damaged_directory_costs_its_own_page_alone(tmp_path: Path) -> None:
    data = frames((PICTURE, 2), (PICTURE, 2), (PICTURE, 2), (PICTURE, 2))
    path = tmp_path / "a.tif"
    path.write_bytes(data[: directory_places(data)[2] + 20])
    assert count_pages(path) == 3
    assert (read_page(path, 1).image[:, :, 0] == GREY).all()
    with pytest.raises(PageError, match="directory"):
        read_page(path, 2)


def test_the_last_of_many_pages_is_found_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.tif"
    path.write_bytes(chain(3000))
    assert count_pages(path) == 3000
    looked: list[object] = []
    load = TiffImagePlugin.ImageFileDirectory_v2.load
    monkeypatch.setattr("pero_worker.inputs.tiff._Reader.directory", looked.append)
    monkeypatch.setattr(
        TiffImagePlugin.ImageFileDirectory_v2, "load", lambda *given: (looked.append(given), load(*given))
    )
    assert read_page(path, 2999).image.shape == (8, 8, 3)
    assert 0 < len(looked) < 10


def test_a_tiff_of_too_many_pages_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    path.write_bytes(chain(50))
    with pytest.raises(PageError, match="50 pages, more than the 49"):
        count_pages(path, max_pages=49)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("bits", [8, 16])
def test_a_tiff_is_turned_and_its_shape_is_that_of_the_paper(orientation: int, bits: int) -> None:
    values = np.arange(20 * 30, dtype=np.uint16).reshape(20, 30) * 100
    strip = values.tobytes() if bits == 16 else (values >> 8).astype(np.uint8).tobytes()
    tags: dict[int, tuple[int, list[Any]]] = {
        258: (3, [bits]),
        274: (3, [orientation]),
        282: (5, [(204, 1)]),
        283: (5, [(98, 1)]),
    }
    scan = decode_scan(tiff([strip], (30, 20), tags))
    plain = decode_scan(tiff([strip], (30, 20), {**tags, 274: (3, [1])}))
    turns = {1: 0, 2: None, 3: 2, 4: None, 5: None, 6: -1, 7: None, 8: 1}[orientation]
    if turns is not None:
        assert (scan.image == np.rot90(plain.image, turns)).all()
    assert scan.image.shape[:2] == ((20, 30) if orientation < 5 else (30, 20))
    assert scan.aspect == pytest.approx(98 / 204 if orientation < 5 else 204 / 98)
    assert scan.dpi == pytest.approx(204 if orientation < 5 else 98)


def test_jpeg_and_png_tell_the_shape_of_their_pixels() -> None:
    jpeg = bytearray(encoded(PICTURE, "JPEG", dpi=(204, 98)))
    assert decode_scan(bytes(jpeg)).aspect == pytest.approx(98 / 204)
    place = jpeg.index(b"JFIF") + 7
    jpeg[place : place + 5] = b"\0\0\x02\0\x01"
    assert decode_scan(bytes(jpeg)).aspect == pytest.approx(1 / 2)
    assert decode_scan(encoded(PICTURE, "PNG", dpi=(200, 100))).aspect == pytest.approx(0.5, abs=0.01)
    assert decode_scan(encoded(PICTURE, "PNG", dpi=(300, 299))).aspect == 1
    assert decode_scan(encoded(PICTURE, "PNG", dpi=(3000, 3))).aspect == 1


def test_a_damaged_first_page_costs_no_other(tmp_path: Path) -> None:
    """The decoder reads the first directory of an open file, whichever it is asked for."""
    whole = io.BytesIO()
    first, *others = [drawn((f"page {number}",)) for number in range(3)]
    first.save(whole, "TIFF", save_all=True, append_images=others, compression="tiff_lzw")
    data = bytearray(whole.getvalue())
    with tifffile.TiffFile(io.BytesIO(bytes(data))) as found:
        place = found.pages[0].tags[273].offset + 8
    data[place : place + 4] = b"\xff\xff\xff\x7f"
    (tmp_path / "a.tif").write_bytes(data)
    with pytest.raises(PageError, match="damaged"):
        read_page(tmp_path / "a.tif", 0)
    for number in (1, 2):
        assert (read_page(tmp_path / "a.tif", number).image[:, :, 0] == np.asarray(others[number - 1])).all()


@pytest.mark.parametrize("kind", ["PNG", "GIF"])
def test_a_palette_that_lacks_colours_makes_no_black_page(kind: str) -> None:
    picture = drawn().quantize(16)
    data = bytearray(encoded(picture, kind))
    if kind == "PNG":
        place = data.index(b"PLTE") - 4
        size = struct.unpack_from(">I", data, place)[0]
        short = b"PLTE" + bytes(3)
        data[place : place + size + 12] = struct.pack(">I", 3) + short + struct.pack(">I", zlib.crc32(short))
        with pytest.raises(PageError, match="its palette has 1 colours"):
            decode_image(bytes(data))
    else:
        assert abs(decode_image(bytes(data))[:, :, 0].astype(int) - np.asarray(drawn())).mean() < 5
