"""Finds the picture of a canvas."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from pero_worker.inputs.books import Picture
from pero_worker.inputs.iiif.resources import as_list, id_of, pixels_of, type_of
from pero_worker.inputs.iiif.services import image_service_of, service_at
from pero_worker.inputs.web.addresses import shown

_FRAGMENT = re.compile(r"xywh=(?:pixel:|(percent:|pct:))?([0-9.]+),([0-9.]+),([0-9.]+),([0-9.]+)")
_REGION = re.compile(r"[0-9]{1,7},[0-9]{1,7},[1-9][0-9]{0,6},[1-9][0-9]{0,6}")
_SHARES = re.compile(r"pct:" + ",".join([r"([0-9]{1,3}(?:\.[0-9]{1,9})?)"] * 4))
_MAX_DEPTH = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """What a canvas shows."""

    picture: Picture | None = None
    """Its picture; None if there is none that can be read."""
    note: str = ""
    """How the picture was chosen, if its owner may expect another."""
    problem: str = ""
    """Why there is no picture."""
    elsewhere: bool = False
    """Whether there may be a picture that is described in another document."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Body:
    """The body of an annotation."""

    picture: Picture | None = None
    other: str = ""
    """What it holds instead of a picture."""
    note: str = ""


def shown_on(canvas: dict[str, Any]) -> Shown:
    """Returns the picture that fills the canvas, or most of it."""
    size = pixels_of(canvas.get("width")), pixels_of(canvas.get("height"))
    found: list[tuple[float, _Body]] = []
    others: list[str] = []
    for annotation in _painted(canvas):
        share = _share(annotation.get("target", annotation.get("on")), size)
        for value in as_list(annotation.get("body", annotation.get("resource"))):
            body = _body(value)
            if body.picture is not None:
                found.append((share, body))
            else:
                others.append(body.other)
    if not found:
        return _nothing_on(canvas, others)
    # If two fill the canvas, the first: max takes the first of equals.
    best = max(found, key=lambda pair: pair[0])[1]
    several = f"{len(found)} pictures are on the canvas; the largest was taken" if len(found) > 1 else ""
    return Shown(picture=best.picture, note="; ".join(filter(None, (several, best.note))))


def _nothing_on(canvas: dict[str, Any], others: list[str]) -> Shown:
    if others:
        return Shown(problem=f"the canvas shows no picture but {others[0]}")
    if (place := _elsewhere(canvas)) is not None:
        return Shown(
            problem=f"its picture is told of in another document, {shown(place) or 'without an address'}, which is not "
            "read: name a manifest that holds it",
            elsewhere=True,
        )
    return Shown(problem=f"the canvas has no picture{' but a thumbnail' if canvas.get('thumbnail') else ''}")


def _painted(canvas: dict[str, Any]) -> Iterator[dict[str, Any]]:
    groups = [canvas.get("images")]
    groups += [page.get("items") for page in as_list(canvas.get("items")) if isinstance(page, dict)]
    for group in groups:
        for annotation in as_list(group):
            if isinstance(annotation, dict):
                motivations = as_list(annotation.get("motivation") or "painting")
                if any(str(motivation).lower().endswith("painting") for motivation in motivations):
                    yield annotation


def _elsewhere(canvas: dict[str, Any]) -> str | None:
    """Returns the address of what would describe the picture but is not part of this document."""
    for entry in (*as_list(canvas.get("images")), *as_list(canvas.get("items"))):
        if isinstance(entry, str):
            return entry
        if isinstance(entry, dict) and not {"items", "body", "resource"} & entry.keys():
            return id_of(entry)
    return None


def _share(target: Any, size: tuple[int, int]) -> float:
    """Returns the share of the canvas that `target` covers, at most 1."""
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


def _body(body: Any) -> _Body:
    region, rotation, address = "", 0, ""
    for _ in range(_MAX_DEPTH):
        if isinstance(body, str):
            body = {"id": body, "type": "Image"}
        if not isinstance(body, dict):
            return _Body(other="nothing")
        kind = type_of(body)
        if kind == "choice":
            options = [*as_list(body.get("default")), *as_list(body.get("items", body.get("item")))]
            body = next((option for option in options if option not in ("rdf:nil", None)), None)
        elif kind == "specificresource":
            for selector in as_list(body.get("selector")):
                if isinstance(selector, dict):
                    region = _cut_of(selector) or region
                    rotation = _rotation(selector.get("rotation")) or rotation
            own = id_of(body)
            # In version 2, the resource's own address already gives the part.
            address = own if "full" in body else ""
            body = body.get("source", body.get("full"))
        else:
            break
    if not isinstance(body, dict):
        return _Body(other="nothing")
    own, _, fragment = id_of(body).partition("#")
    region = region or _fragment(fragment)
    service = image_service_of(body) or service_at(own)
    kind, form = type_of(body), str(body.get("format") or "")
    if not (kind == "image" or form.startswith("image/") or (service and kind in {"", "dataset"})):
        return _Body(other=f"{kind or 'something'} ({form or 'of an unknown format'})"[:100])
    size = pixels_of(body.get("width")), pixels_of(body.get("height"))
    pixels = _pixels(region, size)
    note = f"which part of the picture is meant is not clear ({region[:60]}): all of it was taken" if region else ""
    picture = Picture(
        url=address or ("" if service_at(own) else own),
        service=service,
        region=pixels,
        rotation=rotation,
        width=size[0],
        url_is_part=bool(address),
    )
    if not picture.url and not service:
        return _Body(other="a picture without an address")
    return _Body(picture=picture, note="" if pixels else note)


def _cut_of(selector: dict[str, Any]) -> str:
    """Returns the region that an Image API selector or a fragment selector cuts out; '' for the whole."""
    if type_of(selector) == "fragmentselector":
        return _fragment(str(selector.get("value") or ""))
    cut = str(selector.get("region") or "")
    return "" if cut == "full" else cut


def _fragment(text: str) -> str:
    """Returns a media fragment the way the Image API writes regions; '' if there is none."""
    found = _FRAGMENT.search(text[:200])
    return f"{'pct:' if found[1] else ''}{','.join(found.groups()[1:])}" if found else ""


def _pixels(region: str, size: tuple[int, int]) -> str:
    """Returns a region in pixels; '' if it is not a region or cannot be worked out."""
    shares = _SHARES.fullmatch(region)
    if shares and all(size):
        numbers = [float(share) / 100 * size[place % 2] for place, share in enumerate(shares.groups())]
        region = ",".join(str(round(number)) for number in numbers)
    else:
        region = re.sub(r"\.[0-9]{1,9}(?=,|$)", "", region)
    return region if _REGION.fullmatch(region) else ""


def _rotation(value: Any) -> int:
    try:
        turned = round(float(value)) % 360
    except (TypeError, ValueError, OverflowError):
        return 0
    return turned if turned % 90 == 0 else 0
