"""A job's results as one zip, made while it is sent, with only one page in memory at a time."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from typing import IO, cast

from sqlalchemy import RowMapping

import pero_worker
from pero_worker.errors import PageError
from pero_worker.formats import PageFormat, TextLines, pagexml
from pero_worker.formats.text import text_of_pages
from pero_worker.gateway.bundle import REPORT, stems_of
from pero_worker.gateway.files import DataFolder
from pero_worker.gateway.states import PageState
from pero_worker.gateway.v1.replies import date
from pero_worker.jobs.combine import ALL, TEXT
from pero_worker.jobs.records import Fingerprint, PageRecord, PageStatus
from pero_worker.page import Page

_BUFFER = 262_144
_MASTER = "page"


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What the zip should contain."""

    formats: Sequence[PageFormat]
    """The formats of each page; those not made with the page are made from its PAGE XML."""
    lines: TextLines = TextLines.KEEP
    """What happens to line ends in text."""
    combined: bool = False
    """Whether to add one text of all pages, if text is among the formats."""
    pdf: Path | None = None
    """One PDF of all pages; None if none is wanted."""


class _Buffer:
    """The output of the zip writer; it is not seekable, so the zip is made from front to back."""

    def __init__(self) -> None:
        self.content = bytearray()

    def write(self, data: bytes) -> int:
        self.content += data
        return len(data)

    def flush(self) -> None: ...

    def take(self) -> bytes:
        taken = bytes(self.content)
        self.content.clear()
        return taken

    def full(self) -> Iterator[bytes]:
        if len(self.content) > _BUFFER:
            yield self.take()


class Zipper:
    """The zip of one job."""

    def __init__(
        self, files: DataFolder, job: str, pages: Sequence[RowMapping], wanted: Wanted, created: datetime
    ) -> None:
        self._files = files
        self._job = job
        self._pages = list(zip(pages, stems_of([page["name"] for page in pages]), strict=True))
        self._wanted = wanted
        self._created = created
        self._buffer = _Buffer()

    def pieces(self) -> Iterator[bytes]:
        """Yields the zip: `STEM.page.xml` and so on for every page, combined files, and report.jsonl."""
        # typeshed wants a seekable file; zipfile does without.
        stream = cast(IO[bytes], self._buffer)
        with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
            lines = []
            for page, stem in self._pages:
                outputs = {}
                for form, content in self._results(page):
                    outputs[form.name] = f"{stem}{form.suffix}"
                    archive.writestr(outputs[form.name], content)
                    yield from self._buffer.full()
                lines.append(json.dumps(asdict(_record(page, outputs)), separators=(",", ":")))
            yield from self._combined(archive)
            archive.writestr(REPORT, "".join(f"{line}\n" for line in lines))
        yield self._buffer.take()

    def _results(self, page: RowMapping) -> Iterator[tuple[PageFormat, bytes]]:
        for form in self._wanted.formats:
            content = self._result(page["id"], form) if page["state"] == PageState.DONE else None
            if content is not None:
                yield form, content

    def _result(self, page: str, form: PageFormat) -> bytes | None:
        joined = form.write_joined if self._wanted.lines is TextLines.JOIN else None
        path = self._files.page_result(self._job, page, form.name)
        if joined is None and path.is_file():
            return path.read_bytes()
        master = self._master(page)
        if master is None:
            return None
        try:
            return (joined or form.write)(
                master, created=self._created, creator=f"pero-worker {pero_worker.__version__}"
            )
        except PageError:  # This format cannot express the page.
            return None

    def _master(self, page: str) -> Page | None:
        try:
            return pagexml.read(self._files.page_result(self._job, page, _MASTER).read_bytes())
        except (FileNotFoundError, PageError):
            return None

    def _combined(self, archive: zipfile.ZipFile) -> Iterator[bytes]:
        text = next((form for form in self._wanted.formats if form.name == TEXT), None)
        if self._wanted.combined and text is not None:
            masters = (self._master(page["id"]) for page, _ in self._pages)
            with archive.open(self._free(f"{ALL}{text.suffix}"), "w", force_zip64=True) as member:
                for piece in text_of_pages(masters, self._wanted.lines):
                    member.write(piece)
                    yield from self._buffer.full()
        if self._wanted.pdf is not None:
            info = zipfile.ZipInfo(self._free(f"{ALL}.pdf"))  # Stored: images do not compress any further.
            with self._wanted.pdf.open("rb") as source, archive.open(info, "w", force_zip64=True) as member:
                while block := source.read(_BUFFER):
                    member.write(block)
                    yield from self._buffer.full()

    def _free(self, name: str) -> str:
        """Returns a free name, even if a page is called `all`."""
        stems = {stem for _, stem in self._pages}
        while name.partition(".")[0] in stems:
            name = f"_{name}"
        return name


def _record(page: RowMapping, outputs: dict[str, str]) -> PageRecord:
    done = page["state"] == PageState.DONE
    return PageRecord(
        page=page["name"],
        source=page["name"],
        page_index=0,
        status=PageStatus.DONE if done else PageStatus.FAILED,
        fingerprint=Fingerprint(
            size=page["image_bytes"] or 0,
            modified_ns=0,
            pipeline=page["engine"] or "",
            version=page["engine_text"] or "",
            dpi=0,
        ),
        finished=date(page["finished"]) or "",
        attempts=page["attempts"],
        engine=page["engine_text"] or "",
        worker=page["worker"] or "",
        seconds=page["seconds"] or {},
        worker_seconds=page["worker_seconds"],
        energy_joules=page["energy_joules"],
        lines=page["lines"] or 0,
        confidence_mean=None if page["quality"] is None else round(page["quality"] / 100, 4),
        confidence_worst=None if page["worst_line"] is None else round(page["worst_line"] / 100, 4),
        outputs=outputs,
        error_class="" if done else (page["failure"] or page["state"]),
        error=page["error"] or "",
        page_id=page["id"],
    )
