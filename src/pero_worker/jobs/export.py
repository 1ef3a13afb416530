"""Exports the results of a run to other programs: a IIIF manifest with text, a zip for eScriptorium."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import quote

from pero_worker.errors import NoInputError, OutputError, UsageError
from pero_worker.formats import pagexml
from pero_worker.formats.iiif import CanvasText, annotation_page, manifest, old_manifest
from pero_worker.inputs.books import Book, BookPage, Names, Picture
from pero_worker.inputs.web.addresses import without_login
from pero_worker.jobs.confined import ConfinedFolder
from pero_worker.jobs.mets import master_of, replace_file
from pero_worker.jobs.records import PageRecord, PageStatus, read_report
from pero_worker.ports import Clock

_FOLDER = "iiif"


def write_iiif(results: Path, book: Book, base_url: str, picture_url: str) -> int:
    """Writes `iiif/manifest.json` (Presentation 3), `iiif/manifest-2.json` and annotations into `results`, the folder
    served at `base_url`; pictures on this machine are served at `picture_url`. Returns how many pages have text.

    Raises `NoInputError` if the run did none of the book's pages, and `OutputError` if it cannot be written.
    """
    base = base_url.rstrip("/")
    records = {record.page: record for record in read_report(results) if record.status is PageStatus.DONE}
    canvases: list[CanvasText] = []
    read = 0
    try:
        folder = ConfinedFolder(results)
        try:
            for listed in book.pages:
                record = records.get(listed.name) or records.get(f"{book.name}/{listed.name}")
                page = master_of(results, record) if record else None
                if page is None and (listed.picture is None or not all(listed.size)):
                    continue  # A canvas needs a size.
                text = _canvas(
                    listed, record, (page.width, page.height) if page else None, base, picture_url.rstrip("/")
                )
                canvases.append(text)
                if page is not None:
                    read += 1
                    _write(folder, (_FOLDER, "annotations", f"{listed.name}.json"), annotation_page(page, text))
            if not read:
                raise NoInputError(f"{results} holds no result of a page of {book.source}: read it first")
            _write(folder, (_FOLDER, "manifest.json"), manifest(book, canvases, f"{base}/{_FOLDER}/manifest.json"))
            older = f"{base}/{_FOLDER}/manifest-2.json"
            _write(folder, (_FOLDER, "manifest-2.json"), old_manifest(book, canvases, older))
        finally:
            folder.close()
    except OSError as error:
        raise OutputError(f"cannot write to {results}: {error.strerror or error}") from error
    return read


def _without_login(picture: Picture) -> Picture:
    """Returns the picture without logins in its addresses, fit to be published."""
    service = picture.service and replace(picture.service, id=without_login(picture.service.id))
    return replace(picture, url=without_login(picture.url), service=service)


def _canvas(
    listed: BookPage, record: PageRecord | None, read: tuple[int, int] | None, base: str, pictures: str
) -> CanvasText:
    picture = listed.picture and _without_login(listed.picture)
    listed = replace(listed, picture=picture)
    if picture is not None and picture.url and not picture.region:
        address = picture.url
    elif picture is not None and picture.service is not None:
        cut, turned = picture.region or "full", picture.rotation
        address = f"{picture.service.id.rstrip('/')}/{cut}/full/{turned}/default.jpg"
    else:
        name = picture.file.name if picture is not None and picture.file is not None else listed.name
        address = f"{pictures}/{quote(name)}"
    alto = record.outputs.get("alto") if record else None
    own = listed.id if listed.id.startswith(("http://", "https://")) else f"{base}/{_FOLDER}/canvas/{listed.number}"
    return CanvasText(
        listed=listed,
        canvas=own,
        size=listed.size if all(listed.size) else read or (1, 1),
        picture=address,
        annotations=f"{base}/{_FOLDER}/annotations/{quote(listed.name)}.json" if record else "",
        alto=f"{base}/{quote(alto)}" if alto else "",
    )


def _write(folder: ConfinedFolder, parts: tuple[str, ...], value: Mapping[str, Any]) -> None:
    replace_file(folder, parts, json.dumps(value, ensure_ascii=False, indent=1).encode("utf-8", "replace"))


def zip_for_escriptorium(results: Path, target: Path, clock: Clock, creator: str) -> int:
    """Packs the PAGE XML of all pages that were read, without folders, each named after its picture; returns how many.

    Raises `UsageError` if `target` exists, `NoInputError` if nothing was read, and `OutputError` if it cannot be
    written.
    """
    if target.exists():
        raise UsageError(f"{target} is there already: remove it, or name another file")
    unfinished = target.with_name(f".{target.name}.part")
    names = Names()
    number = 0
    try:
        try:
            with zipfile.ZipFile(unfinished, "w", zipfile.ZIP_DEFLATED, allowZip64=True) as packed:
                for record in read_report(results):
                    if record.status is PageStatus.DONE:
                        page = master_of(results, record)
                        stem = PurePosixPath(page.name).stem or f"{number + 1:04d}"
                        content = pagexml.write(page, created=clock.now(), creator=creator)
                        packed.writestr(f"{names.take(stem)}.xml", content)
                        number += 1
            if not number:
                raise NoInputError(f"{results} holds no page that was read")
            unfinished.rename(target)
        finally:
            unfinished.unlink(missing_ok=True)
    except OSError as error:
        raise OutputError(f"cannot write {target}: {error.strerror or error}") from error
    return number
