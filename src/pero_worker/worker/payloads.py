"""The results inside a request: which one is the image, the PAGE XML, the logits, and what a stage leaves there."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import parse_qs, quote, unquote, urlsplit

from pero_worker.errors import PageError
from pero_worker.request import Payload
from pero_worker.wire.references import parse_reference

if TYPE_CHECKING:
    from pero_worker.inputs.images import PageScan

PAGE_SUFFIX = ".xml"
LOGITS_SUFFIX = ".logits"


@dataclass(frozen=True, slots=True, kw_only=True)
class PageParts:
    """The payloads of a request by their role."""

    image: Payload
    """The page's image; every request has one."""
    page: Payload | None
    """PAGE XML with what earlier stages found."""
    logits: Payload | None
    """Logits of an earlier stage."""


def parts_of(results: Iterable[Payload]) -> PageParts:
    """Sorts payloads by name; the image is the first that is neither PAGE XML nor logits."""
    image = page = logits = None
    for payload in results:
        name = payload.name.lower()
        if name.endswith(PAGE_SUFFIX):
            page = page or payload
        elif name.endswith(LOGITS_SUFFIX):
            logits = logits or payload
        else:
            image = image or payload
    if image is None:
        raise PageError("the request carries no image", permanent=True)
    return PageParts(image=image, page=page, logits=logits)


def is_image(payload: Payload) -> bool:
    """Whether the payload is neither PAGE XML nor logits."""
    return not payload.name.lower().endswith((PAGE_SUFFIX, LOGITS_SUFFIX))


def size_of(payload: Payload) -> int:
    """Returns the size of the content in bytes, wherever it is stored; 0 for a file on this machine."""
    reference = parse_reference(payload.reference)
    return reference.size if reference is not None else len(payload.content)


def page_of(results: Iterable[Payload]) -> Payload | None:
    """Returns the PAGE XML, whether or not there is an image, too."""
    return next((payload for payload in results if payload.name.lower().endswith(PAGE_SUFFIX)), None)


def with_results(results: tuple[Payload, ...], page: bytes | None, logits: bytes | None) -> tuple[Payload, ...]:
    """Returns `results` with a stage's output, which replaces earlier PAGE XML and logits in place or else is
    appended."""
    image = parts_of(results).image
    updated = list(results)
    for suffix, content, name in (
        (PAGE_SUFFIX, page, f"{image.name}_page.xml"),
        (LOGITS_SUFFIX, logits, f"{image.name}.logits"),
    ):
        if content is None:
            continue
        places = [i for i, payload in enumerate(updated) if payload.name.lower().endswith(suffix)]
        for i in places:
            updated[i] = replace(updated[i], content=content, reference="")
        if not places:
            updated.append(Payload(name=name, content=content))
    return tuple(updated)


def file_reference(path: Path, index: int, dpi: int) -> str:
    """Returns the URL of page `index` (from 0) of a document on this machine."""
    return f"file://{quote(str(path.absolute()), errors='surrogateescape')}?page={index}&dpi={dpi}"


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageReader:
    """Decodes a payload's image."""

    max_pixels: int
    """Images with more pixels are refused before they are decoded."""
    local_files: bool = False
    """Whether references to files on this machine are followed: only for requests made by the same user on the same
    machine, never for those that come over a network."""

    def read(self, payload: Payload) -> PageScan:
        """Raises `PageError` if it is not an image, is too large, or is a reference that may not be followed."""
        # Imported here because decoders take 25 MB, and not every worker has a page.
        from pero_worker.inputs.documents import read_page  # noqa: PLC0415
        from pero_worker.inputs.images import decode_scan  # noqa: PLC0415

        if not payload.reference:
            return decode_scan(payload.content, max_pixels=self.max_pixels)
        url = urlsplit(payload.reference)
        if url.scheme != "file" or not self.local_files:
            raise PageError(f"this worker follows no references: {payload.reference[:200]}", permanent=True)
        query = parse_qs(url.query)
        path = Path(unquote(url.path, errors="surrogateescape"))
        return read_page(path, int(query["page"][0]), dpi=int(query["dpi"][0]), max_pixels=self.max_pixels)
