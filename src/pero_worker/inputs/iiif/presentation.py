"""IIIF Presentation 2 and 3: which pages a manifest has, and which picture belongs to each."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import urljoin

from pero_worker.errors import NoInputError
from pero_worker.inputs.books import MAX_PAGES, Book, BookKind, BookPage, ImageService, Names, Picture, safe_name
from pero_worker.inputs.iiif.canvas import shown_on
from pero_worker.inputs.iiif.image import base_of
from pero_worker.inputs.iiif.resources import as_list, id_of, label_of, pixels_of, type_of
from pero_worker.inputs.iiif.services import login_of
from pero_worker.inputs.web.addresses import without_login

_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:")


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """An entry of a collection."""

    id: str
    """Its address."""
    label: str
    """Its label; '' if it has none."""
    is_collection: bool
    """Whether it is a collection; otherwise it is a manifest."""
    is_continuation: bool = False
    """Whether it is a further page of the same list."""
    inside: dict[str, Any] | None = None
    """The collection itself, if it need not be fetched."""


def kind_of(document: Any) -> str:
    """Returns 'manifest', 'collection', 'image' (an Image API description) or '' (none of them).

    Manifests and collections are recognised by their type, not by their context.
    """
    if not isinstance(document, dict):
        return ""
    kind = type_of(document)
    if kind in {"manifest", "collection"}:
        return kind
    contexts = [text for text in as_list(document.get("@context")) if isinstance(text, str)]
    image = document.get("protocol") == "http://iiif.io/api/image" or any("image" in context for context in contexts)
    # The first version of the Image API had neither.
    image = image or {"width", "height", "profile"} <= document.keys()
    return "image" if image and (id_of(document) or pixels_of(document.get("width"))) else ""


def read_manifest(document: dict[str, Any], source: str, base: str = "") -> Book:
    """Reads the manifest's pages, in order. Raises `NoInputError` if it has none.

    Relative addresses start from where the manifest came from (finally `base`, if that is not `source`), or from where
    it says it is.
    """
    canvases = _canvases(document)
    if not canvases:
        raise NoInputError(f"{source} is a IIIF manifest without canvases: there are no pages to read")
    if len(canvases) > MAX_PAGES:
        raise NoInputError(f"{source} has {len(canvases)} canvases, more than the {MAX_PAGES} that are read")
    names = Names()
    base = base or (source if _is_address(source) else id_of(document))
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


def read_image_description(document: dict[str, Any], source: str, base: str = "") -> Book:
    """Makes a book of one page from the description of a picture (info.json), which may leave out where it is.

    Raises `NoInputError` if its place is not known from elsewhere, either.
    """
    place = _absolute(id_of(document), base or source) or (base_of(source) if _is_address(source) else "")
    if not place:
        raise NoInputError(f"{source} does not say where its picture lies: name its address")
    service = ImageService(id=place, login=login_of(document))
    name = safe_name(service.id.rstrip("/").rpartition("/")[2]) or "image"
    shown = without_login(service.id)
    page = BookPage(name=name, id=shown, label="", number=1, picture=Picture(service=service))
    return Book(kind=BookKind.IIIF, source=source, name=name, label="", pages=(page,), id=shown)


def members(document: dict[str, Any], source: str = "") -> Iterator[Member]:
    """Yields the entries of a collection of either version; `source` is where it came from."""
    for key in ("items", "members", "collections", "manifests"):
        for item in as_list(document.get(key)):
            if isinstance(item, str):
                yield Member(id=_absolute(item, source), label="", is_collection=key == "collections")
            elif isinstance(item, dict) and id_of(item):
                is_collection = type_of(item) == "collection" or (key == "collections" and not type_of(item))
                yield Member(
                    id=_absolute(id_of(item), source),
                    label=label_of(item),
                    is_collection=is_collection,
                    inside=item if is_collection and next(members(item), None) else None,
                )
    for key in ("first", "next"):
        for page in as_list(document.get(key)):
            place = id_of(page) if isinstance(page, dict) else page
            if isinstance(place, str) and place:
                yield Member(id=_absolute(place, source), label="", is_collection=True, is_continuation=True)


def _canvases(document: dict[str, Any]) -> list[Any]:
    if "sequences" in document and not document.get("items"):
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
    found = shown_on(canvas)
    picture = found.picture
    if picture is not None:
        service = picture.service and replace(picture.service, id=_absolute(picture.service.id, base))
        picture = replace(picture, url=_absolute(picture.url, base), service=service)
    return BookPage(
        name=name,
        id=without_login(id_of(canvas)),
        label=label,
        number=number,
        picture=picture,
        problem=found.problem,
        skipped=picture is None and not found.elsewhere,
        note=found.note,
        size=size if all(size) else (0, 0),
    )


def _is_address(text: str) -> bool:
    return text.lower().startswith(("http://", "https://"))


def _absolute(address: str, base: str) -> str:
    """Joins `address` to `base`; leaves it as written if it is complete, or if `base` is not an address."""
    if not address or _SCHEME.match(address) or not _is_address(base):
        return address
    try:
        return urljoin(base, address)
    except ValueError:
        return address
