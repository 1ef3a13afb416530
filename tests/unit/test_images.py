from __future__ import annotations

import struct
import tracemalloc
from collections.abc import Callable

import numpy as np
import pytest
from nasty import EXIF_UNDONE_BY, cases, draw_text_picture, encoded
from PIL import Image as Pillow

from pero_worker.errors import PageError
from pero_worker.inputs.bounds import DEFAULT_MAX_PIXELS
from pero_worker.inputs.images import decode_image

PICTURE = draw_text_picture()
CASES = {name: (content, outcome) for name, content, outcome in cases(PICTURE) if not name.endswith(".pdf")}
CHANGED = {"skewed.png", "page.bmp"}
"""Readable cases whose geometry differs from PICTURE's on purpose."""
SAME_PAGE = [
    name
    for name, (_, outcome) in CASES.items()
    if outcome == "text" and name not in CHANGED and not name.endswith(".jpg")
] + ["baseline.jpg", "progressive.jpg", "cmyk.jpg", "exif_rot6.jpg"]
SIZES = {
    "blank_white.png": (2480, 3508),
    "blank_black.png": (2480, 3508),
    "1x1.png": (1, 1),
    "1x4000.png": (1, 4000),
    "20000x8.png": (20000, 8),
    "noise.png": (700, 900),
    "low_resolution.jpg": (480, 344),
    "comment.png": (8, 8),
}
"""Sizes of the strange cases that are not PICTURE's."""
RAMP = np.tile(np.arange(256, dtype=np.uint8), (4, 1))


def ramp(picture: Pillow.Image, kind: str, **options: object) -> list[int]:
    """Returns the first row's blue values after a round trip; the whole row is grey."""
    row = decode_image(encoded(picture, kind, **options))[0]
    assert (row == row[:, :1]).all()
    return [int(value) for value in row[:, 0]]


def grey_tiff(samples: bytes, *, bits: int, zero_is_white: bool) -> bytes:
    """A one-row uncompressed TIFF written by hand: Pillow writes no picture whose zero is white."""
    width = len(samples) * 8 // bits
    values = {256: width, 257: 1, 258: bits, 259: 1, 262: 0 if zero_is_white else 1, 273: 8, 277: 1, 278: 1}
    tags = [struct.pack("<HHII", tag, 4, 1, value) for tag, value in {**values, 279: len(samples)}.items()]
    directory = struct.pack("<H", len(tags)) + b"".join(tags) + bytes(4)
    return struct.pack("<4sI", b"II*\0", 8 + len(samples)) + samples + directory


@pytest.mark.parametrize("name", SAME_PAGE)
def test_every_readable_file_decodes_to_the_drawn_page(name: str) -> None:
    image = decode_image(CASES[name][0])
    assert image.shape == (PICTURE.height, PICTURE.width, 3)
    assert image.dtype == np.uint8
    # Paper of 238 may come out white (1 bit, alpha), and ink black; what is dark must be dark in the same places.
    ink = np.asarray(PICTURE.convert("L")) < 128
    assert ((image.mean(axis=2) < 128) != ink).mean() < 0.01


@pytest.mark.parametrize("name", [name for name, (_, outcome) in CASES.items() if outcome == "error"])
def test_every_broken_file_is_a_permanent_page_error_in_one_sentence(name: str) -> None:
    with pytest.raises(PageError) as caught:
        decode_image(CASES[name][0])
    message = str(caught.value)
    assert caught.value.permanent
    assert message
    assert "\n" not in message
    assert "0x" not in message
    assert "BytesIO" not in message


@pytest.mark.parametrize("name", [name for name, (_, outcome) in CASES.items() if outcome in {"any", "empty"}])
def test_every_strange_file_still_decodes(name: str) -> None:
    width, height = SIZES.get(name, PICTURE.size)
    assert decode_image(CASES[name][0]).shape == (height, width, 3)


def test_channels_are_blue_green_red() -> None:
    image = decode_image(encoded(Pillow.new("RGB", (2, 3), (10, 20, 30)), "PNG"))
    assert image.shape == (3, 2, 3)
    assert image[0, 0].tolist() == [30, 20, 10]


def test_the_result_is_a_contiguous_array_of_its_own() -> None:
    image = decode_image(CASES["baseline.jpg"][0])
    assert image.flags.c_contiguous
    assert image.flags.writeable
    assert image.flags.owndata


@pytest.mark.parametrize("orientation", range(1, 9))
def test_each_exif_orientation_is_undone(orientation: int) -> None:
    upright = Pillow.fromarray(np.arange(6 * 4 * 3, dtype=np.uint8).reshape(6, 4, 3))
    stored = upright.transpose(EXIF_UNDONE_BY[orientation]) if orientation > 1 else upright
    exif = Pillow.Exif()
    exif[0x0112] = orientation
    image = decode_image(encoded(stored, "PNG", exif=exif.tobytes()))
    assert (image == np.asarray(upright)[:, :, ::-1]).all()


def test_pictures_taller_than_a_strip_have_no_seams() -> None:
    values = np.random.default_rng(0).integers(0, 256, (1100, 3, 3), np.uint8)
    assert (decode_image(encoded(Pillow.fromarray(values), "PNG")) == values[:, :, ::-1]).all()


@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_sixteen_bits_are_scaled_not_clipped(kind: str) -> None:
    assert ramp(Pillow.fromarray(RAMP.astype(np.uint16) * 257), kind) == list(range(256))


def test_floats_from_0_to_1_mean_black_to_white() -> None:
    assert ramp(Pillow.fromarray(RAMP.astype(np.float32) / 255), "TIFF") == pytest.approx(range(256), abs=1)
    half = np.full((4, 4), 0.5, np.float32)
    assert set(ramp(Pillow.fromarray(half), "TIFF")) == {127}


def test_other_floats_are_stretched_and_holes_are_black() -> None:
    values = RAMP.astype(np.float32) * 100 - 3000
    values[0, 7] = np.nan
    got = ramp(Pillow.fromarray(values), "TIFF")
    assert got[7] == 0
    assert (got[0], got[255]) == (0, 255)


def test_wide_integers_that_fit_in_8_bits_are_taken_as_they_are() -> None:
    assert ramp(Pillow.fromarray(RAMP.astype(np.int32)), "TIFF") == list(range(256))


def test_wider_integers_are_scaled_not_clipped() -> None:
    assert ramp(Pillow.fromarray(RAMP.astype(np.int32) * 1_000_000), "TIFF") == pytest.approx(range(256), abs=1)


@pytest.mark.parametrize("bits", [8, 16])
def test_a_tiff_whose_zero_is_white_is_not_inverted(bits: int) -> None:
    samples = np.array([0, 2**bits - 1], f"<u{bits // 8}").tobytes()
    assert decode_image(grey_tiff(samples, bits=bits, zero_is_white=True))[0, :, 0].tolist() == [255, 0]
    assert decode_image(grey_tiff(samples, bits=bits, zero_is_white=False))[0, :, 0].tolist() == [0, 255]


def _palette_with_transparency() -> bytes:
    picture = Pillow.new("P", (2, 1), 0)
    picture.putpalette([0, 0, 0, 200, 200, 200])
    picture.putpixel((1, 0), 1)
    return encoded(picture, "PNG", transparency=0)


@pytest.mark.parametrize(
    "make",
    [
        lambda: encoded(Pillow.fromarray(np.array([[[0, 0, 0, 0], [200, 200, 200, 255]]], np.uint8)), "PNG"),
        lambda: encoded(Pillow.fromarray(np.array([[[0, 0], [200, 255]]], np.uint8), "LA"), "PNG"),
        lambda: encoded(Pillow.fromarray(np.array([[0, 200]], np.uint8)), "PNG", transparency=0),
        lambda: encoded(
            Pillow.fromarray(np.array([[[0, 0, 0, 0], [200, 200, 200, 255]]], np.uint8)), "WEBP", lossless=True
        ),
        _palette_with_transparency,
    ],
    ids=["RGBA", "LA", "key", "webp", "palette"],
)
def test_transparency_shows_white_paper(make: Callable[[], bytes]) -> None:
    assert decode_image(make())[0, :, 0].tolist() == [255, 200]


def test_the_first_frame_of_an_animation_is_read() -> None:
    frames = [Pillow.new("L", (9, 9), shade) for shade in (200, 90)]
    image = decode_image(encoded(frames[0], "GIF", save_all=True, append_images=frames[1:]))
    assert set(image.ravel().tolist()) == {200}


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "TIFF", "JPEG2000", "WEBP", "BMP", "GIF", "PPM"])
def test_the_limit_holds_for_every_kind_and_is_inclusive(kind: str) -> None:
    data = encoded(Pillow.new("RGB", (40, 30), "white"), kind)
    assert decode_image(data, max_pixels=1200).shape == (30, 40, 3)
    with pytest.raises(PageError, match=r"40 x 30 .*--max-megapixels") as caught:
        decode_image(data, max_pixels=1199)
    assert caught.value.permanent


@pytest.mark.parametrize("name", ["gigapixels.png", "65535.gif", "claims.png"])
def test_bombs_are_named_by_their_size_and_never_decoded(name: str) -> None:
    data = CASES[name][0]
    tracemalloc.start()
    try:
        with pytest.raises(PageError, match=r"\d+ x \d+ pixels"):
            decode_image(data)
        assert tracemalloc.get_traced_memory()[1] < 4 * len(data) + 2_000_000
    finally:
        tracemalloc.stop()


def test_pillows_own_limit_does_not_show() -> None:
    # Above Pillow's warning (89 megapixels), below ours.
    side = 9_500
    assert 89_478_485 < side**2 <= DEFAULT_MAX_PIXELS
    data = encoded(Pillow.new("1", (side, side), 1), "PNG")
    assert decode_image(data).shape == (side, side, 3)


def test_a_comment_that_unpacks_to_80_megabytes_is_never_unpacked() -> None:
    tracemalloc.start()
    try:
        assert decode_image(CASES["comment.png"][0]).shape == (8, 8, 3)
        assert tracemalloc.get_traced_memory()[1] < 3_000_000
    finally:
        tracemalloc.stop()


def test_a_large_colour_profile_is_no_reason_to_refuse_a_png() -> None:
    data = encoded(Pillow.new("RGB", (5, 4), "white"), "PNG", icc_profile=bytes(2_000_000))
    assert decode_image(data).shape == (4, 5, 3)


def test_kinds_outside_the_list_are_refused() -> None:
    with pytest.raises(PageError, match="not an image of a kind"):
        decode_image(encoded(Pillow.new("RGB", (5, 4)), "TGA"))


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "TIFF", "JPEG2000", "WEBP", "BMP", "GIF", "PPM"])
def test_a_file_cut_anywhere_gives_an_image_or_a_page_error(kind: str) -> None:
    data = encoded(PICTURE.resize((64, 46)), kind)
    for end in range(0, len(data), max(1, len(data) // 40)):
        try:
            assert decode_image(data[:end]).shape == (46, 64, 3)
        except PageError as error:
            assert error.permanent


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "TIFF", "JPEG2000", "WEBP", "BMP", "GIF", "PPM"])
def test_a_file_with_flipped_bytes_gives_an_image_or_a_page_error(kind: str) -> None:
    data = encoded(PICTURE.resize((64, 46)), kind)
    random = np.random.default_rng(4)
    for _ in range(60):
        damaged = bytearray(data)
        # The header is where a flip is worst.
        for place in random.integers(0, min(len(data), 400), 3):
            damaged[place] = int(random.integers(0, 256))
        try:
            image = decode_image(bytes(damaged), max_pixels=1_000_000)
        except PageError as error:
            assert error.permanent
        else:
            assert image.ndim == 3
            assert image.size <= 3_000_000


def test_a_png_chunk_that_claims_4_gigabytes_takes_only_what_is_there() -> None:
    data = bytearray(encoded(Pillow.new("L", (8, 8)), "PNG"))
    at = data.index(b"IDAT") - 4
    data[at : at + 4] = b"\xff\xff\xff\xff"
    tracemalloc.start()
    try:
        decode_image(bytes(data))
    except PageError as error:
        assert error.permanent
    finally:
        assert tracemalloc.get_traced_memory()[1] < 3_000_000
        tracemalloc.stop()


def test_the_range_of_floats_is_that_of_the_whole_picture_not_of_a_strip() -> None:
    values = np.linspace(-5, 5, 1300, dtype=np.float32).repeat(2).reshape(1300, 2)
    values[600] = np.nan, np.inf
    column = decode_image(encoded(Pillow.fromarray(values), "TIFF"))[:, 0, 0]
    assert (column[0], column[600], column[-1]) == (0, 0, 255)
    assert (np.diff(np.delete(column, 600).astype(int)) >= 0).all()


def test_floats_without_one_finite_value_are_black_or_white() -> None:
    image = decode_image(encoded(Pillow.fromarray(np.full((3, 3), np.nan, np.float32)), "TIFF"))
    assert set(image.ravel().tolist()) <= {0, 255}
