"""IIIF Presentation 2 and 3: which pages a manifest has, and which picture is a page's."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import urljoin

from pero_worker.errors import NoInputError
from pero_worker.inputs.books import MAX_PAGES, Book, BookKind, BookPage, ImageService, Names, Picture, safe_name
from pero_worker.inputs.iiif.resources import as_list, id_of, label_of, pixels_of, type_of
from pero_worker.inputs.iiif.services import image_service_of, login_of
from pero_worker.inputs.web.addresses import without_login

_FRAGMENT = re.compile(r"xywh=(?:pixel:|(percent:|pct:))?([0-9.]+),([0-9.]+),([0-9.]+),([0-9.]+)")
_REGION = re.compile(r"[0-9]{1,7},[0-9]{1,7},[1-9][0-9]{0,6},[1-9][0-9]{0,6}")
_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:")


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """What a collection names."""

    id: str
    """Address."""
    label: str
    """'' when it has none."""
    is_collection: bool
    """Else a manifest."""


def kind_of(document: Any) -> str:
    """'manifest', 'collection', 'image' (an Image API description) or '' (none of them). By type, not by context."""
    if not isinstance(document, dict):
        return ""
    kind = type_of(document)
    if kind in {"manifest", "collection"}:
        return kind
    contexts = [text for text in as_list(document.get("@context")) if isinstance(text, str)]
    image = document.get("protocol") == "http://iiif.io/api/image" or any("image" in context for context in contexts)
    return "image" if image and id_of(document) else ""


def read_manifest(document: dict[str, Any], source: str) -> Book:
    """The manifest's pages, in order. Addresses that are not whole begin where the manifest came from, or where it says
    it lies. NoInputError: it has none."""
    canvases = _canvases(document)
    if not canvases:
        raise NoInputError(f"{source} is a IIIF manifest without canvases: there are no pages to read")
    if len(canvases) > MAX_PAGES:
        raise NoInputError(f"{source} has {len(canvases)} canvases, more than the {MAX_PAGES} that are read")
    names = Names()
    base = source if _is_address(source) else id_of(document)
    pages = tuple(_page(canvas, number, names, base) for number, canvas in enumerate(canvases, 1))
    label = label_of(document)
    return Book(
        kind=BookKind.IIIF,
        source=source,
        name=safe_name(label) or "manifest",
        label=label,
        pages=pages,
        warnings=tuple(f"page {page.number}: {page.note}" for page in pages if page.note),
        id=without_login(id_of(document)),
    )


def read_image_description(document: dict[str, Any], source: str) -> Book:
    """A book of one page, out of the description of a picture (info.json)."""
    service = ImageService(id=_absolute(id_of(document), source), login=login_of(document))
    name = safe_name(service.id.rstrip("/").rpartition("/")[2]) or "image"
    shown = without_login(service.id)
    page = BookPage(name=name, id=shown, label="", number=1, picture=Picture(service=service))
    return Book(kind=BookKind.IIIF, source=source, name=name, label="", pages=(page,), id=shown)


def members(document: dict[str, Any], source: str = "") -> Iterator[Member]:
    """What a collection names, of either version; `source`: where it came from."""
    for key in ("items", "members", "collections", "manifests"):
        for item in as_list(document.get(key)):
            if isinstance(item, str):
                yield Member(id=_absolute(item, source), label="", is_collection=key == "collections")
            elif isinstance(item, dict) and id_of(item):
                is_collection = type_of(item) == "collection" or (key == "collections" and not type_of(item))
                yield Member(id=_absolute(id_of(item), source), label=label_of(item), is_collection=is_collection)


def _canvases(document: dict[str, Any]) -> list[Any]:
    if "sequences" in document and "items" not in document:
        sequences = (s for s in as_list(document["sequences"]) if isinstance(s, dict) and s.get("canvases"))
        return as_list(next(sequences, {}).get("canvases"))
    return as_list(document.get("items"))


def _page(canvas: Any, number: int, names: Names, base: str) -> BookPage:
    if not isinstance(canvas, dict):
        canvas = {"id": canvas} if isinstance(canvas, str) else {}
    label = label_of(canvas)
    safe = safe_name(label)
    name = names.take(f"{number:04d}_{safe}" if safe else f"{number:04d}")
    size = (pixels_of(canvas.get("width")), pixels_of(canvas.get("height")))
    picture, note, problem = _picture_of(canvas, size)
    if picture is not None:
        service = picture.service and replace(picture.service, id=_absolute(picture.service.id, base))
        picture = replace(picture, url=_absolute(picture.url, base), service=service)
    return BookPage(
        name=name,
        id=without_login(id_of(canvas)),
        label=label,
        number=number,
        picture=picture,
        problem=problem,
        skipped=picture is None,
        note=note,
        size=size if all(size) else (0, 0),
    )


def _picture_of(canvas: dict[str, Any], size: tuple[int, int]) -> tuple[Picture | None, str, str]:
    """The picture, a note on how it was chosen, and why there is none."""
    found: list[tuple[float, Picture]] = []
    others: list[str] = []
    for annotation in _painted(canvas):
        share = _share(annotation.get("target", annotation.get("on")), size)
        for body in as_list(annotation.get("body", annotation.get("resource"))):
            picture, other = _picture(body)
            if picture is not None:
                found.append((share, picture))
            else:
                others.append(other)
    if not found:
        if others:
            return None, "", f"the canvas shows no picture but {others[0]}"
        return None, "", "the canvas has no picture"
    note = "" if len(found) == 1 else f"{len(found)} pictures are on the canvas; the largest was taken"
    # Of two that fill the canvas, the first: max takes the first of equals.
    return max(found, key=lambda pair: pair[0])[1], note, ""


def _painted(canvas: dict[str, Any]) -> Iterator[dict[str, Any]]:
    groups = [canvas.get("images")]
    groups += [page.get("items") for page in as_list(canvas.get("items")) if isinstance(page, dict)]
    for group in groups:
        for annotation in as_list(group):
            if isinstance(annotation, dict):
                motivations = as_list(annotation.get("motivation", "painting"))
                if any(str(motivation).endswith("painting") for motivation in motivations):
                    yield annotation


def _share(target: Any, size: tuple[int, int]) -> float:
    """How much of the canvas it covers, at most 1."""
    if isinstance(target, list):
        target = target[0] if target else ""
    if isinstance(target, dict):
        selector = next((s for s in as_list(target.get("selector")) if isinstance(s, dict)), {})
        target = f"#{selector.get('value', '')}"
    found = _FRAGMENT.search(str(target)[-200:])
    if found is None:
        return 1.0
    try:
        width, height = float(found[4]), float(found[5])
    except ValueError:
        return 1.0
    whole = (100.0, 100.0) if found[1] else (size[0] or 1.0, size[1] or 1.0)
    return min(1.0, width * height / (whole[0] * whole[1]))


def _picture(body: Any) -> tuple[Picture | None, str]:
    """The picture of an annotation's body, or what there is instead."""
    region, rotation, address = "", 0, ""
    for _ in range(5):
        if isinstance(body, str):
            return Picture(url=body), ""
        if not isinstance(body, dict):
            return None, "nothing"
        kind = type_of(body)
        if kind == "choice":
            options = [*as_list(body.get("default")), *as_list(body.get("items", body.get("item")))]
            body = next((option for option in options if option not in ("rdf:nil", None)), None)
        elif kind == "specificresource":
            for selector in as_list(body.get("selector")):
                if isinstance(selector, dict):
                    cut = str(selector.get("region") or "")
                    region = cut if _REGION.fullmatch(cut) else region
                    rotation = _rotation(selector.get("rotation")) or rotation
            own = id_of(body)
            # In version 2 the resource's own address is the part already.
            address = own if "full" in body else ""
            body = body.get("source", body.get("full"))
        else:
            break
    if not isinstance(body, dict):
        return None, "nothing"
    service = image_service_of(body)
    kind = type_of(body)
    form = str(body.get("format", ""))
    if not (kind == "image" or form.startswith("image/") or (service and kind in {"", "dataset"})):
        return None, f"{kind or 'something'} ({form or 'of an unknown format'})"[:100]
    picture = Picture(
        url=address or id_of(body),
        service=service,
        region=region,
        rotation=rotation,
        width=pixels_of(body.get("width")),
        url_is_part=bool(address),
    )
    return (picture, "") if picture.url or service else (None, "a picture without an address")


def _is_address(text: str) -> bool:
    return text.lower().startswith(("http://", "https://"))


def _absolute(address: str, base: str) -> str:
    """As it is written, when it is whole, or when nobody knows what it belongs to."""
    if not address or _SCHEME.match(address) or not _is_address(base):
        return address
    try:
        return urljoin(base, address)
    except ValueError:
        return address


def _rotation(value: Any) -> int:
    try:
        turned = round(float(value)) % 360
    except (TypeError, ValueError, OverflowError):
        return 0
    return turned if turned % 90 == 0 else 0
