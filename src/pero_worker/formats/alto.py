"""ALTO 4.2."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import TypeAlias

from lxml import etree

from pero_worker.formats.hyphens import is_parted
from pero_worker.formats.words import box_of, words_of
from pero_worker.formats.xmltext import Ids, clean_text
from pero_worker.page import Line, Page, Point, Region, Word

NAMESPACE = "http://www.loc.gov/standards/alto/ns-v4#"
_XSI = "http://www.w3.org/2001/XMLSchema-instance"
Element: TypeAlias = etree._Element


def write(page: Page, *, created: datetime, creator: str) -> bytes:
    """Returns the page as ALTO in pixels, every line with its words (split evenly when the engine gave none)."""
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
    tags = _tags(root, page, ids)
    sheet = _child(_child(root, "Layout"), "Page", ID="page", PHYSICAL_IMG_NR="1", **size)
    if (sure := page.confidence()) is not None:
        sheet.set("PC", f"{min(1.0, max(0.0, sure)):.3f}")
    space = _child(sheet, "PrintSpace", ID="space", HPOS="0", VPOS="0", **size)
    for region in page.regions:
        _block(space, region, tags, ids)
    xml: bytes = etree.tostring(root, xml_declaration=True, encoding="UTF-8", pretty_print=True)
    return xml


def _tags(root: Element, page: Page, ids: Ids) -> dict[str, str]:
    """Adds a tag for each kind of region; returns the id of each by its name."""
    kinds = {
        kind: ids.take("", "tag") for kind in sorted({clean_text(region.kind or "") for region in page.regions} - {""})
    }
    if kinds:
        tags = _child(root, "Tags")
        for kind, name in kinds.items():
            _child(tags, "LayoutTag", ID=name, LABEL=kind)
    return kinds


def _block(space: Element, region: Region, tags: Mapping[str, str], ids: Ids) -> None:
    block = _child(space, "TextBlock", ID=ids.take(region.id, "block"), **_box(region.polygon))
    if (tag := tags.get(clean_text(region.kind or ""))) is not None:
        block.set("TAGREFS", tag)
    _shape(block, region.polygon)
    words = [[word for word in words_of(line) if clean_text(word.text)] for line in region.lines]
    before: Word | None = None
    for place, line in enumerate(region.lines):
        after = words[place + 1][0] if place + 1 < len(words) and words[place + 1] else None
        _line(block, line, words[place], before, after, ids)
        before = words[place][-1] if words[place] else None


def _line(block: Element, line: Line, words: Sequence[Word], before: Word | None, after: Word | None, ids: Ids) -> None:
    """`before` and `after`: the last word of the previous line and the first of the next one."""
    outline = line.polygon or line.baseline
    element = _child(block, "TextLine", ID=ids.take(line.id, "line"), **_box(outline))
    if len(line.baseline) >= 2:
        element.set("BASELINE", _points(line.baseline))
    _shape(element, outline)
    for i, word in enumerate(words):
        if i:
            _space(element, words[i - 1], word)
        text = clean_text(word.text)
        string = _child(element, "String", ID=ids.take("", "string"), CONTENT=text)
        for name, value in _box(word.polygon).items():
            string.set(name, value)
        if i == 0 and before is not None and (whole := _whole_word(before, word)):
            string.set("SUBS_TYPE", "HypPart2")
            string.set("SUBS_CONTENT", whole)
        if i == len(words) - 1 and after is not None and (whole := _whole_word(word, after)):
            string.set("CONTENT", text[:-1])
            string.set("SUBS_TYPE", "HypPart1")
            string.set("SUBS_CONTENT", whole)
            _hyphen(element, string, word, text)
        if word.confidence is not None:
            string.set("WC", f"{min(1.0, max(0.0, word.confidence)):.3f}")
    if not words:  # the schema requires at least one
        _child(element, "String", ID=ids.take("", "string"), CONTENT="", **_box(outline))


def _whole_word(first: Word, second: Word) -> str:
    """Returns the word that these are the two parts of; '' if they are not."""
    start, end = clean_text(first.text), clean_text(second.text)
    return start[:-1] + end if is_parted(start, end) else ""


def _hyphen(line: Element, string: Element, word: Word, text: str) -> None:
    """Takes the last character's share of the word's width for its hyphen."""
    left, top, right, _ = box_of(word.polygon)
    start = max(left + 1, right - max(1, (right - left) // len(text)))
    string.set("WIDTH", str(start - left))
    _child(line, "HYP", CONTENT=text[-1], HPOS=str(start), VPOS=str(top), WIDTH=str(max(1, right - start)))


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
