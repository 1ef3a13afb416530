"""IIIF: a manifest with text for viewers such as Mirador, and one that eScriptorium imports."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pero_worker.formats.words import box_of
from pero_worker.formats.xmltext import clean_text
from pero_worker.inputs.books import Book, BookPage
from pero_worker.page import Page

_CONTEXT_3 = "http://iiif.io/api/presentation/3/context.json"
_CONTEXT_2 = "http://iiif.io/api/presentation/2/context.json"
_ALTO_PROFILE = "http://www.loc.gov/standards/alto/ns-v4#"
_ALTO_FORMATS = ("application/xml+alto", "application/alto+xml")
"""Media types of the same file: Mirador looks for the first, Kitodo.Presentation for the second."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CanvasText:
    """A canvas of a manifest, and where to find what was read on it."""

    listed: BookPage
    """The page as its book lists it."""
    canvas: str
    """Id of the canvas: the source's own, or one of ours."""
    size: tuple[int, int]
    """Width and height of the canvas."""
    picture: str
    """Address of the picture."""
    annotations: str = ""
    """Address of its annotations; '': the page was not read."""
    alto: str = ""
    """Address of its ALTO; '': there is none."""


def manifest(book: Book, canvases: list[CanvasText], address: str) -> dict[str, Any]:
    """Returns a manifest of the Presentation API 3, to be served at `address`."""
    return {
        "@context": _CONTEXT_3,
        "id": address,
        "type": "Manifest",
        "label": {"none": [clean_text(book.label) or book.name]},
        "items": [_canvas(canvas, address) for canvas in canvases],
    }


def old_manifest(book: Book, canvases: list[CanvasText], address: str) -> dict[str, Any]:
    """Returns the same in the Presentation API 2, without text: pictures as eScriptorium asks for them."""
    return {
        "@context": _CONTEXT_2,
        "@id": address,
        "@type": "sc:Manifest",
        "label": clean_text(book.label) or book.name,
        "sequences": [{"@type": "sc:Sequence", "canvases": [_old_canvas(canvas) for canvas in canvases]}],
    }


def annotation_page(page: Page, text: CanvasText) -> dict[str, Any]:
    """Returns the page's lines as annotations, each at its place on the canvas."""
    across, down = text.size[0] / page.width, text.size[1] / page.height
    items = []
    for number, line in enumerate((line for line in page.lines() if (line.text or "").strip()), 1):
        left, top, right, bottom = box_of(line.polygon or line.baseline)
        x, y = round(left * across), round(top * down)
        width, height = max(1, round(right * across) - x), max(1, round(bottom * down) - y)
        items.append(
            {
                "id": f"{text.annotations}#line-{number}",
                "type": "Annotation",
                "motivation": "supplementing",
                "body": {"type": "TextualBody", "format": "text/plain", "value": clean_text(line.text or "")},
                "target": f"{text.canvas}#xywh={x},{y},{width},{height}",
            }
        )
    return {"@context": _CONTEXT_3, "id": text.annotations, "type": "AnnotationPage", "items": items}


def _canvas(text: CanvasText, manifest_address: str) -> dict[str, Any]:
    place = f"{manifest_address}#{text.listed.number}"
    width, height = text.size
    painted = {
        "id": f"{place}-picture",
        "type": "Annotation",
        "motivation": "painting",
        "body": {"id": text.picture, "type": "Image", "format": "image/jpeg", **_service(text)},
        "target": text.canvas,
    }
    canvas: dict[str, Any] = {
        "id": text.canvas,
        "type": "Canvas",
        "label": {"none": [clean_text(text.listed.label) or str(text.listed.number)]},
        "width": width,
        "height": height,
        "items": [{"id": f"{place}-pictures", "type": "AnnotationPage", "items": [painted]}],
    }
    if text.annotations:
        canvas["annotations"] = [{"id": text.annotations, "type": "AnnotationPage"}]
    if text.alto:
        canvas["seeAlso"] = [
            {"id": text.alto, "type": "Dataset", "format": form, "profile": _ALTO_PROFILE} for form in _ALTO_FORMATS
        ]
    return canvas


def _service(text: CanvasText) -> Mapping[str, Any]:
    picture = text.listed.picture
    if picture is None or picture.service is None or picture.region or picture.rotation:
        return {}
    if picture.service.version == 3:
        return {"service": [{"id": picture.service.id, "type": "ImageService3", "profile": "level1"}]}
    profile = "http://iiif.io/api/image/2/level1.json"
    return {"service": [{"@id": picture.service.id, "@type": "ImageService2", "profile": profile}]}


def _old_canvas(text: CanvasText) -> dict[str, Any]:
    width, height = text.size
    resource: dict[str, Any] = {"@id": text.picture, "@type": "dctypes:Image", "format": "image/jpeg"}
    for service in _service(text).get("service", ()):
        context = "http://iiif.io/api/image/2/context.json"
        profile = "http://iiif.io/api/image/2/level1.json"
        resource["service"] = {"@context": context, "@id": service.get("id", service.get("@id")), "profile": profile}
    painted = {"@type": "oa:Annotation", "motivation": "sc:painting", "on": text.canvas, "resource": resource}
    return {
        "@id": text.canvas,
        "@type": "sc:Canvas",
        "label": clean_text(text.listed.label) or str(text.listed.number),
        "width": width,
        "height": height,
        "images": [painted],
    }
