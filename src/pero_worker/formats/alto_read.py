"""The lines of an ALTO file of any version and origin, as a layout; hostile until parsed."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from typing import TypeAlias

from lxml import etree

from pero_worker.errors import PageError
from pero_worker.formats.pagexml_read import MAX_BYTES, MAX_SIDE
from pero_worker.geometry import baseline_in
from pero_worker.page import Line, Page, Point, Polygon, Region

Element: TypeAlias = etree._Element


def is_alto(data: bytes) -> bool:
    """Whether XML is ALTO by its first element."""
    return re.match(rb"\s*(<\?.*?\?>|<!--.*?-->|\s)*<([A-Za-z0-9]+:)?alto\b", data[:10_000], re.DOTALL) is not None


def read_layout(data: bytes) -> Page:
    """Regions and lines without their text. PageError (permanent): it is not usable.

    Sizes and places are in the file's own unit (pixels, tenths of a millimetre), as the page's width and height are.
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
    sheet = next((element for element in root.iter() if _tag(element) == "Page"), None)
    if sheet is None:
        raise _refused("it has no <Page>")
    width, height = (_number(sheet, name) for name in ("WIDTH", "HEIGHT"))
    if width is None or height is None or not (1 <= width <= MAX_SIDE and 1 <= height <= MAX_SIDE):
        raise _refused("its page has no size")
    regions = tuple(_regions(sheet))
    return Page("", round(width), round(height), regions)


def _refused(reason: str) -> PageError:
    return PageError(f"the ALTO file cannot be used: {reason}", permanent=True)


def _tag(element: Element) -> str:
    return etree.QName(element).localname if isinstance(element.tag, str) else ""


def _number(element: Element, name: str) -> float | None:
    try:
        value = float(element.get(name, ""))
    except ValueError:
        return None
    return value if math.isfinite(value) and abs(value) <= 10 * MAX_SIDE else None


def _regions(sheet: Element) -> Iterator[Region]:
    for number, block in enumerate((e for e in sheet.iter() if _tag(e) == "TextBlock"), 1):
        lines = []
        for count, element in enumerate((e for e in block if _tag(e) == "TextLine"), 1):
            line = _line(element, f"r{number:03d}-l{count:03d}")
            if line is not None:
                lines.append(line)
        if lines:
            outline = _outline(block) or lines[0].polygon
            yield Region(block.get("ID") or f"r{number:03d}", outline, tuple(lines))


def _line(element: Element, fallback_id: str) -> Line | None:
    polygon = _outline(element)
    if not polygon:
        return None
    left, top, right, bottom = _box(polygon)
    baseline = _points(element.get("BASELINE", ""))
    level = _number(element, "BASELINE")
    if len(baseline) < 2:
        known = level is not None and top <= level <= bottom
        baseline = (
            ((left, level), (right, level)) if known and level is not None else baseline_in((left, top, right, bottom))
        )
    middle = sum(y for _, y in baseline) / len(baseline)
    heights = max(1.0, middle - top), max(1.0, bottom - middle)
    return Line(element.get("ID") or fallback_id, baseline, polygon, heights)


def _outline(element: Element) -> Polygon:
    """The shape of an element, else its box; () when it has neither."""
    for shape in element:
        if _tag(shape) == "Shape":
            for polygon in shape:
                points = _points(polygon.get("POINTS", "")) if _tag(polygon) == "Polygon" else ()
                if len(points) >= 3:
                    return points
    sides = [_number(element, name) for name in ("HPOS", "VPOS", "WIDTH", "HEIGHT")]
    if any(side is None for side in sides):
        return ()
    left, top, width, height = (side or 0.0 for side in sides)
    if width <= 0 or height <= 0:
        return ()
    return (left, top), (left + width, top), (left + width, top + height), (left, top + height)


def _points(text: str) -> Polygon:
    """`x1,y1 x2,y2` and `x1 y1 x2 y2`: both are in use. () when it is neither."""
    numbers = re.split(r"[\s,]+", text.strip())
    try:
        values = [float(number) for number in numbers if number]
    except ValueError:
        return ()
    if len(values) % 2 or not all(math.isfinite(value) and abs(value) <= 10 * MAX_SIDE for value in values):
        return ()
    points: list[Point] = list(zip(values[0::2], values[1::2], strict=True))
    return tuple(points)


def _box(polygon: Polygon) -> tuple[float, float, float, float]:
    xs, ys = [x for x, _ in polygon], [y for _, y in polygon]
    return min(xs), min(ys), max(xs), max(ys)
