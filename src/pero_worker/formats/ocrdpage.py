"""PAGE XML as a file of an OCR-D workspace: with its id, the path of the picture, and how it was made."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from lxml import etree

from pero_worker.formats import pagexml
from pero_worker.formats.confined import confine
from pero_worker.formats.xmltext import clean_text
from pero_worker.page import Page


def write(
    page: Page, *, created: datetime, creator: str, file_id: str, picture: str, parameters: Mapping[str, Any]
) -> bytes:
    """Returns the page as PAGE XML, with its polygons confined; `picture` is its path as the METS gives it."""
    root = etree.fromstring(pagexml.write(confine(page), created=created, creator=creator))
    space = f"{{{pagexml.NAMESPACE}}}"
    root.set("pcGtsId", file_id)
    sheet = root.find(f"{space}Page")
    sheet.set("imageFilename", clean_text(picture))
    item = etree.SubElement(
        root.find(f"{space}Metadata"),
        f"{space}MetadataItem",
        type="processingStep",
        name="recognition/text-recognition",
        value="ocrd-pero-worker",
    )
    labels = etree.SubElement(item, f"{space}Labels", externalModel="ocrd-tool", externalId="parameters")
    for name, value in parameters.items():
        etree.SubElement(labels, f"{space}Label", type=name, value=clean_text(json.dumps(value).strip('"')))
    versions = etree.SubElement(item, f"{space}Labels", externalModel="ocrd-tool", externalId="version")
    etree.SubElement(versions, f"{space}Label", type="ocrd-pero-worker", value=clean_text(creator))
    xml: bytes = etree.tostring(root, xml_declaration=True, encoding="UTF-8", pretty_print=True)
    return xml
