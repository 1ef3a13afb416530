from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pikepdf
import pypdfium2 as pdfium
import pytest
from nasty import EXIF_UNDONE_BY
from PIL import Image as Pillow
from PIL import ImageCms, ImageDraw

from pero_worker.errors import OutputError, PageError
from pero_worker.formats import imagepdf
from pero_worker.formats.pdf import write_searchable_pdf
from pero_worker.page import Line, Page, Polygon, Region, Word

WIDTH, HEIGHT, DPI = 600, 800, 100
TO_POINTS = 72 / DPI
WORDS = {"first": (60, 100), "second": (260, 100), "third": (60, 300)}
"""Words and the left ends of their baselines; all are 100 pixels long, 30 above the baseline and 10 below."""


def box(left: float, base: float) -> Polygon:
    return (left, base - 30), (left + 100, base - 30), (left + 100, base + 10), (left, base + 10)


def line_of(*names: str, texts: dict[str, str] | None = None) -> Line:
    words = tuple(Word(text=(texts or {}).get(name, name), polygon=box(*WORDS[name]), confidence=0.9) for name in names)
    left, base = WORDS[names[0]]
    right = WORDS[names[-1]][0] + 100
    outline = ((left, base - 30), (right, base - 30), (right, base + 10), (left, base + 10))
    text = " ".join(word.text for word in words)
    return Line(
        id="-".join(names),
        baseline=((left, base), (right, base)),
        polygon=outline,
        heights=(30.0, 10.0),
        text=text,
        confidence=0.9,
        words=words,
    )


def page(width: int = WIDTH, height: int = HEIGHT, texts: dict[str, str] | None = None) -> Page:
    lines = (line_of("first", "second", texts=texts), line_of("third", texts=texts))
    return Page(name="p", width=width, height=height, regions=(Region(id="r", polygon=box(60, 300), lines=lines),))


def picture(mode: str = "L", size: tuple[int, int] = (WIDTH, HEIGHT)) -> Pillow.Image:
    image = Pillow.new("RGB", size, "white")
    ImageDraw.Draw(image).rectangle((10, 20, 200, 90), fill=(200, 30, 30))
    return image.convert(mode)


def searchable(source: Path, *pages: Page | None, dpi: int = DPI) -> bytes:
    target = io.BytesIO()
    write_searchable_pdf(source, pages, target, dpi=dpi)
    return target.getvalue()


@contextmanager
def sheets(data: bytes) -> Iterator[list[Any]]:
    document = pdfium.PdfDocument(data)
    try:
        yield list(document)
    finally:
        document.close()


def images_of(sheet: pikepdf.Page) -> list[pikepdf.Object]:
    return [item for item in sheet.Resources.XObject.values() if item.Subtype == "/Image"]


def text_of(sheet: Any) -> str:
    text = sheet.get_textpage()
    try:
        return str(text.get_text_range())
    finally:
        text.close()


def placed(sheet: Any, word: str) -> tuple[float, float, float, float]:
    """Left, top, right, bottom of a word in points of the page as it is seen, y down."""
    text = sheet.get_textpage()
    try:
        start = text.get_text_range().replace("\r\n", "\n\n").index(word)
        boxes = [text.get_charbox(start + offset, loose=True) for offset in range(len(word))]
    finally:
        text.close()
    left, bottom = min(b[0] for b in boxes), min(b[1] for b in boxes)
    right, top = max(b[2] for b in boxes), max(b[3] for b in boxes)
    return seen(sheet, left, bottom, right, top)


def seen(sheet: Any, left: float, bottom: float, right: float, top: float) -> tuple[float, float, float, float]:
    """A box in the page's own coordinates as it is seen: cropped, turned, y down."""
    crop_left, crop_bottom, crop_right, crop_top = sheet.get_cropbox()
    corners = {
        0: (left - crop_left, crop_top - top, right - crop_left, crop_top - bottom),
        90: (bottom - crop_bottom, left - crop_left, top - crop_bottom, right - crop_left),
        180: (crop_right - right, bottom - crop_bottom, crop_right - left, top - crop_bottom),
        270: (crop_top - top, crop_right - right, crop_top - bottom, crop_right - left),
    }
    return corners[sheet.get_rotation()]


def assert_words_in_place(sheet: Any, scale: float = TO_POINTS) -> None:
    assert text_of(sheet).split() == list(WORDS)
    for word, (left, base) in WORDS.items():
        x1, y1, x2, y2 = placed(sheet, word)
        assert (x1, x2) == pytest.approx((left * scale, (left + 100) * scale), abs=3)
        # The box of a character differs with the font's ascent; its middle is on the word.
        assert (base - 30) * scale - 3 < (y1 + y2) / 2 < (base + 10) * scale + 3
        assert y2 - y1 < 50 * scale


def size_of(sheet: Any) -> tuple[float, float]:
    return sheet.get_width(), sheet.get_height()


@pytest.mark.parametrize("suffix", ["jpg", "png", "tif", "webp", "bmp", "jp2", "gif"])
def test_words_are_found_in_order_where_they_are_on_the_page(tmp_path: Path, suffix: str) -> None:
    source = tmp_path / f"scan.{suffix}"
    more: dict[str, Any] = {"dpi": (DPI, DPI)} if suffix == "bmp" else {}
    picture("RGB").save(source, **more)
    with sheets(searchable(source, page())) as (sheet,):
        assert size_of(sheet) == pytest.approx((WIDTH * TO_POINTS, HEIGHT * TO_POINTS), abs=1)
        assert_words_in_place(sheet)


@pytest.mark.parametrize("mode", ["1", "L", "P", "RGBA", "LA", "I;16"])
def test_png_of_any_depth_and_transparency(tmp_path: Path, mode: str) -> None:
    source = tmp_path / "scan.png"
    (Pillow.new("I;16", (WIDTH, HEIGHT), 40000) if mode == "I;16" else picture(mode)).save(source)
    with sheets(searchable(source, page())) as (sheet,):
        assert_words_in_place(sheet)


@pytest.mark.parametrize("mode", ["L", "RGB", "CMYK"])
def test_a_jpeg_is_embedded_as_it_is(tmp_path: Path, mode: str) -> None:
    source = tmp_path / "scan.jpg"
    picture(mode).save(source, quality=80)
    with pikepdf.open(io.BytesIO(searchable(source, page()))) as pdf:
        (image,) = images_of(pdf.pages[0])
        assert "/DCTDecode" in str(image.Filter)
        assert image.read_raw_bytes() == source.read_bytes()


def test_the_size_comes_from_the_images_own_resolution(tmp_path: Path) -> None:
    source = tmp_path / "scan.jpg"
    picture().save(source, dpi=(200, 200))
    with sheets(searchable(source, page())) as (sheet,):
        assert size_of(sheet) == pytest.approx((WIDTH * 72 / 200, HEIGHT * 72 / 200), abs=1)
        assert_words_in_place(sheet, 72 / 200)


@pytest.mark.parametrize("orientation", [3, 6, 8])
def test_a_rotated_jpeg_stays_as_it_is_and_the_text_is_upright(tmp_path: Path, orientation: int) -> None:
    source = tmp_path / "scan.jpg"
    size = (WIDTH, HEIGHT) if orientation == 3 else (HEIGHT, WIDTH)
    exif = Pillow.Exif()
    exif[0x0112] = orientation
    picture(size=size).save(source, exif=exif, dpi=(DPI, DPI))
    data = searchable(source, page())
    with sheets(data) as (sheet,):
        assert size_of(sheet) == pytest.approx((WIDTH * TO_POINTS, HEIGHT * TO_POINTS), abs=1)
        assert_words_in_place(sheet)
    with pikepdf.open(io.BytesIO(data)) as pdf:
        (image,) = images_of(pdf.pages[0])
        assert image.read_raw_bytes() == source.read_bytes()


@pytest.mark.parametrize("compression", ["group4", "tiff_lzw", None])
def test_every_page_of_a_tiff_is_kept_and_a_failed_one_has_no_text(tmp_path: Path, compression: str | None) -> None:
    source = tmp_path / "scan.tif"
    first, *others = [picture("1") for _ in range(3)]
    first.save(source, save_all=True, append_images=others, compression=compression)
    data = searchable(source, page(), None, page(texts={"first": "other"}))
    with sheets(data) as (one, two, three):
        assert_words_in_place(one)
        assert text_of(two) == ""
        assert text_of(three).split() == ["other", "second", "third"]
    with pikepdf.open(io.BytesIO(data)) as pdf:
        assert all(len(images_of(sheet)) == 1 for sheet in pdf.pages)


def test_group_4_stays_group_4(tmp_path: Path) -> None:
    source = tmp_path / "scan.tif"
    picture("1").save(source, compression="group4")
    with pikepdf.open(io.BytesIO(searchable(source, page()))) as pdf:
        (image,) = images_of(pdf.pages[0])
        assert "/CCITTFaxDecode" in str(image.Filter)


@pytest.mark.parametrize("orientation", [2, 3, 4, 5, 6, 7, 8])
@pytest.mark.parametrize("suffix", ["jpg", "tif", "png"])
def test_what_is_seen_is_the_upright_picture(tmp_path: Path, suffix: str, orientation: int) -> None:
    """The red mark is where the upright picture has it, so that text and picture agree."""
    upright = picture("RGB")
    exif = Pillow.Exif()
    exif[0x0112] = orientation
    source = tmp_path / f"scan.{suffix}"
    upright.transpose(EXIF_UNDONE_BY[orientation]).save(source, exif=exif, dpi=(DPI, DPI))
    with sheets(searchable(source, page())) as (sheet,):
        seen_picture = sheet.render(scale=DPI / 72).to_pil().convert("RGB")
    assert seen_picture.size == pytest.approx(upright.size, abs=1)
    red, green, blue = seen_picture.getpixel((100, 50))
    assert red > 150 > max(green, blue)
    assert min(seen_picture.getpixel((500, 750))) > 240


def pdf_source(path: Path, rotate: int = 0, **boxes: list[float]) -> Path:
    """A page of 600 x 800 points as it is seen, turned by `rotate`, with a line of visible drawing."""
    size = (WIDTH, HEIGHT) if rotate % 180 == 0 else (HEIGHT, WIDTH)
    with pikepdf.new() as pdf:
        sheet = pdf.add_blank_page(page_size=size)
        sheet.Contents = pikepdf.Stream(pdf, b"2 0 0 2 50 50 cm 0 0 10 10 re f")
        sheet.Rotate = rotate
        for name, values in boxes.items():
            sheet.obj[f"/{name}"] = pikepdf.Array(values)
        pdf.save(path)
    return path


@pytest.mark.parametrize("rotate", [0, 90, 180, 270, -90, 450])
def test_text_on_a_turned_pdf_page_is_where_it_is_seen(tmp_path: Path, rotate: int) -> None:
    with sheets(searchable(pdf_source(tmp_path / "a.pdf", rotate), page())) as (sheet,):
        assert size_of(sheet) == (WIDTH, HEIGHT)
        assert_words_in_place(sheet, 1.0)


@pytest.mark.parametrize("rotate", [0, 90])
def test_a_crop_box_is_what_the_page_image_shows(tmp_path: Path, rotate: int) -> None:
    width, height = (WIDTH, HEIGHT) if rotate == 0 else (HEIGHT, WIDTH)
    boxes = {"MediaBox": [-100.0, -50.0, 2000.0, 2000.0], "CropBox": [30.0, 40.0, 30.0 + width, 40.0 + height]}
    with sheets(searchable(pdf_source(tmp_path / "a.pdf", rotate, **boxes), page())) as (sheet,):
        assert size_of(sheet) == (WIDTH, HEIGHT)
        assert_words_in_place(sheet, 1.0)


def test_a_pdf_page_at_another_resolution_maps_to_the_whole_page(tmp_path: Path) -> None:
    source = pdf_source(tmp_path / "a.pdf")
    with sheets(searchable(source, page(2 * WIDTH, 2 * HEIGHT))) as (sheet,):
        assert_words_in_place(sheet, 0.5)


def test_the_drawing_of_a_pdf_page_is_kept(tmp_path: Path) -> None:
    source = pdf_source(tmp_path / "a.pdf")
    with pikepdf.open(io.BytesIO(searchable(source, page()))) as pdf:
        drawing = pikepdf.unparse_content_stream(pikepdf.parse_content_stream(pdf.pages[0]))
    assert b"re\nf" in drawing
    with sheets(source.read_bytes()) as (before,), sheets(searchable(source, page())) as (after,):
        assert before.render().to_pil().tobytes() == after.render().to_pil().tobytes()


def test_pages_of_a_pdf_without_a_result_are_kept(tmp_path: Path) -> None:
    source = tmp_path / "a.pdf"
    with pikepdf.new() as pdf:
        for _ in range(3):
            pdf.add_blank_page(page_size=(WIDTH, HEIGHT))
        pdf.save(source)
    with sheets(searchable(source, None, page(), None)) as (one, two, three):
        assert (text_of(one), text_of(three)) == ("", "")
        assert_words_in_place(two, 1.0)


def test_inherited_boxes_turns_and_resources_are_honoured(tmp_path: Path) -> None:
    source = tmp_path / "a.pdf"
    with pikepdf.open(pdf_source(tmp_path / "b.pdf", 90)) as pdf:
        sheet = pdf.pages[0].obj
        for name in ("/MediaBox", "/Rotate"):
            pdf.Root.Pages[name] = sheet[name]
            del sheet[name]
        pdf.save(source)
    with sheets(searchable(source, page())) as (sheet,):
        assert size_of(sheet) == (WIDTH, HEIGHT)
        assert_words_in_place(sheet, 1.0)


@pytest.mark.parametrize("text", [") Tj ET (", "<>[]{}/%", "\\051", "ěščřž", "中文", "a\u0301"])
def test_any_text_copies_out_as_it_went_in(tmp_path: Path, text: str) -> None:
    source = tmp_path / "scan.png"
    picture().save(source)
    with sheets(searchable(source, page(texts={"third": text}))) as (sheet,):
        assert "".join(text_of(sheet).split()) == "".join(f"first second {text}".split())


def layer_of(sheet: pikepdf.Page) -> pikepdf.Object:
    (form,) = [item for name, item in sheet.Resources.XObject.items() if name.startswith("/PeroWorkerText")]
    return form


def test_text_is_invisible(tmp_path: Path) -> None:
    source = pdf_source(tmp_path / "a.pdf")
    with pikepdf.open(io.BytesIO(searchable(source, page()))) as pdf:
        modes = [int(item.operands[0]) for item in pikepdf.parse_content_stream(layer_of(pdf.pages[0]), "Tr")]
    assert modes == [3]


def test_a_slanted_line_has_slanted_text(tmp_path: Path) -> None:
    source = tmp_path / "scan.png"
    picture().save(source)
    corners = ((100.0, 200.0), (300.0, 300.0), (285.0, 330.0), (85.0, 230.0))
    line = Line(
        id="l",
        baseline=((90.0, 220.0), (290.0, 320.0)),
        polygon=corners,
        heights=None,
        text="slanted",
        confidence=None,
        words=(Word(text="slanted", polygon=corners),),
    )
    with sheets(
        searchable(
            source,
            Page(name="p", width=WIDTH, height=HEIGHT, regions=(Region(id="r", polygon=corners, lines=(line,)),)),
        )
    ) as (sheet,):
        text = sheet.get_textpage()
        first, last = text.get_charbox(0, loose=True), text.get_charbox(6, loose=True)
        text.close()
    # 200 pixels to the right and 100 down, the middles of the first and last of 7 characters apart by 6/7 of that.
    assert last[0] - first[0] == pytest.approx(200 * 6 / 7 * TO_POINTS, abs=4)
    assert first[1] - last[1] == pytest.approx(100 * 6 / 7 * TO_POINTS, abs=4)


def test_a_page_without_words_uses_its_lines(tmp_path: Path) -> None:
    source = tmp_path / "scan.png"
    picture().save(source)
    outline = ((60.0, 70.0), (360.0, 70.0), (360.0, 110.0), (60.0, 110.0))
    line = Line(
        id="l", baseline=((60.0, 100.0), (360.0, 100.0)), polygon=outline, heights=(30.0, 10.0), text="only a line"
    )
    with sheets(
        searchable(
            source,
            Page(name="p", width=WIDTH, height=HEIGHT, regions=(Region(id="r", polygon=outline, lines=(line,)),)),
        )
    ) as (sheet,):
        assert text_of(sheet).split() == ["only", "a", "line"]


def test_an_icc_profile_is_no_obstacle(tmp_path: Path) -> None:
    source = tmp_path / "scan.jpg"
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB"))
    picture("RGB").save(source, icc_profile=profile.tobytes())
    with sheets(searchable(source, page())) as (sheet,):
        assert_words_in_place(sheet)


@pytest.mark.parametrize(
    "content", [b"", b"%PDF-1.7 broken", b"plain text", b"\x89PNG\r\n\x1a\n broken", b"\xff\xd8\xff\xe0"]
)
def test_what_cannot_be_made_into_a_pdf_is_a_page_error(tmp_path: Path, content: bytes) -> None:
    source = tmp_path / "scan"
    source.write_bytes(content)
    with pytest.raises(PageError):
        searchable(source, page())


def test_an_encrypted_pdf_is_a_page_error(tmp_path: Path) -> None:
    source = tmp_path / "a.pdf"
    with pikepdf.open(pdf_source(tmp_path / "b.pdf")) as pdf:
        pdf.save(source, encryption=pikepdf.Encryption(owner="owner", user="user"))
    with pytest.raises(PageError):
        searchable(source, page())


@pytest.mark.parametrize("points", [2, 3, 5, 9])
def test_a_word_of_any_number_of_corners_keeps_its_text(tmp_path: Path, points: int) -> None:
    source = tmp_path / "scan.png"
    picture().save(source)
    line = line_of("first", "second")
    words = tuple(Word(text=word.text, polygon=(word.polygon * 3)[:points]) for word in line.words)
    line = replace(line, words=words)
    with sheets(
        searchable(
            source,
            Page(name="p", width=WIDTH, height=HEIGHT, regions=(Region(id="r", polygon=box(60, 100), lines=(line,)),)),
        )
    ) as (sheet,):
        assert text_of(sheet).split() == ["first", "second"]


def test_control_characters_are_left_out_and_rare_letters_kept(tmp_path: Path) -> None:
    source = tmp_path / "scan.png"
    picture().save(source)
    texts = {"first": "a\x00b\x07", "second": "\ud800x", "third": "\U00010400y"}
    with sheets(searchable(source, page(texts=texts))) as (sheet,):
        assert text_of(sheet).split() == ["ab", "x", "\U00010400y"]


BOXES_IN_DISORDER = {
    "corners swapped": {"/CropBox": pikepdf.Array([WIDTH, HEIGHT, 0, 0])},
    "crop beyond the paper": {"/CropBox": pikepdf.Array([-500, -500, 3000, 3000])},
    "no box at all": {"/CropBox": pikepdf.Array([5, 5, 5, 5])},
    "not numbers": {"/CropBox": pikepdf.Array([pikepdf.Name.A])},
    "turn is a name": {"/Rotate": pikepdf.Name.A},
    "an odd turn": {"/Rotate": 45},
}


@pytest.mark.parametrize("entries", BOXES_IN_DISORDER.values(), ids=BOXES_IN_DISORDER)
def test_boxes_in_disorder_are_taken_as_the_page_image_takes_them(tmp_path: Path, entries: dict[str, Any]) -> None:
    source = tmp_path / "a.pdf"
    with pikepdf.open(pdf_source(tmp_path / "b.pdf")) as pdf:
        for name, value in entries.items():
            pdf.pages[0].obj[name] = value
        pdf.save(source)
    with pikepdf.open(io.BytesIO(searchable(source, page()))) as pdf:
        starts = [item.operands[4:] for item in pikepdf.parse_content_stream(layer_of(pdf.pages[0]), "Tm")]
    placed_at = [float(value) for pair in starts for value in pair]
    expected = [value for left, base in WORDS.values() for value in (left, HEIGHT - base)]
    assert placed_at == pytest.approx(expected, abs=0.1)


def test_a_fax_has_the_shape_it_had_on_paper(tmp_path: Path) -> None:
    source = tmp_path / "fax.tif"
    Pillow.new("1", (1728, 1078), 1).save(source, compression="group4", dpi=(204, 98))
    with sheets(searchable(source, Page(name="p", width=1728, height=1078))) as (sheet,):
        assert size_of(sheet) == pytest.approx((1728 * 72 / 204, 1078 * 72 / 98), abs=1)


def test_a_failed_page_that_is_too_large_is_not_decoded_and_the_others_are_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = tmp_path / "scan.tif"
    picture("1").save(source, save_all=True, append_images=[Pillow.new("1", (3000, 3000))])
    monkeypatch.setattr("pero_worker.formats.imagepdf.DEFAULT_MAX_PIXELS", 1_000_000)
    data = searchable(source, page(), None)
    with sheets(data) as (one, two):
        assert_words_in_place(one)
        assert text_of(two) == ""
    with pikepdf.open(io.BytesIO(data)) as pdf:
        assert [int(images_of(sheet)[0].Width) for sheet in pdf.pages] == [WIDTH, 1]


def test_the_same_input_gives_the_same_bytes_at_any_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = tmp_path / "scan.png"
    picture().save(source)
    given = imagepdf.images_as_pdf

    def with_another_id(*arguments: Any) -> Path:
        made = given(*arguments)
        with pikepdf.open(made, allow_overwriting_input=True) as pdf:
            pdf.trailer.ID = pikepdf.Array([pikepdf.String("another"), pikepdf.String("time")])
            pdf.save(made)
        return made

    first = searchable(source, page())
    monkeypatch.setattr("pero_worker.formats.pdf.images_as_pdf", with_another_id)
    assert searchable(source, page()) == first


def test_a_source_that_is_gone_is_a_page_error(tmp_path: Path) -> None:
    with pytest.raises(PageError, match="cannot read"):
        searchable(tmp_path / "gone.png", page())


def test_a_full_disk_is_an_output_error(tmp_path: Path) -> None:
    class Full(io.BytesIO):
        def write(self, _: Any) -> int:
            raise OSError(28, "No space left on device")

    with pytest.raises(OutputError, match="No space left"):
        write_searchable_pdf(pdf_source(tmp_path / "a.pdf"), [page()], Full(), dpi=DPI)


def test_words_that_run_leftward_come_out_as_they_are_read(tmp_path: Path) -> None:
    source = tmp_path / "scan.png"
    picture().save(source)
    words = ["שלום", "(עולם)", "طيب", "1938", "سنة٢٠٢٣", "א12ב"]
    lefts = [60 + 90 * place for place in reversed(range(len(words)))]
    placed_words = tuple(
        Word(text=text, polygon=((left, 70), (left + 70, 70), (left + 70, 110), (left, 110)))
        for text, left in zip(words, lefts, strict=True)
    )
    line = Line(
        id="l",
        baseline=((60, 100), (600, 100)),
        polygon=box(60, 100),
        heights=(30.0, 10.0),
        text=" ".join(words),
        confidence=0.9,
        words=placed_words,
    )
    given = replace(page(), regions=(Region(id="r", polygon=box(60, 300), lines=(line, line_of("third"))),))
    with sheets(searchable(source, given)) as (sheet,):
        assert text_of(sheet).split() == [*words, "third"]


@pytest.mark.parametrize("suffix", ["png", "jpg", "tif"])
@pytest.mark.parametrize("mode", ["1", "L", "RGB", "P", "RGBA"])
def test_a_pdf_out_of_images_is_made_to_be_kept(tmp_path: Path, suffix: str, mode: str) -> None:
    if suffix == "jpg" and mode not in {"L", "RGB"}:
        mode = "L"
    source = tmp_path / f"Box 7 & more.{suffix}"
    picture(mode).save(source)
    with pikepdf.open(io.BytesIO(searchable(source, page()))) as pdf:
        metadata = pdf.open_metadata()
        assert metadata.pdfa_status == "2B"
        assert metadata["dc:title"] == str(pdf.docinfo.Title) == "Box 7 & more"
        assert metadata["pdf:Producer"] == str(pdf.docinfo.Producer)
        assert pdf.docinfo.keys() == {"/Title", "/Producer"}
        assert pdf.pdf_version == "1.7"
        assert pdf.trailer.ID
        (intent,) = pdf.Root.OutputIntents
        profile = intent.DestOutputProfile.read_bytes()
        assert (intent.DestOutputProfile.N, profile[12:20]) == (3, b"mntrRGB ")
        assert "/Metadata" in pdf.Root
        assert "/Filter" not in pdf.Root.Metadata


@pytest.mark.parametrize("kind", ["cmyk", "jp2", "icc"])
def test_no_more_is_claimed_than_is_sure(tmp_path: Path, kind: str) -> None:
    source = tmp_path / ("scan.jp2" if kind == "jp2" else "scan.jpg")
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    given = picture("CMYK" if kind == "cmyk" else "RGB")
    if kind == "icc":
        given.save(source, icc_profile=profile)
    else:
        given.save(source)
    with pikepdf.open(io.BytesIO(searchable(source, page()))) as pdf:
        assert pdf.open_metadata().pdfa_status == ""
