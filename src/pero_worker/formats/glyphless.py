"""A font for the invisible text of searchable PDFs: every code is a UTF-16 unit, every glyph a box half an em wide.

The boxes are never painted, but readers use them to locate characters, and some drop characters without extent.
"""

from __future__ import annotations

import io
import zlib

import pikepdf
from fontTools.fontBuilder import FontBuilder
from fontTools.pens.ttGlyphPen import TTGlyphPen
from fontTools.ttLib.tables._g_l_y_f import Glyph
from pikepdf import Array, Dictionary, Name

ADVANCE = 0.5
"""Width of every character in ems."""

_ASCENT, _DESCENT = 800, -200

_TO_UNICODE = b"""/CIDInit /ProcSet findresource begin 12 dict begin begincmap
/CIDSystemInfo << /Registry (Adobe) /Ordering (UCS) /Supplement 0 >> def
/CMapName /Adobe-Identity-UCS def /CMapType 2 def
1 begincodespacerange <0000> <FFFF> endcodespacerange
1 beginbfrange <0000> <FFFF> <0000> endbfrange
endcmap CMapName currentdict /CMap defineresource pop end end
"""


def add_font(pdf: pikepdf.Pdf) -> pikepdf.Object:
    """Adds the font to `pdf` and returns it, for use in the resources of pages."""
    program = _font_program()
    descriptor = Dictionary(
        Type=Name.FontDescriptor,
        FontName=Name.PeroWorkerGlyphless,
        Flags=5,
        FontBBox=Array([0, _DESCENT, int(1000 * ADVANCE), _ASCENT]),
        ItalicAngle=0,
        Ascent=_ASCENT,
        Descent=_DESCENT,
        CapHeight=_ASCENT,
        StemV=80,
        FontFile2=_compressed(pdf, program, Length1=len(program)),
    )
    descendant = Dictionary(
        Type=Name.Font,
        Subtype=Name.CIDFontType2,
        BaseFont=Name.PeroWorkerGlyphless,
        CIDSystemInfo=Dictionary(Registry=pikepdf.String("Adobe"), Ordering=pikepdf.String("Identity"), Supplement=0),
        FontDescriptor=pdf.make_indirect(descriptor),
        DW=int(1000 * ADVANCE),
        CIDToGIDMap=_compressed(pdf, b"\0\1" * 65536),
    )
    return pdf.make_indirect(
        Dictionary(
            Type=Name.Font,
            Subtype=Name.Type0,
            BaseFont=Name.PeroWorkerGlyphless,
            Encoding=Name("/Identity-H"),
            DescendantFonts=Array([pdf.make_indirect(descendant)]),
            ToUnicode=_compressed(pdf, _TO_UNICODE),
        )
    )


def _compressed(pdf: pikepdf.Pdf, data: bytes, **entries: int) -> pikepdf.Object:
    stream = pikepdf.Stream(pdf, zlib.compress(data, 9))
    stream.Filter = Name.FlateDecode
    for name, value in entries.items():
        stream[f"/{name}"] = value
    return pdf.make_indirect(stream)


def _font_program() -> bytes:
    """Returns a TrueType font with two glyphs: an empty one and a box."""
    glyphs = [".notdef", "box"]
    pen = TTGlyphPen(None)
    corners = [(0, _DESCENT), (0, _ASCENT), (int(1000 * ADVANCE), _ASCENT), (int(1000 * ADVANCE), _DESCENT)]
    pen.moveTo(corners[0])
    for corner in corners[1:]:
        pen.lineTo(corner)
    pen.closePath()
    builder = FontBuilder(1000, isTTF=True)
    builder.setupGlyphOrder(glyphs)
    builder.setupCharacterMap({0x20: "box"})
    builder.setupGlyf({".notdef": Glyph(), "box": pen.glyph()})
    builder.setupHorizontalMetrics({name: (int(1000 * ADVANCE), 0) for name in glyphs})
    builder.setupHorizontalHeader(ascent=_ASCENT, descent=_DESCENT)
    builder.setupNameTable({"familyName": "PeroWorkerGlyphless", "styleName": "Regular"})
    builder.setupOS2(sTypoAscender=_ASCENT, sTypoDescender=_DESCENT, usWinAscent=_ASCENT, usWinDescent=-_DESCENT)
    builder.setupPost()
    builder.setupHead(unitsPerEm=1000, created=0, modified=0)
    builder.font.recalcTimestamp = False
    target = io.BytesIO()
    builder.save(target)
    return target.getvalue()
