"""What the strictest known reader of PAGE XML (OCR-D's validator) asks of outlines, with its tolerances."""

from __future__ import annotations

from collections.abc import Iterator

from lxml import etree
from shapely import LineString, Polygon
from shapely.geometry.base import BaseGeometry

SIMPLIFIED = 1.0
"""Pixels by which the validator lets an outline deviate, so that it does not cross itself."""
SLACK = 1.5
"""Pixels by which a part may lie outside of what contains it."""


def faults_of(data: bytes) -> list[str]:
    """Every fault in PAGE XML, in words; none when all is well."""
    root = etree.fromstring(data)
    faults = [] if root.get("pcGtsId") else ["no pcGtsId"]
    sheet = root.find("{*}Page")
    assert sheet is not None
    whole = Polygon(
        [(0, 0), (w := int(sheet.get("imageWidth", "0")), 0), (w, h := int(sheet.get("imageHeight", "0"))), (0, h)]
    )
    for region in sheet.iter("{*}TextRegion"):
        outline = _outline(region)
        faults += _faults(region, outline, whole)
        for line in region.iterfind("{*}TextLine"):
            shape = _outline(line)
            faults += _faults(line, shape, outline)
            if (baseline := line.find("{*}Baseline")) is not None:
                faults += _outside(f"baseline of {line.get('id')}", LineString(_points(baseline)), shape)
            words = line.findall("{*}Word")
            for word in words:
                faults += _faults(word, _outline(word), shape)
            text = line.findtext("{*}TextEquiv/{*}Unicode")
            if words and "".join((text or "").split()) != "".join(
                "".join((word.findtext("{*}TextEquiv/{*}Unicode") or "").split()) for word in words
            ):
                faults.append(f"{line.get('id')} has another text than its words")
    return faults


def _faults(element: etree._Element, shape: Polygon | str, parent: Polygon | str) -> Iterator[str]:
    name = f"{etree.QName(element).localname} {element.get('id')}"
    if isinstance(shape, str):
        yield f"{name} {shape}"
        return
    left, top, right, bottom = shape.bounds
    if right - left < 1 or bottom - top < 1:
        yield f"{name} has no width or no height"
    yield from _outside(name, shape, parent)


def _outside(name: str, shape: BaseGeometry, parent: Polygon | str) -> Iterator[str]:
    if isinstance(parent, Polygon) and not shape.within(parent.buffer(SLACK)):
        yield f"{name} is outside of its parent by {shape.difference(parent).area:.0f} px2"


def _outline(element: etree._Element) -> Polygon | str:
    coords = element.find("{*}Coords")
    assert coords is not None
    points = _points(coords)
    if len(points) < 4:
        return "has too few points"
    outline = Polygon(points).simplify(SIMPLIFIED)
    return outline if outline.is_valid and not outline.is_empty else "crosses itself or is empty"


def _points(element: etree._Element) -> list[tuple[int, int]]:
    return [(int(x), int(y)) for x, y in (point.split(",") for point in element.get("points", "").split())]
