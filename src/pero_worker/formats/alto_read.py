"""Reads ALTO of any version, as eScriptorium, Transkribus and pero-ocr write it; hostile until parsed."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from pathlib import PureWindowsPath
from typing import TypeAlias

from lxml import etree

from pero_worker.errors import PageError
from pero_worker.formats.pagexml_read import MAX_BYTES, MAX_SIDE, heights_from, lower_edge
from pero_worker.page import Line, Page, Point, Polygon, Region

Element: TypeAlias = etree._Element
_MAX_COORDINATE = 10.0 * MAX_SIDE


def is_alto(data: bytes) -> bool:
    """Returns whether XML is ALTO, judging by its first element."""
    return re.match(rb"\s*(<\?.*?\?>|<!--.*?-->|\s)*<([A-Za-z0-9]+:)?alto\b", data[:10_000], re.DOTALL) is not None


def read(data: bytes, *, any_unit: bool = False) -> Page:
    """Parses ALTO in pixels. Raises `PageError` (permanent) if it is not usable.

    Lines without baselines get them from their outlines; words are not kept separately, and hyphens at line ends are
    part of the text. `any_unit`: units other than pixels, such as tenths of a millimetre, are accepted, too; the page's
    size is in the same unit.
    """
    if len(data) > MAX_BYTES:
        raise _refused(f"it is larger than {MAX_BYTES // 1_000_000} MB")
    parser = etree.XMLParser(resolve_entities=False, no_network=True, load_dtd=False, huge_tree=False)
    try:
        root = etree.fromstring(data, parser)
    except (etree.XMLSyntaxError, ValueError) as error:
        raise _refused(str(error)) from error
    if root.getroottree().docinfo.doctype:
        raise _refused("it has a DOCTYPE, and entities are not expanded")
    sheet = next(_within(root, "Page"), None)
    if _tag(root) != "alto" or sheet is None:
        raise _refused(f"its root is <{_tag(root)}>, expected <alto> with a <Page>")
    unit = next((element.text or "" for element in _within(root, "MeasurementUnit")), "pixel").strip()
    if unit != "pixel" and not any_unit:
        raise _refused(f"it measures in {unit[:20]}: export it in pixels")
    name = next((element.text or "" for element in _within(root, "fileName")), "").strip()
    regions = tuple(
        Region(id=block.get("ID") or f"r{number:03d}", polygon=_outline(block), lines=tuple(_lines(block, number)))
        for number, block in enumerate(_within(sheet, "TextBlock"), 1)
    )
    width, height = (_number(sheet.get(side, "0")) for side in ("WIDTH", "HEIGHT"))
    if not (1 <= width <= MAX_SIDE and 1 <= height <= MAX_SIDE):
        raise _refused("its page has no size in pixels")
    return Page(name=PureWindowsPath(name).name, width=round(width), height=round(height), regions=regions)


def _refused(reason: str) -> PageError:
    return PageError(f"the ALTO cannot be used: {reason}", permanent=True)


def _tag(element: Element) -> str:
    return etree.QName(element).localname if isinstance(element.tag, str) else ""


def _within(element: Element, name: str) -> Iterator[Element]:
    return (child for child in element.iter() if _tag(child) == name)


def _lines(block: Element, number: int) -> Iterator[Line]:
    for count, element in enumerate(_within(block, "TextLine"), 1):
        polygon = _outline(element)
        baseline = _baseline(element, polygon)
        if len(baseline) < 2:
            baseline = lower_edge(polygon)
        if len(baseline) >= 2:
            name = element.get("ID") or f"r{number:03d}-l{count:03d}"
            heights = heights_from(polygon, baseline)
            yield Line(id=name, baseline=baseline, polygon=polygon or baseline, heights=heights, text=_text(element))


def _text(line: Element) -> str:
    """Returns the strings of the line, with spaces between them, which some programs leave out."""
    spaced = any(_tag(element) == "SP" for element in line)
    text = ""
    for element in line:
        match _tag(element):
            case "String":
                text += element.get("CONTENT", "") if spaced or not text else " " + element.get("CONTENT", "")
            case "SP":
                text += " "
            case "HYP":
                text += element.get("CONTENT") or "-"
    return " ".join(text.split())


def _outline(element: Element) -> Polygon:
    """Returns the outline of a line or block itself: its Shape, otherwise its box."""
    shape = next((child for child in element if _tag(child) == "Shape"), None)
    if shape is not None:
        for polygon in _within(shape, "Polygon"):
            return _points(polygon.get("POINTS", ""))
    if any(element.get(key) is None for key in ("HPOS", "VPOS", "WIDTH", "HEIGHT")):
        return ()
    left, top, width, height = (_number(element.get(key, "0")) for key in ("HPOS", "VPOS", "WIDTH", "HEIGHT"))
    return (left, top), (left + width, top), (left + width, top + height), (left, top + height)


def _baseline(element: Element, polygon: Polygon) -> Polygon:
    text = element.get("BASELINE", "")
    numbers = text.replace(",", " ").split()
    if len(numbers) == 1 and polygon:  # ALTO before 4.1: the height of the baseline on the page
        y = _number(numbers[0])
        return (min(x for x, _ in polygon), y), (max(x for x, _ in polygon), y)
    return _points(text)


def _points(text: str) -> tuple[Point, ...]:
    """Parses pairs of numbers with commas within or between them."""
    numbers = [_number(number) for number in re.split(r"[\s,]+", text.strip()) if number]
    return tuple(zip(numbers[::2], numbers[1::2], strict=False))


def _number(text: str) -> float:
    try:
        number = float(text)
    except ValueError as error:
        raise _refused(f"{text[:20]!r} is no number") from error
    if not (math.isfinite(number) and abs(number) <= _MAX_COORDINATE):
        raise _refused(f"{text[:20]} is out of range")
    return number
