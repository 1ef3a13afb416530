"""IIIF Presentation 2 and 3: which pages a manifest has, and which picture is a page's."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import urljoin

from pero_worker.errors import NoInputError
from pero_worker.inputs.books import MAX_PAGES, Book, BookKind, BookPage, ImageService, Names, Picture, safe_name

_FRAGMENT = re.compile(r"xywh=(?:pixel:|(percent:|pct:))?([0-9.]+),([0-9.]+),([0-9.]+),([0-9.]+)")
_REGION = re.compile(r"[0-9]{1,7},[0-9]{1,7},[1-9][0-9]{0,6},[1-9][0-9]{0,6}")
_MAX_SIDE = 10_000_000
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
    kind = _type(document)
    if kind in {"manifest", "collection"}:
        return kind
    contexts = [text for text in _list(document.get("@context")) if isinstance(text, str)]
    image = document.get("protocol") == "http://iiif.io/api/image" or any("image" in context for context in contexts)
    return "image" if image and _id(document) else ""


def read_manifest(document: dict[str, Any], source: str) -> Book:
    """The manifest's pages, in order. Addresses that are not whole begin where the manifest came from, or where it says
    it lies. NoInputError: it has none."""
    canvases = _canvases(document)
    if not canvases:
        raise NoInputError(f"{source} is a IIIF manifest without canvases: there are no pages to read")
    if len(canvases) > MAX_PAGES:
        raise NoInputError(f"{source} has {len(canvases)} canvases, more than the {MAX_PAGES} that are read")
    names = Names()
    base = source if _is_address(source) else _id(document)
    pages = tuple(_page(canvas, number, names, base) for number, canvas in enumerate(canvases, 1))
    label = label_of(document)
    return Book(
        kind=BookKind.IIIF,
        source=source,
        name=safe_name(label) or "manifest",
        label=label,
        pages=pages,
        warnings=tuple(f"page {page.number}: {page.note}" for page in pages if page.note),
        id=_id(document),
    )


def read_image_description(document: dict[str, Any], source: str) -> Book:
    """A book of one page, out of the description of a picture (info.json)."""
    service = ImageService(id=_absolute(_id(document), source), login=_login(document))
    name = safe_name(service.id.rstrip("/").rpartition("/")[2]) or "image"
    page = BookPage(name=name, id=service.id, label="", number=1, picture=Picture(service=service))
    return Book(kind=BookKind.IIIF, source=source, name=name, label="", pages=(page,), id=service.id)


def members(document: dict[str, Any], source: str = "") -> Iterator[Member]:
    """What a collection names, of either version; `source`: where it came from."""
    for key in ("items", "members", "collections", "manifests"):
        for item in _list(document.get(key)):
            if isinstance(item, str):
                yield Member(id=_absolute(item, source), label="", is_collection=key == "collections")
            elif isinstance(item, dict) and _id(item):
                is_collection = _type(item) == "collection" or (key == "collections" and not _type(item))
                yield Member(id=_absolute(_id(item), source), label=label_of(item), is_collection=is_collection)


def label_of(resource: dict[str, Any]) -> str:
    """The first label: a text, a list, `{'@value'}` (2), or texts by language (3)."""
    label = resource.get("label")
    if isinstance(label, dict) and "@value" not in label:
        label = label.get("none") or label.get("@none") or next((texts for texts in label.values() if texts), "")
    for text in _list(label):
        value = text.get("@value") if isinstance(text, dict) else text
        if isinstance(value, str | int) and str(value).strip():
            return " ".join(str(value).split())[:1000]
    return ""


def login_of(description: Any) -> str:
    """What the login of an image description is called, '' when it speaks of none."""
    return _login(description) if isinstance(description, dict) else ""


def _canvases(document: dict[str, Any]) -> list[Any]:
    if "sequences" in document and "items" not in document:
        sequences = (s for s in _list(document["sequences"]) if isinstance(s, dict) and s.get("canvases"))
        return _list(next(sequences, {}).get("canvases"))
    return _list(document.get("items"))


def _page(canvas: Any, number: int, names: Names, base: str) -> BookPage:
    if not isinstance(canvas, dict):
        canvas = {"id": canvas} if isinstance(canvas, str) else {}
    label = label_of(canvas)
    safe = safe_name(label)
    name = names.take(f"{number:04d}_{safe}" if safe else f"{number:04d}")
    size = (_number(canvas.get("width")), _number(canvas.get("height")))
    picture, note, problem = _picture_of(canvas, size)
    if picture is not None:
        service = picture.service and replace(picture.service, id=_absolute(picture.service.id, base))
        picture = replace(picture, url=_absolute(picture.url, base), service=service)
    return BookPage(
        name=name,
        id=_id(canvas),
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
        for body in _list(annotation.get("body", annotation.get("resource"))):
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
    groups += [page.get("items") for page in _list(canvas.get("items")) if isinstance(page, dict)]
    for group in groups:
        for annotation in _list(group):
            if isinstance(annotation, dict):
                motivations = _list(annotation.get("motivation", "painting"))
                if any(str(motivation).endswith("painting") for motivation in motivations):
                    yield annotation


def _share(target: Any, size: tuple[int, int]) -> float:
    """How much of the canvas it covers, at most 1."""
    if isinstance(target, list):
        target = target[0] if target else ""
    if isinstance(target, dict):
        selector = next((s for s in _list(target.get("selector")) if isinstance(s, dict)), {})
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
        kind = _type(body)
        if kind == "choice":
            options = [*_list(body.get("default")), *_list(body.get("items", body.get("item")))]
            body = next((option for option in options if option not in ("rdf:nil", None)), None)
        elif kind == "specificresource":
            for selector in _list(body.get("selector")):
                if isinstance(selector, dict):
                    cut = str(selector.get("region") or "")
                    region = cut if _REGION.fullmatch(cut) else region
                    rotation = _rotation(selector.get("rotation")) or rotation
            own = _id(body)
            # In version 2 the resource's own address is the part already.
            address = own if "full" in body else ""
            body = body.get("source", body.get("full"))
        else:
            break
    if not isinstance(body, dict):
        return None, "nothing"
    service = _service(body)
    kind = _type(body)
    form = str(body.get("format", ""))
    if not (kind == "image" or form.startswith("image/") or (service and kind in {"", "dataset"})):
        return None, f"{kind or 'something'} ({form or 'of an unknown format'})"[:100]
    picture = Picture(
        url=address or _id(body),
        service=service,
        region=region,
        rotation=rotation,
        width=_number(body.get("width")),
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


def _service(body: dict[str, Any]) -> ImageService | None:
    for service in _list(body.get("service")):
        if isinstance(service, dict) and _id(service) and _is_image_service(service):
            return ImageService(id=_id(service), version=_version(service), login=_login(service))
    return None


def _version(service: dict[str, Any]) -> int:
    kind = _type(service)
    if kind.startswith("imageservice") and kind[-1] in "123":
        return int(kind[-1])
    texts = " ".join(str(text) for text in (*_list(service.get("profile")), *_list(service.get("@context"))))
    return 3 if "image/3" in texts or texts.startswith("level") else 1 if "image-api/1" in texts else 2


def _is_image_service(service: dict[str, Any]) -> bool:
    if _type(service).startswith("imageservice"):
        return True
    texts = [
        text for text in (*_list(service.get("profile")), *_list(service.get("@context"))) if isinstance(text, str)
    ]
    if any("/auth/" in text or "/search/" in text for text in texts):
        return False
    return any("image" in text or text.startswith("level") for text in texts)


def _login(service: dict[str, Any], depth: int = 4) -> str:
    """The label of an Auth 1 or Auth 2 service within `service`."""
    for inner in _list(service.get("service")) if depth else []:
        if not isinstance(inner, dict):
            continue
        profile = " ".join(text for text in _list(inner.get("profile")) if isinstance(text, str))
        if "/auth/" in profile or _type(inner).startswith("auth"):
            found = label_of(inner) or _login(inner, depth - 1)
            return found or _id(inner) or "the library"
    return ""


def _rotation(value: Any) -> int:
    try:
        turned = round(float(value)) % 360
    except (TypeError, ValueError, OverflowError):
        return 0
    return turned if turned % 90 == 0 else 0


def _number(value: Any) -> int:
    """A size in pixels; 0 when it is none."""
    if isinstance(value, str) and re.fullmatch(r"[0-9]{1,8}", value):
        value = int(value)
    return int(value) if isinstance(value, int | float) and 0 < value <= _MAX_SIDE else 0


def _type(resource: dict[str, Any]) -> str:
    """'sc:Manifest' and 'Manifest' are both 'manifest'."""
    kind = resource.get("type", resource.get("@type"))
    if isinstance(kind, list):
        kind = kind[0] if kind else ""
    return str(kind or "").rpartition(":")[2].lower()


def _id(resource: dict[str, Any]) -> str:
    name = resource.get("id", resource.get("@id"))
    return name if isinstance(name, str) and len(name) <= 10_000 else ""


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [] if value is None else [value]
