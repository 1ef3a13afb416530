"""ALTO 2.1, for programs that read nothing later: Kramerius, older DFG Viewers, Veridian."""

from __future__ import annotations

from datetime import datetime
from statistics import fmean
from typing import TypeAlias

from lxml import etree

from pero_worker.formats import alto
from pero_worker.page import Page

NAMESPACE = "http://www.loc.gov/standards/alto/ns-v2#"
_XSI = "http://www.w3.org/2001/XMLSchema-instance"
Element: TypeAlias = etree._Element


def write(page: Page, *, created: datetime, creator: str) -> bytes:
    """Returns the same as ALTO 4, without the outlines of lines and the kinds of blocks; baselines are heights, and
    blocks without lines are left out."""
    later = etree.fromstring(alto.write(page, created=created, creator=creator))
    root = etree.Element(
        f"{{{NAMESPACE}}}alto",
        {f"{{{_XSI}}}schemaLocation": f"{NAMESPACE} http://www.loc.gov/standards/alto/alto-v2.1.xsd"},
        nsmap={None: NAMESPACE, "xsi": _XSI},
    )
    for child in later:
        _copy(child, root)
    xml: bytes = etree.tostring(root, xml_declaration=True, encoding="UTF-8", pretty_print=True)
    return xml


def _copy(element: Element, parent: Element) -> None:
    name = etree.QName(element).localname
    if name == "Shape" and etree.QName(element.getparent()).localname == "TextLine":
        return
    if name == "TextBlock" and not any(etree.QName(child).localname == "TextLine" for child in element):
        return
    if name == "Tags":
        return
    if name == "Processing":
        parent = etree.SubElement(parent, f"{{{NAMESPACE}}}OCRProcessing", ID=element.get("ID", "ocr"))
        name = "ocrProcessingStep"
    copied = etree.SubElement(parent, f"{{{NAMESPACE}}}{name}")
    copied.text = element.text if not len(element) else None
    for attribute, value in element.attrib.items():
        if attribute == "BASELINE":
            copied.set(attribute, f"{fmean(float(point.partition(',')[2]) for point in value.split()):.0f}")
        elif name != "ocrProcessingStep" and attribute != "TAGREFS":
            copied.set(attribute, value)
    for child in element:
        _copy(child, copied)
