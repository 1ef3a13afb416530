"""PDFs as they come from the field: pages whose contents, resources, boxes and text are what people's are."""

from __future__ import annotations

import zlib
from pathlib import Path
from typing import Any

import pikepdf
from pikepdf import Array, Dictionary, Name, Pdf, Stream, String
from PIL import Image, ImageDraw, ImageFont

WIDTH, HEIGHT = 240, 168
"""Points of a page."""
LINES = ("The harbour master wrote", "a letter to the council", "about seven late ships")
_FONT = "/usr/share/fonts/truetype/dejavu/DejaVuSerif.ttf"
SCAN = b"q %d 0 0 %d 0 0 cm /Im0 Do Q" % (WIDTH, HEIGHT)
_BROKEN_ENDS = {
    "comment": b" % end of page",
    "surplus Q": b" Q Q Q .5 0 0 .5 60 40 cm",
    "surplus q": b" q q .5 0 0 .5 60 40 cm 1 0 0 rg",
    "open string": b" BT /F1 9 Tf 20 20 Td (never closed",
    "open hexadecimal string": b" BT /F1 9 Tf 20 20 Td <48656c",
    "open array": b" BT /F1 9 Tf 20 20 Td [(Hel",
    "open text object": b" BT /F1 30 Tf 5 Tr 3 Ts 50 Tz 20 20 Td",
    "half a number": b" q .5 0 0 .",
    "unknown operator": b" 1 2 3 frobnicate",
    "operands only": b" 1 0 0 1 300 300",
    "colour and clip": b" 0 0 10 10 re W n 1 0 0 rg 1 0 0 RG 5 w",
    "empty clip": b" 0 0 0 0 re W n",
    "inline image begun": b" BI /W 8 /H 8 /BPC 1 /CS /G ID \xff\xff",
    "marked content open": b" /Span << /ActualText (no) >> BDC",
    "hidden marked content": b" /OC /Nothing BDC",
    "NUL bytes": b"\0\0\0 \0",
}


def picture_of(lines: tuple[str, ...] = LINES, size: tuple[int, int] = (1000, 700)) -> Image.Image:
    """A scan of 300 dpi with a few lines."""
    image = Image.new("L", size, 250)
    font = ImageFont.truetype(_FONT, 44)
    for number, line in enumerate(lines):
        ImageDraw.Draw(image).text((80, 60 + number * 90), line, font=font, fill=15)
    return image


def boxes_of(lines: tuple[str, ...] = LINES) -> list[tuple[str, tuple[float, float, float, float]]]:
    """The words of `picture_of` with their boxes in pixels, from ascender to descender."""
    font = ImageFont.truetype(_FONT, 44)
    found = []
    for number, line in enumerate(lines):
        top = 60 + number * 90
        place = 0
        for word in line.split():
            left = 80 + font.getlength(line[:place])
            found.append((word, (left, top + 8.0, left + font.getlength(word), top + 52.0)))
            place += len(word) + 1
    return found


class Maker:
    """A PDF in the making."""

    def __init__(self) -> None:
        self.pdf = Pdf.new()
        scan = Stream(self.pdf, zlib.compress(picture_of().tobytes()))
        scan.stream_dict = Dictionary(
            Type=Name.XObject,
            Subtype=Name.Image,
            Width=1000,
            Height=700,
            ColorSpace=Name.DeviceGray,
            BitsPerComponent=8,
            Filter=Name.FlateDecode,
        )
        self.scan = self.pdf.make_indirect(scan)
        self.names: list[str] = []

    def stream(self, content: bytes, **entries: Any) -> Any:
        stream = Stream(self.pdf, content)
        for name, value in entries.items():
            stream[f"/{name}"] = value
        return self.pdf.make_indirect(stream)

    def resources(self) -> Dictionary:
        return Dictionary(Font=Dictionary(F1=helvetica()), XObject=Dictionary(Im0=self.scan))

    def page(self, name: str, content: Any = SCAN, **entries: Any) -> Any:
        """Adds a page; an entry that is None is left out."""
        self.names.append(name)
        values = {
            "Type": Name.Page,
            "MediaBox": Array([0, 0, WIDTH, HEIGHT]),
            "Resources": self.resources(),
            "Contents": self.stream(content) if isinstance(content, bytes) else content,
        }
        sheet = Dictionary({f"/{key}": value for key, value in (values | entries).items() if value is not None})
        self.pdf.pages.append(pikepdf.Page(self.pdf.make_indirect(sheet)))
        return self.pdf.pages[-1].obj

    def form(self, content: bytes, **entries: Any) -> Any:
        return self.stream(
            content,
            Type=Name.XObject,
            Subtype=Name.Form,
            BBox=Array([0, 0, WIDTH, HEIGHT]),
            Resources=Dictionary(Font=Dictionary(F1=helvetica())),
            **entries,
        )


def helvetica() -> Dictionary:
    return Dictionary(Type=Name.Font, Subtype=Name.Type1, BaseFont=Name.Helvetica)


def strange_contents(path: Path) -> list[str]:
    """A scan on every page, whose contents, resources and boxes are odd; the pages' names."""
    make = Maker()
    for name, end in _BROKEN_ENDS.items():
        make.page(name, SCAN + end)
    make.page("surplus Q first", b"Q Q " + SCAN)
    make.page("scaled and left so", b".5 0 0 .5 0 0 cm 480 0 0 336 0 0 cm /Im0 Do")
    parts = [make.stream(part) for part in (b"q 240 0 0 16", b"8 0 0 cm /Im0", b"Do Q % done")]
    make.page("cut into parts", Array(parts))
    make.page("parts in one array of many", make.pdf.make_indirect(Array(parts)))
    make.page("an empty part", Array([make.stream(b""), make.stream(SCAN)]))
    make.page("no contents", None)
    make.page("no resources", b"0.5 g 20 20 60 60 re f", Resources=None)
    make.page("resources are none", b"0.5 g 20 20 60 60 re f", Resources=Array([1]))
    make.page("no forms among resources", b"0.5 g 20 20 60 60 re f", Resources=Dictionary())
    make.page("a name of ours is taken", SCAN.replace(b"Im0", b"PeroWorkerText0"),
              Resources=Dictionary(XObject=Dictionary(PeroWorkerText0=make.scan)))  # fmt: skip
    shared = make.pdf.make_indirect(make.resources())
    make.page("shared resources", SCAN, Resources=shared)
    make.page("shared resources again", SCAN, Resources=shared)
    make.page("a font that is not there", SCAN + b" BT /F9 9 Tf 20 20 Td (missing) Tj ET")
    broken = Dictionary(Type=Name.Font, Subtype=Name.TrueType, BaseFont=Name.Broken, FontDescriptor=Dictionary(
        Type=Name.FontDescriptor, FontName=Name.Broken, Flags=4, FontFile2=make.stream(b"no font at all")))  # fmt: skip
    make.page("a broken font", SCAN + b" BT /F1 9 Tf 20 20 Td (\xff\xfe) Tj ET",
              Resources=Dictionary(Font=Dictionary(F1=broken), XObject=Dictionary(Im0=make.scan)))  # fmt: skip
    make.page("a broken filter", Array([make.stream(SCAN), make.stream(b"not deflated", Filter=Name.FlateDecode)]))
    make.page("a group", SCAN, Group=Dictionary(S=Name.Transparency, CS=Name.DeviceRGB, I=True, K=True))
    make.pdf.save(path)
    return make.names


def turned_and_cropped(path: Path) -> list[str]:
    """A scan that is seen upright on every page, whatever box and turn it has; the pages' names."""
    make = Maker()
    for turn in (0, 90, 180, 270):
        matrix = {
            0: b"1 0 0 1 0 0",
            90: b"0 1 -1 0 168 0",
            180: b"-1 0 0 -1 240 168",
            270: b"0 -1 1 0 0 240",
        }[turn]
        size = [WIDTH, HEIGHT] if turn % 180 == 0 else [HEIGHT, WIDTH]
        make.page(f"turned {turn}", b"q %s cm %s Q Q" % (matrix, SCAN), Rotate=turn, MediaBox=Array([0, 0, *size]))
        shift = b"q 1 0 0 1 30 50 cm %s cm %s Q" % (matrix, SCAN)
        box = Array([30, 50, 30 + size[0], 50 + size[1]])
        make.page(f"turned {turn} and cropped", shift, Rotate=turn, MediaBox=Array([-40, -30, 900, 900]), CropBox=box)
    make.pdf.save(path)
    return make.names


def with_form_field(path: Path, *, appearance: bool) -> None:
    """A scan with a text field at the foot of the page."""
    make = Maker()
    sheet = make.page("form")
    text = "Filled by hand in 1987"
    field = Dictionary(
        Type=Name.Annot,
        Subtype=Name.Widget,
        FT=Name.Tx,
        T=String("name"),
        V=String(text),
        F=4,
        Rect=Array([20, 30, 220, 50]),
        DA=String("/F1 12 Tf 0 g"),
    )
    if appearance:
        field.AP = Dictionary(N=make.form(b"BT /F1 12 Tf 2 6 Td (%s) Tj ET" % text.encode()))
    field = make.pdf.make_indirect(field)
    sheet.Annots = Array([field])
    make.pdf.Root.AcroForm = Dictionary(
        Fields=Array([field]),
        DA=String("/F1 12 Tf 0 g"),
        DR=Dictionary(Font=Dictionary(F1=helvetica())),
        NeedAppearances=not appearance,
    )
    make.pdf.save(path)


def with_text(path: Path) -> list[str]:
    """Pages that have text: an invisible layer of several kinds, print, both, and none; the pages' names.

    The invisible text is wrong ("Tlie liarbour"), the printed words are those of `LINES`.
    """
    make = Maker()
    wrong = b"BT 3 Tr /F1 9 Tf 20 140 Td (Tlie liarbour rnaster) Tj 0 -20 Td [(a) -250 (lettcr)] TJ T* (tc) ' ET"
    make.page("layer after", SCAN + b" " + wrong)
    make.page("layer before", b"q " + wrong + b" Q " + SCAN)
    layer = make.form(b"q " + wrong + b" Q")
    make.page("layer in a form", SCAN + b" q /L Do Q", Resources=_more(make, L=layer))
    inner = make.form(b"BT /F1 9 Tf 20 140 Td (Tlie liarbour rnaster) Tj ET")
    make.page("layer in a form that is drawn invisibly", SCAN + b" q 3 Tr /L Do Q", Resources=_more(make, L=inner))
    print_ = b"BT /F1 13 Tf 20 140 Td 22 TL " + b"".join(b"(%s) Tj T* " % line.encode() for line in LINES) + b"ET"
    make.page("print", print_)
    make.page("print under a layer", print_ + b" " + wrong)
    make.page("a scan with printed number", SCAN + b" BT /F1 9 Tf 100 8 Td (Box 7-1987) Tj ET")
    make.page("none", SCAN)
    make.pdf.save(path)
    return make.names


def _more(make: Maker, **forms: Any) -> Dictionary:
    resources = make.resources()
    for name, form in forms.items():
        resources.XObject[f"/{name}"] = form
    return resources
