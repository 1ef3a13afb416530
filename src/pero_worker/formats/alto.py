"""ALTO 4.2."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import TypeAlias

from lxml import etree

from pero_worker.formats.words import box_of, words_of
from pero_worker.formats.xmltext import Ids, clean_text
from pero_worker.page import Line, Page, Point, Region, Word

NAMESPACE = "http://www.loc.gov/standards/alto/ns-v4#"
_XSI = "http://www.w3.org/2001/XMLSchema-instance"
Element: TypeAlias = etree._Element


def write(page: Page, *, created: datetime, creator: str) -> bytes:
    """The page as ALTO, in pixels; every line with its words (split evenly when the engine gave none)."""
    root = etree.Element(
        f"{{{NAMESPACE}}}alto",
        {f"{{{_XSI}}}schemaLocation": f"{NAMESPACE} http://www.loc.gov/standards/alto/v4/alto-4-2.xsd"},
        nsmap={None: NAMESPACE, "xsi": _XSI},
    )
    description = _child(root, "Description")
    _child(description, "MeasurementUnit").text = "pixel"
    _child(_child(description, "sourceImageInformation"), "fileName").text = clean_text(page.name)
    step = _child(description, "Processing", ID="ocr")
    _child(step, "processingDateTime").text = created.isoformat(timespec="seconds")
    software = _child(step, "processingSoftware")
    _child(software, "softwareName").text = clean_text(creator)
    ids = Ids({"ocr", "page", "space"})
    size = {"WIDTH": str(page.width), "HEIGHT": str(page.height)}
    sheet = _child(_child(root, "Layout"), "Page", ID="page", PHYSICAL_IMG_NR="1", **size)
    if (sure := page.confidence()) is not None:
        sheet.set("PC", f"{min(1.0, max(0.0, sure)):.3f}")
    space = _child(sheet, "PrintSpace", ID="space", HPOS="0", VPOS="0", **size)
    for region in page.regions:
        _block(space, region, ids)
    xml: bytes = etree.tostring(root, xml_declaration=True, encoding="UTF-8", pretty_print=True)
    return xml


def _block(space: Element, region: Region, ids: Ids) -> None:
    block = _child(space, "TextBlock", ID=ids.take(region.id, "block"), **_box(region.polygon))
    _shape(block, region.polygon)
    for line in region.lines:
        _line(block, line, ids)


def _line(block: Element, line: Line, ids: Ids) -> None:
    outline = line.polygon or line.baseline
    element = _child(block, "TextLine", ID=ids.take(line.id, "line"), **_box(outline))
    if len(line.baseline) >= 2:
        element.set("BASELINE", _points(line.baseline))
    _shape(element, outline)
    words = [word for word in words_of(line) if clean_text(word.text)]
    for i, word in enumerate(words):
        if i:
            _space(element, words[i - 1], word)
        string = _child(element, "String", ID=ids.take("", "string"), CONTENT=clean_text(word.text))
        for name, value in _box(word.polygon).items():
            string.set(name, value)
        if word.confidence is not None:
            string.set("WC", f"{min(1.0, max(0.0, word.confidence)):.3f}")
    if not words:  # the schema wants at least one
        _child(element, "String", ID=ids.take("", "string"), CONTENT="", **_box(outline))


def _space(line: Element, before: Word, after: Word) -> None:
    _, top, right, _ = box_of(before.polygon)
    left = box_of(after.polygon)[0]
    _child(line, "SP", HPOS=str(right), VPOS=str(top), WIDTH=str(max(0, left - right)))


def _shape(parent: Element, polygon: Sequence[Point]) -> None:
    if len(polygon) >= 3:
        _child(_child(parent, "Shape"), "Polygon", POINTS=_points(polygon))


def _points(points: Sequence[Point]) -> str:
    return " ".join(f"{max(0, round(x))},{max(0, round(y))}" for x, y in points)


def _box(polygon: Sequence[Point]) -> dict[str, str]:
    left, top, right, bottom = box_of(tuple(polygon))
    return {"HPOS": str(left), "VPOS": str(top), "WIDTH": str(right - left), "HEIGHT": str(bottom - top)}


def _child(parent: Element, name: str, **attributes: str) -> Element:
    return etree.SubElement(parent, f"{{{NAMESPACE}}}{name}", attributes)
