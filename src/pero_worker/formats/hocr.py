"""hOCR 1.2."""

from __future__ import annotations

from datetime import datetime
from typing import TypeAlias

from lxml import etree

from pero_worker.formats.words import box_of, words_of
from pero_worker.formats.xmltext import clean_text
from pero_worker.page import Line, Page, Polygon

_XHTML = "http://www.w3.org/1999/xhtml"
_CLASSES = {
    "header": "ocr_header",
    "footer": "ocr_footer",
    "page-number": "ocr_pageno",
    "signature-mark": "ocr_footer",
    "catch-word": "ocr_footer",
    "caption": "ocr_caption",
    "table": "ocr_table",
    "marginalia": "ocr_textfloat",
    "footnote": "ocr_textfloat",
    "footnote-continued": "ocr_textfloat",
}
"""hOCR's element around the paragraph, for kinds of regions that are more than a paragraph."""
_CAPABILITIES = " ".join(
    ["ocr_page", "ocr_carea", "ocr_par", "ocr_line", "ocrx_word", *dict.fromkeys(_CLASSES.values())]
)
Element: TypeAlias = etree._Element


def write(page: Page, *, created: datetime, creator: str) -> bytes:
    """Returns the page as XHTML with hOCR's classes; boxes are in pixels."""
    root = etree.Element(f"{{{_XHTML}}}html", nsmap={None: _XHTML})
    head = _child(root, "head")
    _child(head, "title").text = clean_text(page.name)
    _child(head, "meta", {"http-equiv": "Content-Type", "content": "text/html;charset=utf-8"})
    _child(head, "meta", {"name": "ocr-system", "content": clean_text(creator)})
    _child(head, "meta", {"name": "ocr-capabilities", "content": _CAPABILITIES})
    image = clean_text(page.name).replace('"', "'").replace("\\", "/")
    title = f'image "{image}"; bbox 0 0 {page.width} {page.height}; ppageno 0'
    sheet = _child(_child(root, "body"), "div", {"class": "ocr_page", "id": "page_1", "title": title})
    for number, region in enumerate(page.regions, 1):
        box = _bbox(region.polygon)
        # Readers look for areas, paragraphs and lines by exactly these names.
        area = _child(sheet, "div", {"class": "ocr_carea", "id": f"block_1_{number}", "title": box})
        if (kind := _CLASSES.get(region.kind or "")) is not None:
            area = _child(area, "div", {"class": kind, "id": f"{kind[4:]}_1_{number}", "title": box})
        paragraph = _child(area, "p", {"class": "ocr_par", "id": f"par_1_{number}", "title": box})
        for count, line in enumerate(region.lines, 1):
            _line(paragraph, line, f"{number}_{count}")
    xml: bytes = etree.tostring(
        root,
        xml_declaration=True,
        encoding="UTF-8",
        pretty_print=False,
        doctype='<!DOCTYPE html PUBLIC "-//W3C//DTD XHTML 1.0 Transitional//EN" '
        '"http://www.w3.org/TR/xhtml1/DTD/xhtml1-transitional.dtd">',
    )
    return xml


def _line(paragraph: Element, line: Line, number: str) -> None:
    title = f"{_bbox(line.polygon or line.baseline)}{_baseline(line)}"
    element = _child(paragraph, "span", {"class": "ocr_line", "id": f"line_1_{number}", "title": title})
    words = [word for word in words_of(line) if clean_text(word.text)]
    for count, word in enumerate(words, 1):
        title = _bbox(word.polygon)
        if word.confidence is not None:
            title += f"; x_wconf {round(100 * min(1.0, max(0.0, word.confidence)))}"
        span = _child(element, "span", {"class": "ocrx_word", "id": f"word_1_{number}_{count}", "title": title})
        span.text = clean_text(word.text)
        span.tail = " "
    element.tail = "\n"


def _baseline(line: Line) -> str:
    """Returns hOCR's slope and offset, measured from the lower left corner of the line's box."""
    if len(line.baseline) < 2:
        return ""
    left, _, _, bottom = box_of(line.polygon or line.baseline)
    (ax, ay), (bx, by) = line.baseline[0], line.baseline[-1]
    slope = (by - ay) / (bx - ax) if bx != ax else 0.0
    return f"; baseline {slope:.4f} {ay - slope * (ax - left) - bottom:.0f}"


def _bbox(polygon: Polygon) -> str:
    return "bbox {} {} {} {}".format(*box_of(polygon))


def _child(parent: Element, name: str, attributes: dict[str, str] | None = None) -> Element:
    return etree.SubElement(parent, f"{{{_XHTML}}}{name}", attributes or {})
