"""Layouts that other programs left next to the images, for pipelines that only read text."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from pero_worker.errors import PageError
from pero_worker.formats import pagexml
from pero_worker.formats.alto_read import is_alto, read
from pero_worker.formats.pagexml_read import MAX_BYTES
from pero_worker.inputs.web.addresses import shown
from pero_worker.jobs.plan import PageTask
from pero_worker.page import Page
from pero_worker.request import Payload

_NEVER = datetime(1970, 1, 1, tzinfo=UTC)


def layout_of(task: PageTask) -> Payload | None:
    """Returns the PAGE XML (2010 to 2019) or ALTO of a page as PAGE XML, or None if there is none.

    A layout that a METS names for the page takes precedence. For the image p1, `p1.xml`, `p1.page.xml`, `page/p1.xml`,
    `p1.alto.xml` and `alto/p1.xml` are tried next. Raises `PageError` if a layout exists but cannot be used.
    """
    listed = task.layout or (task.listed.layout if task.listed else None)
    for path in (*([listed] if listed else []), *_places(task.path.parent, Path(task.image_name).stem)):
        try:
            if not path.is_file():
                continue
            with path.open("rb") as stream:
                data = stream.read(MAX_BYTES + 1)
        except OSError as error:
            raise PageError(f"cannot read the layout {path}: {error.strerror}", permanent=True) from error
        try:
            if is_alto(data):
                data = pagexml.write(_layout(read(data, any_unit=True)), created=_NEVER, creator="ALTO")
            else:
                pagexml.read(data)
        except PageError as error:
            place = task.listed.layout_url if task.listed and path == task.layout else ""
            raise PageError(f"{shown(place) or path}: {error}", permanent=True) from error
        return Payload(name=f"{task.image_name}_page.xml", content=data)
    return None


def _layout(page: Page) -> Page:
    """Returns the page without its text, which is yet to be read."""
    regions = (
        replace(region, lines=tuple(replace(line, text=None, words=()) for line in region.lines))
        for region in page.regions
    )
    return replace(page, regions=tuple(region for region in regions if region.lines))


def _places(folder: Path, stem: str) -> Iterator[Path]:
    yield folder / f"{stem}.xml"
    yield folder / f"{stem}.page.xml"
    yield folder / "page" / f"{stem}.xml"
    yield folder / f"{stem}.alto.xml"
    yield folder / "alto" / f"{stem}.xml"
