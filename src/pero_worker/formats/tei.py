"""TEI P5: a document's text in reading order, with page and line breaks and their places on the pictures."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import PurePosixPath
from typing import IO

from lxml import etree

from pero_worker.formats import Document
from pero_worker.formats.words import box_of
from pero_worker.formats.xmltext import clean_text
from pero_worker.page import Page, Point, Region

NAMESPACE = "http://www.tei-c.org/ns/1.0"
_XML_ID = "{http://www.w3.org/XML/1998/namespace}id"
_ELEMENTS = {
    "heading": "head",
    "header": "fw",
    "footer": "fw",
    "page-number": "fw",
    "catch-word": "fw",
    "signature-mark": "fw",
}
"""Elements for kinds of regions that are not paragraphs."""


def write(document: Document, stream: IO[bytes]) -> None:
    """Writes page by page. The pictures' zones come first, so pages are read twice and never held together."""
    with etree.xmlfile(stream, encoding="UTF-8") as out:
        out.write_declaration()
        with out.element(f"{{{NAMESPACE}}}TEI", nsmap={None: NAMESPACE}):
            out.write(_header(document), pretty_print=True)
            with out.element(f"{{{NAMESPACE}}}facsimile"):
                for number, page in enumerate(document.pages, 1):
                    if page is not None:
                        out.write(_surface(page, number), pretty_print=True)
            with (
                out.element(f"{{{NAMESPACE}}}text"),
                out.element(f"{{{NAMESPACE}}}body"),
                out.element(f"{{{NAMESPACE}}}div"),
            ):
                for number, page in enumerate(document.pages, 1):
                    if page is not None:
                        _write_page(out, page, number, _label(document, number))


def _header(document: Document) -> etree._Element:
    title = document.book.label if document.book and document.book.label else PurePosixPath(document.name).name
    source = document.book.id or document.book.source if document.book else document.source.name
    header = etree.Element(f"{{{NAMESPACE}}}teiHeader", nsmap={None: NAMESPACE})
    description = _child(header, "fileDesc")
    _child(_child(description, "titleStmt"), "title", clean_text(title) or "-")
    _child(_child(description, "publicationStmt"), "p", f"Made by {clean_text(document.creator)}, not corrected")
    _child(_child(description, "sourceDesc"), "p", clean_text(source.encode("utf-8", "replace").decode()) or "-")
    encoding = _child(_child(header, "encodingDesc"), "appInfo")
    application = _child(encoding, "application", ident="pero-worker", version=_version(document.creator))
    _child(application, "label", clean_text(document.creator))
    if document.language:
        profile = _child(_child(header, "profileDesc"), "langUsage")
        _child(profile, "language", ident=document.language)
    change = _child(_child(header, "revisionDesc"), "change", "read by machine")
    change.set("when", document.created.isoformat(timespec="seconds"))
    return header


def _version(creator: str) -> str:
    """Returns the version as TEI requires it: digits and points."""
    kept = "".join(character for character in creator.rpartition(" ")[2] if character in "0123456789.").strip(".")
    return kept or "0"


def _surface(page: Page, number: int) -> etree._Element:
    surface = etree.Element(f"{{{NAMESPACE}}}surface", nsmap={None: NAMESPACE})
    surface.set(_XML_ID, f"p{number}")
    for name, value in zip(("ulx", "uly", "lrx", "lry"), (0, 0, page.width, page.height), strict=True):
        surface.set(name, str(value))
    _child(surface, "graphic", url=clean_text(page.name) or "-", width=f"{page.width}px", height=f"{page.height}px")
    for place, region in enumerate(page.regions, 1):
        zone = _zone(surface, f"p{number}r{place}", region.polygon)
        for count, line in enumerate(region.lines, 1):
            _zone(zone, f"p{number}r{place}l{count}", line.polygon or line.baseline)
    return surface


def _zone(parent: etree._Element, name: str, polygon: Sequence[Point]) -> etree._Element:
    zone = _child(parent, "zone")
    zone.set(_XML_ID, name)
    for side, value in zip(("ulx", "uly", "lrx", "lry"), box_of(tuple(polygon)), strict=True):
        zone.set(side, str(value))
    if len(polygon) >= 3:
        zone.set("points", " ".join(f"{max(0, round(x))},{max(0, round(y))}" for x, y in polygon))
    return zone


def _label(document: Document, number: int) -> str:
    if document.book is not None and number <= len(document.book.pages):
        return document.book.pages[number - 1].label
    return ""


def _write_page(out: etree._IncrementalFileWriter, page: Page, number: int, label: str) -> None:
    beginning = etree.Element(f"{{{NAMESPACE}}}pb", facs=f"#p{number}", n=clean_text(label) or str(number))
    out.write(beginning)
    for place, region in enumerate(page.regions, 1):
        if any((line.text or "").strip() for line in region.lines):
            out.write(_block(region, f"p{number}r{place}"), pretty_print=True)


def _block(region: Region, name: str) -> etree._Element:
    element = _ELEMENTS.get(region.kind or "", "p")
    # A head may only come at the start of a division.
    block = etree.Element(f"{{{NAMESPACE}}}{'p' if element == 'head' else element}", facs=f"#{name}")
    if region.kind:
        block.set("type" if element == "fw" else "rend", clean_text(region.kind))
    for count, line in enumerate(region.lines, 1):
        text = " ".join(clean_text(line.text or "").split())
        if text:
            _child(block, "lb", facs=f"#{name}l{count}").tail = text
    return block


def _child(parent: etree._Element, name: str, text: str = "", **attributes: str) -> etree._Element:
    child = etree.SubElement(parent, f"{{{NAMESPACE}}}{name}", attributes)
    child.text = text or None
    return child
