"""PAGE XML, written in the version of 2019-07-15 and always valid against its schema."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import TypeAlias

from lxml import etree

from pero_worker.formats.outlines import whole
from pero_worker.formats.pagexml_read import TABLE, read
from pero_worker.formats.xmltext import Ids, clean_text
from pero_worker.page import Line, Page, Point, Region, Word

__all__ = ["read", "write"]

NAMESPACE = "http://schema.primaresearch.org/PAGE/gts/pagecontent/2019-07-15"
_XSI = "http://www.w3.org/2001/XMLSchema-instance"
_REGION_TYPES = frozenset(
    [
        "paragraph",
        "heading",
        "caption",
        "header",
        "footer",
        "page-number",
        "drop-capital",
        "credit",
        "floating",
        "signature-mark",
        "catch-word",
        "marginalia",
        "footnote",
        "footnote-continued",
        "endnote",
        "TOC-entry",
        "list-label",
        "other",
    ]
)
_ORDER = "readingOrder {{index:{};}}"
Element: TypeAlias = etree._Element


def write(page: Page, *, created: datetime, creator: str) -> bytes:
    """Returns the page as PAGE XML. Outlines are in whole pixels of the page and contain their parts (`outlines.py`);
    ids that are invalid or not unique are replaced; line heights go into `custom` as pero-ocr reads them. Raises
    `PageError` if a coordinate is not a number."""
    page = whole(page)
    root = etree.Element(
        f"{{{NAMESPACE}}}PcGts",
        {"pcGtsId": "page", f"{{{_XSI}}}schemaLocation": f"{NAMESPACE} {NAMESPACE}/pagecontent.xsd"},
        nsmap={None: NAMESPACE, "xsi": _XSI},
    )
    metadata = _child(root, "Metadata")
    _child(metadata, "Creator").text = clean_text(creator)
    for name in ("Created", "LastChange"):
        _child(metadata, name).text = created.isoformat(timespec="seconds")
    name = clean_text(page.name)
    sheet = _child(root, "Page", imageFilename=name, imageWidth=str(page.width), imageHeight=str(page.height))
    if (sure := page.confidence()) is not None:
        sheet.set("conf", f"{min(1.0, max(0.0, sure)):.3f}")
    if page.orientation and -180 < page.orientation <= 180:
        sheet.set("orientation", f"{page.orientation:.3f}")
    ids = Ids({"page", "reading_order"})
    named = [(ids.take(region.id, "r"), region) for region in page.regions]
    if named:
        group = _child(_child(sheet, "ReadingOrder"), "OrderedGroup", id="reading_order")
        for index, (region_id, _) in enumerate(named):
            _child(group, "RegionRefIndexed", index=str(index), regionRef=region_id)
    for place, (region_id, region) in enumerate(named):
        _write_region(sheet, place, region_id, region, ids)
    xml: bytes = etree.tostring(root, xml_declaration=True, encoding="UTF-8", pretty_print=True)
    return xml


def _write_region(sheet: Element, place: int, region_id: str, region: Region, ids: Ids) -> None:
    # Transkribus goes by the order in `custom`.
    element = _child(sheet, "TextRegion", id=region_id, custom=_ORDER.format(place))
    if region.kind in _REGION_TYPES:
        element.set("type", region.kind)
    elif region.kind == TABLE:
        # Not a TableRegion: many programs that read PAGE look for text only in the page's own TextRegions.
        element.set("custom", f"{element.get('custom')} structure {{type:{TABLE};}}")
    _child(element, "Coords", points=_points(region.polygon))
    for number, line in enumerate(region.lines):
        _write_line(element, number, line, ids)


def _write_line(region: Element, place: int, line: Line, ids: Ids) -> None:
    element = _child(region, "TextLine", id=ids.take(line.id, "l"), custom=_ORDER.format(place))
    if line.heights is not None:
        heights = f"heights_v2:[{line.heights[0]:.1f},{line.heights[1]:.1f}]"
        element.set("custom", f"{element.get('custom')} {heights}")
    _child(element, "Coords", points=_points(line.polygon))
    if len(line.baseline) >= 2:
        _child(element, "Baseline", points=_points(line.baseline))
    for word in line.words:
        _write_word(element, word, ids)
    if line.text is not None:
        _write_text(element, line.text, line.confidence)


def _write_word(line: Element, word: Word, ids: Ids) -> None:
    element = _child(line, "Word", id=ids.take("", "w"))
    _child(element, "Coords", points=_points(word.polygon))
    _write_text(element, word.text, word.confidence)


def _write_text(parent: Element, text: str, confidence: float | None) -> None:
    element = _child(parent, "TextEquiv")
    if confidence is not None:
        element.set("conf", f"{min(1.0, max(0.0, confidence)):.3f}")
    _child(element, "Unicode").text = clean_text(text)


def _points(points: Sequence[Point]) -> str:
    return " ".join(f"{x:.0f},{y:.0f}" for x, y in points)


def _child(parent: Element, name: str, **attributes: str) -> Element:
    return etree.SubElement(parent, f"{{{NAMESPACE}}}{name}", attributes)
