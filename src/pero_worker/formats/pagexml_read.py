"""Reads PAGE XML of any version and origin; hostile until parsed."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import PureWindowsPath
from typing import TypeAlias

from lxml import etree

from pero_worker.errors import PageError
from pero_worker.geometry import baseline_in
from pero_worker.page import Line, Page, Point, Polygon, Region, Word

MAX_BYTES = 64_000_000
MAX_SIDE = 1_000_000
_MAX_COORDINATE = 10.0 * MAX_SIDE
TABLE = "table"
"""A kind of region for which PAGE has an element, but no type of text region."""
_STRUCTURE = re.compile(r"\bstructure *\{[^}]{0,200}\btype:table;")
Element: TypeAlias = etree._Element


def read(data: bytes) -> Page:
    """Parses PAGE XML. Raises `PageError` (permanent) if it is not usable.

    A line without a baseline gets one from the lower edge of its polygon, and missing heights come from the
    polygon's extent above and below the baseline. Regions follow ReadingOrder, nested ones after their parents.
    `imageFilename` is reduced to its last component.
    """
    sheet = _sheet(data)
    page = Page(
        name=_base_name(sheet.get("imageFilename", "")),
        width=_side(sheet, "imageWidth"),
        height=_side(sheet, "imageHeight"),
    )
    elements = [element for element in sheet.iter() if _tag(element) == "TextRegion"]
    order = {name: place for place, name in enumerate(_reading_order(sheet))}
    elements.sort(key=lambda element: order.get(element.get("id", ""), len(order)))
    regions = tuple(_region(element, number) for number, element in enumerate(elements, 1))
    return replace(page, regions=regions, orientation=_orientation(sheet))


def _sheet(data: bytes) -> Element:
    if len(data) > MAX_BYTES:
        raise _refused(f"it is larger than {MAX_BYTES // 1_000_000} MB")
    parser = etree.XMLParser(resolve_entities=False, no_network=True, load_dtd=False, huge_tree=False)
    try:
        root = etree.fromstring(data, parser)
    except (etree.XMLSyntaxError, ValueError) as error:
        raise _refused(str(error)) from error
    if root.getroottree().docinfo.doctype or root.getroottree().docinfo.internalDTD is not None:
        raise _refused("it has a DOCTYPE, and entities are not expanded")
    sheet = next((child for child in root if _tag(child) == "Page"), None)
    if _tag(root) != "PcGts" or sheet is None:
        raise _refused(f"its root is <{_tag(root)}>, expected <PcGts> with a <Page>")
    return sheet


def _refused(reason: str) -> PageError:
    return PageError(f"the PAGE XML cannot be used: {reason}", permanent=True)


def _tag(element: Element) -> str:
    """Returns the name without its namespace; '' for comments and processing instructions."""
    return etree.QName(element).localname if isinstance(element.tag, str) else ""


def _children(element: Element, name: str) -> Iterator[Element]:
    return (child for child in element if _tag(child) == name)


def _side(sheet: Element, name: str) -> int:
    text = sheet.get(name, "")
    if not re.fullmatch(r"[0-9]{1,7}", text) or not 1 <= int(text) <= MAX_SIDE:
        raise _refused(f"{name}={text[:20]!r} is not a size in pixels")
    return int(text)


def _orientation(sheet: Element) -> float:
    """Returns the orientation in degrees; 0 if the page states none, or nonsense."""
    try:
        degrees = float(sheet.get("orientation", "0"))
    except ValueError:
        return 0.0
    return degrees if -180 < degrees <= 180 else 0.0


def _base_name(name: str) -> str:
    last = PureWindowsPath(name).name
    return "" if last == ".." else last


def _reading_order(sheet: Element) -> Iterator[str]:
    for order in _children(sheet, "ReadingOrder"):
        yield from _references(order)


def _references(group: Element) -> Iterator[str]:
    """Yields the region ids of a (nested) group; indexed members in the order of their index."""

    def index(member: Element) -> int:
        text = member.get("index", "")
        return int(text) if re.fullmatch(r"[0-9]{1,9}", text) else 0

    for member in sorted((m for m in group if _tag(m)), key=index):
        reference = member.get("regionRef")
        if reference:
            yield reference
        yield from _references(member)


def _region(element: Element, number: int) -> Region:
    lines = []
    for count, line in enumerate(_children(element, "TextLine"), 1):
        parsed = _line(line, f"r{number:03d}-l{count:03d}")
        if parsed is not None:
            lines.append(parsed)
    return Region(
        id=element.get("id") or f"r{number:03d}",
        polygon=_coords(element, "Coords"),
        lines=tuple(lines),
        kind=element.get("type") or _kind_beside(element),
    )


def _kind_beside(element: Element) -> str | None:
    """Returns `TABLE` for a table, for which PAGE has no type of text region; otherwise None."""
    parent = element.getparent()
    inside = parent is not None and _tag(parent) == "TableRegion"
    return TABLE if inside or _STRUCTURE.search(element.get("custom", "")) else None


def _line(element: Element, fallback_id: str) -> Line | None:
    """Returns the line; None if it has neither baseline nor outline."""
    polygon = _coords(element, "Coords")
    baseline = _coords(element, "Baseline")
    if len(baseline) < 2:
        baseline = lower_edge(polygon)
    if len(baseline) < 2:
        return None
    words = tuple(_words(element))
    text, confidence = _text(element)
    if text is None and words:
        text = " ".join(word.text for word in words)
    return Line(
        id=element.get("id") or fallback_id,
        baseline=baseline,
        polygon=polygon or baseline,
        heights=_custom_heights(element.get("custom", "")) or heights_from(polygon, baseline),
        text=text,
        confidence=confidence,
        words=words,
    )


def _words(line: Element) -> Iterator[Word]:
    for element in _children(line, "Word"):
        text, confidence = _text(element)
        if text:
            yield Word(text=text, polygon=_coords(element, "Coords"), confidence=confidence)


def _text(element: Element) -> tuple[str | None, float | None]:
    """Returns text and confidence of the TextEquiv with the lowest index."""
    best: tuple[int, str, float | None] | None = None
    for equivalent in _children(element, "TextEquiv"):
        index = equivalent.get("index", "0")
        rank = int(index) if re.fullmatch(r"[0-9]{1,9}", index) else 0
        text = next((child.text or "" for child in _children(equivalent, "Unicode")), "")
        if best is None or rank < best[0]:
            best = (rank, text, _confidence(equivalent.get("conf")))
    return (best[1], best[2]) if best else (None, None)


def _confidence(text: str | None) -> float | None:
    try:
        value = float(text) if text is not None else math.nan
    except ValueError:
        return None
    return value if 0 <= value <= 1 else None


def _coords(element: Element, name: str) -> Polygon:
    """Returns the points of the first child `name`, in either form PAGE has had; () if there is none."""
    coords = next(_children(element, name), None)
    if coords is None:
        return ()
    points = coords.get("points")
    if points is None:
        pairs = [(point.get("x", ""), point.get("y", "")) for point in _children(coords, "Point")]
    else:
        pairs = [(x, y) for x, _, y in (pair.partition(",") for pair in points.split())]
    return tuple(_point(x, y) for x, y in pairs)


def _point(x: str, y: str) -> Point:
    try:
        point = float(x), float(y)
    except ValueError as error:
        raise _refused(f"{x[:20]},{y[:20]} is not a point") from error
    if not all(math.isfinite(value) and abs(value) <= _MAX_COORDINATE for value in point):
        raise _refused(f"the point {x[:20]},{y[:20]} is out of range")
    return point


def _custom_heights(custom: str) -> tuple[float, float] | None:
    """Returns ascender and descender from pero-ocr's `custom` attribute, in its present and older spellings."""
    found = re.search(r"heights_v2:(\[[^\]]{1,100}\])", custom)
    if found:
        try:
            values = [float(value) for value in json.loads(found[1])]
        except (ValueError, TypeError):
            return None
    elif "heights" in custom:
        values = [float(value) for value in re.findall(r"[0-9]{1,6}", custom.partition("heights")[2])]
        if len(values) == 4:
            values = [values[0], values[2]]
        elif len(values) == 3:
            values = [values[1], values[2] - values[0]]
    else:
        return None
    if len(values) != 2 or not all(0 <= value <= MAX_SIDE for value in values) or not any(values):
        return None
    return values[0], values[1]


def lower_edge(polygon: Polygon) -> Polygon:
    """Returns a baseline for a line that has only an outline: straight, a fifth of the height above the lower edge."""
    if len(polygon) < 3:
        return ()
    left, right = min(x for x, _ in polygon), max(x for x, _ in polygon)
    # A little inside, where a slanted outline has its full height.
    ends = []
    for x in (left + 0.1 * (right - left), right - 0.1 * (right - left)):
        top, bottom = _extent_at(polygon, x)
        ends.append(baseline_in((x, top, x, bottom))[0])
    (ax, ay), (bx, by) = ends
    slope = (by - ay) / (bx - ax) if ax < bx else 0.0
    return (left, ay + slope * (left - ax)), (right, by + slope * (right - bx))


def _extent_at(polygon: Polygon, x: float) -> tuple[float, float]:
    """Returns the top and bottom of an outline at `x`, which lies within it."""
    levels = []
    for (ax, ay), (bx, by) in zip(polygon, (*polygon[1:], polygon[0]), strict=True):
        if min(ax, bx) <= x <= max(ax, bx):
            levels += [ay + (by - ay) * (x - ax) / (bx - ax)] if ax != bx else [ay, by]
    return min(levels), max(levels)


def heights_from(polygon: Polygon, baseline: Polygon) -> tuple[float, float] | None:
    """Returns how far the outline reaches above and below the line through the baseline's ends."""
    if len(polygon) < 3:
        return None
    (ax, ay), (bx, by) = baseline[0], baseline[-1]
    length = math.dist(baseline[0], baseline[-1]) or 1.0
    rises = [((by - ay) * (x - ax) - (bx - ax) * (y - ay)) / length for x, y in polygon]
    return max(1.0, *rises), max(1.0, -min(rises))
