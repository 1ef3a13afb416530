from __future__ import annotations

import os
import re
import signal
import struct
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pikepdf
import pytest
from nasty import cases, draw_text_picture, encoded
from PIL import Image as Pillow

from pero_worker.errors import PageError
from pero_worker.inputs.documents import count_pages, read_page

PICTURE = draw_text_picture().resize((400, 286))
CASES = {name: (content, outcome) for name, content, outcome in cases(PICTURE)}
LETTER = (612.0, 792.0)
WHOLE = "612 0 0 792 0 0"
Placed = tuple[int, int, str]
"""An image on a PDF page: columns, rows, and the matrix that places it."""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name, (content, _) in CASES.items():
        (tmp_path / name).write_bytes(content)
    return tmp_path


def make_pdf(
    path: Path, images: Sequence[Placed] = (), size: tuple[float, float] = LETTER, rotate: int = 0, more: str = ""
) -> Path:
    """A PDF of one page: black images at their places, then the drawing commands `more`."""
    with pikepdf.new() as document:
        resources = pikepdf.Dictionary(XObject=pikepdf.Dictionary())
        commands = ""
        for number, (columns, rows, matrix) in enumerate(images):
            scan = pikepdf.Stream(document, bytes(columns * rows))
            scan.Type, scan.Subtype = pikepdf.Name.XObject, pikepdf.Name.Image
            scan.Width, scan.Height = columns, rows
            scan.ColorSpace, scan.BitsPerComponent = pikepdf.Name.DeviceGray, 8
            resources.XObject[f"/I{number}"] = scan
            commands += f"q {matrix} cm /I{number} Do Q\n"
        page = pikepdf.Dictionary(
            Type=pikepdf.Name.Page,
            MediaBox=pikepdf.Array([0, 0, *size]),
            Resources=resources,
            Contents=pikepdf.Stream(document, (commands + more).encode()),
            Rotate=rotate,
        )
        document.pages.append(pikepdf.Page(document.make_indirect(page)))
        document.save(path)
    return path


def encrypted(path: Path, user: str) -> Path:
    with pikepdf.open(make_pdf(path), allow_overwriting_input=True) as document:
        document.save(path, encryption=pikepdf.Encryption(user=user, owner="owner"))
    return path


def tiff_of_one_page(next_page: int, resolution: tuple[int, int]) -> bytes:
    """A whole 1 x 1 TIFF whose directory, at byte 24, names `next_page` as the place of the next one."""
    tags = [(256, 4, 1, 1), (257, 4, 1, 1), (258, 3, 1, 8), (259, 3, 1, 1), (262, 3, 1, 1), (273, 4, 1, 8)]
    tags += [(277, 3, 1, 1), (278, 4, 1, 1), (279, 4, 1, 1), (282, 5, 1, 12), (283, 5, 1, 12), (296, 3, 1, 2)]
    directory = struct.pack("<H", len(tags)) + b"".join(struct.pack("<HHII", *tag) for tag in tags)
    pixel_and_resolution = bytes(4) + struct.pack("<II", *resolution) + bytes(4)
    return struct.pack("<4sI", b"II*\0", 24) + pixel_and_resolution + directory + struct.pack("<I", next_page)


def error_of(path: Path) -> str:
    """Returns the message of the error that counting the pages raises; it must be permanent and one sentence."""
    with pytest.raises(PageError) as caught:
        count_pages(path)
    assert caught.value.permanent
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_pages_are_frames_of_a_tiff_and_pages_of_a_pdf_but_not_frames_of_a_gif(folder: Path) -> None:
    manifold = {"three.tif": 3, "two.pdf": 2}
    for name, (_, outcome) in CASES.items():
        if outcome != "error":
            assert count_pages(folder / name) == manifold.get(name, 1), name


def test_every_broken_case_fails_when_counted_or_when_read(folder: Path) -> None:
    for name, (_, outcome) in CASES.items():
        if outcome == "error":
            with pytest.raises(PageError) as caught:
                for index in range(count_pages(folder / name)):
                    read_page(folder / name, index)
            assert caught.value.permanent, name
            assert "0x" not in str(caught.value), name


def test_content_decides_and_not_the_extension(tmp_path: Path) -> None:
    make_pdf(tmp_path / "x.jpg", [(850, 1100, WHOLE)])
    assert read_page(tmp_path / "x.jpg", 0).image.shape == (1100, 850, 3)
    (tmp_path / "x.pdf").write_bytes(encoded(PICTURE, "PNG"))
    assert read_page(tmp_path / "x.pdf", 0).image.shape == (286, 400, 3)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "empty"),
        (b"PK\x03\x04" + bytes(30), "zip archive"),
        (b"<?xml version='1.0'?><a/>", "XML"),
        (b"\xef\xbb\xbf<?xml version='1.0'?><a/>", "XML"),
        (b"\n <svg xmlns='http://www.w3.org/2000/svg'/>", "SVG"),
        (b"<!DOCTYPE HTML><html></html>", "HTML"),
        (b"<html><body>404", "HTML"),
        (b"just words\n" * 3, "plain text"),
        ("příliš žluťoučký\n".encode() * 100, "plain text"),
        (b"%PDF-1.7\n%%EOF\n", "PDF .*(damaged|no pages)"),
    ],
)
def test_what_is_no_document_is_told_by_what_it_looks_like(tmp_path: Path, content: bytes, words: str) -> None:
    (tmp_path / "x.tif").write_bytes(content)
    assert re.search(words, error_of(tmp_path / "x.tif"))


def test_binary_rubbish_is_not_called_text(tmp_path: Path) -> None:
    (tmp_path / "x.png").write_bytes(np.random.default_rng(0).bytes(3000))
    assert "looks like" not in error_of(tmp_path / "x.png")


def test_an_image_that_mentions_a_pdf_is_still_an_image(tmp_path: Path) -> None:
    (tmp_path / "x.jpg").write_bytes(encoded(PICTURE, "JPEG", comment=b"made from a %PDF-1.4"))
    assert count_pages(tmp_path / "x.jpg") == 1


def test_a_pdf_may_have_other_bytes_before_it(tmp_path: Path) -> None:
    path = make_pdf(tmp_path / "x.pdf")
    path.write_bytes(b"\r\n" * 20 + path.read_bytes())
    assert count_pages(path) == 1


def test_paths_that_cannot_be_read_are_page_errors(tmp_path: Path) -> None:
    assert "No such file" in error_of(tmp_path / "missing.png")
    assert str(tmp_path) in error_of(tmp_path)
    with pytest.raises(PageError, match="No such file"):
        read_page(tmp_path / "missing.png", 0)


def test_a_pipe_is_refused_and_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "x.png")

    def give_up(*_: object) -> None:
        raise TimeoutError

    # Only so that a failure does not hang the test run.
    before = signal.signal(signal.SIGALRM, give_up)
    signal.alarm(5)
    try:
        assert "a pipe or a device" in error_of(tmp_path / "x.png")
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def test_names_that_are_not_utf8_can_be_read(tmp_path: Path) -> None:
    pdf, png = (Path(os.fsdecode(os.fsencode(tmp_path) + b"/\xff\xfe" + end)) for end in (b".pdf", b".png"))
    make_pdf(tmp_path / "x.pdf").rename(pdf)
    png.write_bytes(encoded(PICTURE, "PNG"))
    assert (count_pages(pdf), count_pages(png)) == (1, 1)
    assert read_page(pdf, 0, dpi=72).image.shape == (792, 612, 3)


def test_frames_of_a_tiff_are_told_apart_each_with_its_own_size(tmp_path: Path) -> None:
    frames = [Pillow.new("L", (30 + 10 * shade, 20), shade) for shade in range(4)]
    (tmp_path / "x.tif").write_bytes(encoded(frames[0], "TIFF", save_all=True, append_images=frames[1:]))
    assert count_pages(tmp_path / "x.tif") == 4
    for index in (3, 0, 2):
        image = read_page(tmp_path / "x.tif", index).image
        assert image.shape == (20, 30 + 10 * index, 3)
        assert set(image.ravel().tolist()) == {index}


@pytest.mark.parametrize("name", ["three.tif", "two.pdf", "baseline.jpg"])
def test_a_page_that_is_not_there_is_a_page_error(folder: Path, name: str) -> None:
    with pytest.raises(PageError):
        read_page(folder / name, 3)


def test_a_tiff_whose_directory_runs_in_a_circle_is_read_once_or_refused(tmp_path: Path) -> None:
    (tmp_path / "x.tif").write_bytes(tiff_of_one_page(24, (300, 1)))
    try:
        assert count_pages(tmp_path / "x.tif") == 1
    except PageError as error:
        assert error.permanent


@pytest.mark.parametrize(
    ("resolution", "expected"), [((300, 1), 300.0), ((1, 1), None), ((300, 0), None), ((0, 0), None)]
)
def test_a_resolution_is_told_when_it_is_believable(
    tmp_path: Path, resolution: tuple[int, int], expected: float | None
) -> None:
    (tmp_path / "x.tif").write_bytes(tiff_of_one_page(0, resolution))
    assert read_page(tmp_path / "x.tif", 0).dpi == expected


def test_a_page_without_a_resolution_has_none(folder: Path) -> None:
    assert read_page(folder / "lzw.tif", 0).dpi is None
    assert read_page(folder / "g4_1bit.tif", 0).dpi == 300


def test_the_limit_holds_for_images_and_pdfs(tmp_path: Path) -> None:
    (tmp_path / "x.png").write_bytes(encoded(Pillow.new("L", (40, 30)), "PNG"))
    make_pdf(tmp_path / "x.pdf", size=(72.0, 72.0))
    assert read_page(tmp_path / "x.png", 0, max_pixels=1200).image.shape == (30, 40, 3)
    assert read_page(tmp_path / "x.pdf", 0, dpi=100, max_pixels=10_300).image.shape[2] == 3
    for name in ("x.png", "x.pdf"):
        with pytest.raises(PageError, match="--max-megapixels") as caught:
            read_page(tmp_path / name, 0, dpi=100, max_pixels=1199)
        assert caught.value.permanent


def test_a_wall_poster_is_refused_before_it_is_rendered(tmp_path: Path) -> None:
    with pytest.raises(PageError, match=r"14400 x 14400 points.*--dpi"):
        read_page(make_pdf(tmp_path / "x.pdf", size=(14400.0, 14400.0)), 0)


@pytest.mark.parametrize("size", [(0.0, 0.0), (0.01, 0.01), (1e30, 1e30), (1.0, 20000.0)])
def test_absurd_page_sizes_give_an_image_or_a_page_error(tmp_path: Path, size: tuple[float, float]) -> None:
    path = tmp_path / "x.pdf"
    make_pdf(path)
    text = " ".join(f"{side:f}" for side in size).encode()
    with pikepdf.open(path, allow_overwriting_input=True) as document:
        document.pages[0].MediaBox = pikepdf.Object.parse(b"[0 0 " + text + b"]")
        document.save(path)
    try:
        assert min(read_page(path, 0, dpi=72).image.shape) >= 1
    except PageError as error:
        assert error.permanent


def test_an_encrypted_pdf_names_the_remedy_and_one_with_an_owner_only_is_read(tmp_path: Path) -> None:
    assert "qpdf --decrypt" in error_of(encrypted(tmp_path / "user.pdf", "secret"))
    assert count_pages(encrypted(tmp_path / "owner.pdf", "")) == 1
    # What pdfium says about a document may be left over from the previous one.
    (tmp_path / "empty.pdf").write_bytes(
        b"%PDF-1.3\n1 0 obj<</Type/Catalog/Pages 2 0 R>>endobj 2 0 obj<</Type/Pages/Kids[]/Count 0>>endobj\n"
        b"trailer<</Root 1 0 R/Size 3>>\n%%EOF"
    )
    assert "qpdf --decrypt" in error_of(tmp_path / "user.pdf")
    assert "no pages" in error_of(tmp_path / "empty.pdf")


@pytest.mark.parametrize("dpi", [72, 100, 300])
def test_a_page_of_drawings_is_rendered_at_the_resolution_asked_for(tmp_path: Path, dpi: int) -> None:
    scan = read_page(make_pdf(tmp_path / "x.pdf", more="0 g 0 0 306 396 re f"), 0, dpi=dpi)
    height, width = scan.image.shape[:2]
    assert (width, height) == pytest.approx((612 * dpi / 72, 792 * dpi / 72), abs=1)
    assert scan.dpi == dpi
    # Black in the lower left quarter only: PDF's y runs up, ours down.
    assert scan.image[height * 3 // 4, width // 4].tolist() == [0, 0, 0]
    assert scan.image[height // 4, width // 4].tolist() == [255, 255, 255]


def test_colours_of_a_pdf_are_blue_green_red(tmp_path: Path) -> None:
    scan = read_page(make_pdf(tmp_path / "x.pdf", more="1 0 0 rg 0 0 612 792 re f"), 0, dpi=72)
    assert scan.image[400, 300].tolist() == [0, 0, 255]


@pytest.mark.parametrize(("rotate", "shape"), [(0, (1650, 1275)), (90, (1275, 1650)), (180, (1650, 1275))])
def test_a_scan_in_a_pdf_comes_at_its_own_resolution(tmp_path: Path, rotate: int, shape: tuple[int, int]) -> None:
    scan = read_page(make_pdf(tmp_path / "x.pdf", [(1275, 1650, WHOLE)], rotate=rotate), 0)
    assert scan.image.shape[:2] == pytest.approx(shape, abs=1)
    assert scan.dpi == pytest.approx(150)
    assert scan.image.max() == 0


def test_a_scan_comes_with_its_own_pixels_not_resampled_to_one_row_more(tmp_path: Path) -> None:
    values = np.random.default_rng(0).integers(0, 2, (573, 800), np.uint8) * 255
    (tmp_path / "x.pdf").write_bytes(encoded(Pillow.fromarray(values).convert("1"), "PDF", resolution=150))
    image = read_page(tmp_path / "x.pdf", 0).image
    assert image.shape == (573, 800, 3)
    assert (image[:, :, 0] == values).all()


def test_a_picture_on_a_page_of_text_does_not_set_the_resolution(tmp_path: Path) -> None:
    assert read_page(make_pdf(tmp_path / "x.pdf", [(60, 40, "300 0 0 200 50 50")]), 0, dpi=100).dpi == 100


@pytest.mark.parametrize("coarse_first", [True, False])
def test_of_coarse_paper_and_fine_text_the_text_sets_the_resolution(tmp_path: Path, coarse_first: bool) -> None:
    layers = [(425, 550, WHOLE), (1700, 2200, WHOLE)]
    path = make_pdf(tmp_path / "x.pdf", layers if coarse_first else layers[::-1])
    assert read_page(path, 0).dpi == pytest.approx(200)


@pytest.mark.parametrize("columns", [1, 100_000])
def test_a_scan_of_an_unbelievable_resolution_is_ignored(tmp_path: Path, columns: int) -> None:
    path = make_pdf(tmp_path / "x.pdf", [(columns, 1 if columns == 1 else 400, "72 0 0 72 0 0")], size=(72.0, 72.0))
    assert read_page(path, 0, dpi=100).dpi == 100


def test_a_pdf_cut_anywhere_is_read_or_a_page_error(tmp_path: Path) -> None:
    data = make_pdf(tmp_path / "whole.pdf", [(85, 110, WHOLE)]).read_bytes()
    for end in range(0, len(data), len(data) // 25):
        (tmp_path / "x.pdf").write_bytes(data[:end])
        try:
            for index in range(count_pages(tmp_path / "x.pdf")):
                read_page(tmp_path / "x.pdf", index, dpi=72)
        except PageError as error:
            assert error.permanent


def test_no_file_stays_open(folder: Path) -> None:
    before = len(list(Path("/proc/self/fd").iterdir()))
    for name in CASES:
        try:
            read_page(folder / name, 0)
        except PageError:
            continue
    assert len(list(Path("/proc/self/fd").iterdir())) == before


def test_the_image_of_a_pdf_page_outlives_the_document(tmp_path: Path) -> None:
    # 400 pixels a row need no padding: such a bitmap could be handed on without a copy.
    path = make_pdf(tmp_path / "x.pdf", size=(96.0, 96.0), more="0 0 1 rg 0 0 96 96 re f")
    first = read_page(path, 0).image
    others = [read_page(make_pdf(tmp_path / "y.pdf", size=(96.0, 96.0)), 0).image for _ in range(5)]
    assert (first[:, :, 0] == 255).all()
    assert (first[:, :, 1:] == 0).all()
    assert all((other == 255).all() for other in others)


def page_with_words(path: Path, render_mode: int) -> Path:
    """A 612 x 792 page: a picture of 72 dpi all over, and a word above it."""
    with pikepdf.new() as document:
        paper = pikepdf.Stream(document, bytes([200]) * (612 * 792))
        paper.Type, paper.Subtype = pikepdf.Name.XObject, pikepdf.Name.Image
        paper.Width, paper.Height = 612, 792
        paper.ColorSpace, paper.BitsPerComponent = pikepdf.Name.DeviceGray, 8
        font = pikepdf.Dictionary(Type=pikepdf.Name.Font, Subtype=pikepdf.Name.Type1, BaseFont=pikepdf.Name.Helvetica)
        words = f"q 612 0 0 792 0 0 cm /P Do Q BT /F 12 Tf {render_mode} Tr 50 700 Td (Hello) Tj ET"
        page = document.add_blank_page(page_size=(612, 792))
        page.Resources = pikepdf.Dictionary(XObject=pikepdf.Dictionary(P=paper), Font=pikepdf.Dictionary(F=font))
        page.Contents = pikepdf.Stream(document, words.encode())
        document.save(path)
    return path


@pytest.mark.parametrize(("render_mode", "dpi"), [(0, 150), (3, 72)], ids=["printed", "invisible OCR"])
def test_a_coarse_picture_behind_printed_text_does_not_set_the_resolution(
    tmp_path: Path, render_mode: int, dpi: int
) -> None:
    assert read_page(page_with_words(tmp_path / "x.pdf", render_mode), 0, dpi=150).dpi == pytest.approx(dpi)
