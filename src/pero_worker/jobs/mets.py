"""Enters results of a run into the METS that its pages came from, and packs a workspace into an OCRD-ZIP."""

from __future__ import annotations

import hashlib
import json
import re
import zipfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath
from urllib.parse import quote, unquote, urlsplit

from pero_worker.errors import NoInputError, OutputError, PageError, UsageError
from pero_worker.formats import alto, ocrdpage, pagexml
from pero_worker.formats.confined import confine
from pero_worker.formats.metsout import Agent, NewFile, NewGroup, check_group, enter, taken_ids
from pero_worker.inputs.books import BookPage
from pero_worker.inputs.mets.pages import MetsOptions, book_of
from pero_worker.inputs.mets.read import MetsPage, read_mets
from pero_worker.jobs.confined import ConfinedFolder
from pero_worker.jobs.records import PageRecord, PageStatus, read_report
from pero_worker.page import Page
from pero_worker.ports import Clock

PAGE_MIME = "application/vnd.prima.page+xml"
ALTO_MIME = "application/alto+xml"
_STATE = ".pero-worker"
_PROFILE = "https://ocr-d.github.io/bagit-profile.json"
"""The address that OCR-D/core requires; the specification has another one, which core refuses."""
_BLOCK = 1 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class MetsOutput:
    """How results are entered into a METS."""

    group: str = "OCR-D-OCR-PERO"
    """File group of the PAGE XML; '' if none is written."""
    alto_group: str = "OCR-D-OCR-PERO-ALTO"
    """File group of the ALTO; '' if none is written."""
    url_prefix: str = ""
    """Prefix for paths, which makes addresses of them."""
    overwrite: bool = False
    """Whether existing groups of these names are replaced."""
    pictures: MetsOptions = field(default_factory=MetsOptions)
    """How the run read the METS."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Result:
    """A page with its result."""

    division: MetsPage
    listed: BookPage
    record: PageRecord
    page: Page


def enter_results(results: Path, mets: Path, output: MetsOutput, clock: Clock, creator: str) -> int:
    """Writes PAGE and ALTO of the run in `results` next to `mets`, and enters them; returns the number of pages.

    Raises `NoInputError` if the METS cannot be read or the run did none of its pages, `UsageError` if a group exists
    already, and `OutputError` if it cannot be written; the METS is then as it was.
    """
    groups = [check_group(name) for name in (output.group, output.alto_group) if name]
    if not groups:
        raise UsageError("name a group: --group or --alto-group")
    if len(set(groups)) != len(groups):
        raise UsageError(f"PAGE and ALTO cannot both go to the group {output.group}")
    try:
        data = mets.read_bytes()
    except OSError as error:
        raise NoInputError(f"cannot read {mets}: {error.strerror}") from error
    found = list(_results(results, mets, data, output))
    if not found:
        raise NoInputError(
            f"{results} holds no result of a page of {mets}: run pero-worker ocr {mets} -o {results} first"
        )
    taken = taken_ids(data, groups)
    files: dict[str, bytes] = {}
    made = tuple(_group(name, found, taken, files, output, clock, creator) for name in groups)
    parameters = _parameters(found)
    notes = (
        ("input-file-grp", output.pictures.group or "best"),
        ("output-file-grp", ",".join(groups)),
        ("parameter", json.dumps(parameters)),
        ("page-id", ",".join(result.division.id for result in found if result.division.id) if len(found) <= 50 else ""),
    )
    now = clock.now()
    agent = Agent(name=creator.replace("pero-worker ", "pero-worker v", 1), notes=notes)
    changed = enter(data, made, agent, created=now, overwrite=output.overwrite, by_url=bool(output.url_prefix))
    _write(mets, files, changed)
    return len(found)


def _results(results: Path, mets: Path, data: bytes, output: MetsOutput) -> Iterator[_Result]:
    content = read_mets(data, str(mets))
    if not content.pages:
        raise NoInputError(f"{mets} has no map of its pages (structMap): results cannot be tied to them")
    book = book_of(content, source=str(mets), home=mets.parent, options=output.pictures)
    records = {record.page: record for record in read_report(results) if record.status is PageStatus.DONE}
    for division, listed in zip(content.pages, book.pages, strict=True):
        record = records.get(listed.name) or records.get(f"{book.name}/{listed.name}")
        if record is not None and listed.picture is not None:
            yield _Result(division=division, listed=listed, record=record, page=master_of(results, record))


def master_of(results: Path, record: PageRecord) -> Page:
    """Returns the page as the run left it. Raises `NoInputError` if it kept no PAGE XML or that cannot be read."""
    named = record.outputs.get("page")
    name = f"{record.page}.page.xml"
    for path in ([results / named] if named else []) + [results / name, results / _STATE / "pages" / name]:
        if path.is_file() and path.resolve().is_relative_to(results.resolve()):
            try:
                return pagexml.read(path.read_bytes())
            except (OSError, PageError) as error:
                raise NoInputError(f"{path} cannot be read: {error}") from error
    raise NoInputError(f"{results} has no PAGE XML of {record.page}: run it again with --formats page")


def _group(
    use: str,
    found: Sequence[_Result],
    taken: set[str],
    files: dict[str, bytes],
    output: MetsOutput,
    clock: Clock,
    creator: str,
) -> NewGroup:
    entries = []
    is_alto = use == output.alto_group
    for number, result in enumerate(found, 1):
        mark = re.sub(r"[^A-Za-z0-9._-]", "_", result.division.id) or f"{number:04d}"
        name = f"{use}_{mark}"
        while name in taken:
            name += "_"
        taken.add(name)
        path = f"{use}/{name}.xml"
        assert result.listed.picture is not None  # noqa: S101 - for the type checker
        picture = result.listed.picture.written
        now = clock.now()
        if is_alto:
            page = replace(confine(result.page), name=picture)
            files[path] = alto.write(page, created=now, creator=creator)
        else:
            files[path] = ocrdpage.write(
                result.page,
                created=now,
                creator=creator,
                file_id=name,
                picture=picture,
                parameters=_parameters([result]),
            )
        href = output.url_prefix.rstrip("/") + "/" + quote(path) if output.url_prefix else path
        mime = ALTO_MIME if is_alto else PAGE_MIME
        entries.append(NewFile(id=name, href=href, mime=mime, page=result.division.element))
    return NewGroup(use=use, files=tuple(entries))


def _parameters(found: Sequence[_Result]) -> dict[str, str]:
    fingerprint = found[0].record.fingerprint
    return {"pipeline": fingerprint.pipeline, "version": fingerprint.version}


def _write(mets: Path, files: dict[str, bytes], changed: bytes) -> None:
    """Writes the files first and the METS last, each whole or not at all."""
    try:
        folder = ConfinedFolder(mets.parent)
        try:
            for path, content in files.items():
                replace_file(folder, tuple(PurePosixPath(path).parts), content)
            replace_file(folder, (mets.name,), changed)
        finally:
            folder.close()
    except OSError as error:
        raise OutputError(f"cannot write beside {mets}: {error.strerror or error}") from error


def replace_file(folder: ConfinedFolder, parts: tuple[str, ...], content: bytes) -> None:
    """Writes a file whole or not at all, and syncs it. Raises `OSError` if that fails or a link is on the way."""
    draft = (*parts[:-1], f".{parts[-1]}.part")
    with folder.opened(parts[:-1], create=True):
        folder.remove(draft)
    try:
        with folder.create(draft) as stream:
            stream.write(content)
        folder.sync_files([draft])
        folder.move(draft, parts)
        folder.sync_folders([parts[:-1]])
    finally:
        folder.remove(draft)


def zip_workspace(mets: Path, target: Path, identifier: str, clock: Clock) -> int:
    """Packs the METS and all files on this machine that it names into an OCRD-ZIP (BagIt); returns how many files.

    Raises `NoInputError` if the METS cannot be read, `UsageError` if a path leads out of its folder, and `OutputError`
    if the disk is full.
    """
    if target.exists():
        raise UsageError(f"{target} is there already: remove it, or name another file")
    try:
        content = read_mets(mets.read_bytes(), str(mets))
    except OSError as error:
        raise NoInputError(f"cannot read {mets}: {error.strerror}") from error
    home = mets.parent.resolve()
    payload = {"mets.xml": mets}
    for file in content.files:
        for place in file.places:
            path = _local(place, home)
            if path is not None:
                payload[path.relative_to(home).as_posix()] = path
    unfinished = target.with_name(f".{target.name}.part")
    try:
        try:
            with zipfile.ZipFile(unfinished, "w", zipfile.ZIP_DEFLATED, allowZip64=True) as packed:
                _fill(packed, payload, identifier, clock)
            unfinished.rename(target)
        finally:
            unfinished.unlink(missing_ok=True)
    except OSError as error:
        raise OutputError(f"cannot write {target}: {error.strerror or error}") from error
    return len(payload)


def _local(place: str, home: Path) -> Path | None:
    if urlsplit(place).scheme in {"http", "https"}:
        return None
    for written in dict.fromkeys((place, unquote(place))):
        path = (home / written.removeprefix("file://")).resolve()
        if not path.is_relative_to(home):
            raise UsageError(f"the METS names {place[:200]!r}, which lies outside its folder and cannot be packed")
        if path.is_file():
            return path
    raise UsageError(f"the METS names {place[:200]!r}, which is not there: ocrd workspace prune-files removes it")


def _fill(packed: zipfile.ZipFile, payload: dict[str, Path], identifier: str, clock: Clock) -> None:
    sums, size = [], 0
    for name in sorted(payload):
        digest = hashlib.sha512()
        with payload[name].open("rb") as source, packed.open(f"data/{name}", "w", force_zip64=True) as stream:
            while block := source.read(_BLOCK):
                digest.update(block)
                size += len(block)
                stream.write(block)
        sums.append(f"{digest.hexdigest()}  data/{name}\n")
    packed.writestr("bagit.txt", "BagIt-Version: 1.0\nTag-File-Character-Encoding: UTF-8\n")
    information = {
        "BagIt-Profile-Identifier": _PROFILE,
        "Bagging-Date": clock.now().date().isoformat(),
        "Ocrd-Identifier": " ".join(identifier.split()),
        "Ocrd-Mets": "mets.xml",
        "Payload-Oxum": f"{size}.{len(payload)}",
    }
    packed.writestr("bag-info.txt", "".join(f"{name}: {value}\n" for name, value in information.items()))
    packed.writestr("manifest-sha512.txt", "".join(sums))
