"""report.jsonl: what became of every page, one JSON object a line; also the memory of earlier runs."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from pathlib import Path

from pero_worker.errors import OutputError
from pero_worker.jobs.outputs import REPORT_NAME, OutputFolder


class PageStatus(StrEnum):
    DONE = "done"
    FAILED = "failed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Fingerprint:
    """What a result depends on; when one of it changes, the page is done again."""

    size: int
    """Of the file that holds the page, in bytes."""
    modified_ns: int
    """When that file was changed, in nanoseconds since 1970."""
    pipeline: str
    """Name of what was done to the page."""
    version: str
    """Of the pipeline."""
    dpi: int
    """Resolution at which PDF pages are read that are not scans."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PageRecord:
    """A line of the report."""

    page: str
    """Path of the page's results in the output folder, without a suffix."""
    source: str
    """The file that holds the page."""
    page_index: int
    """Its place in the file, from 0."""
    status: PageStatus
    """Whether it is done."""
    fingerprint: Fingerprint
    """What the result depends on."""
    finished: str
    """When it was settled, in ISO 8601."""
    attempts: int = 1
    """How often it was tried."""
    engine: str = ""
    """Name and version of the engine that came last."""
    worker: str = ""
    """Who did it."""
    seconds: Mapping[str, float] = field(default_factory=dict)
    """Phases, and 'total', to the seconds that they took."""
    lines: int = 0
    """How many lines were found."""
    confidence_mean: float | None = None
    """Over the lines, 0..1."""
    confidence_worst: float | None = None
    """Of the worst line, 0..1."""
    outputs: Mapping[str, str] = field(default_factory=dict)
    """Formats to paths, relative to the output folder."""
    error_class: str = ""
    """What kind of failure it was: see `errors.py`."""
    error: str = ""
    """Why it failed, in a sentence."""
    page_id: str = ""
    """What the page was called on its way through a cluster."""


class Report:
    """The latest record of every page; appended page by page, made compact at the end.

    Only an index is held beside the file, in SQLite, and made anew from the file each time: a report may have
    millions of lines.
    """

    def __init__(self, folder: OutputFolder) -> None:
        self._folder = folder
        try:
            self._lines = folder.report.open("ab+")
            self._index = _new_index(folder.index)
            self._superseded = self._read()
        except (OSError, sqlite3.Error) as error:
            reason = getattr(error, "strerror", None) or error
            raise OutputError(f"cannot write {folder.report}: {reason}") from error

    def finished(self, page: str, fingerprint: Fingerprint, formats: tuple[str, ...]) -> bool:
        """Whether an earlier run left everything that is asked for now."""
        found = self._index.execute("SELECT offset FROM page WHERE name = ?", (_key(page),)).fetchone()
        if found is None:
            return False
        self._lines.seek(found[0])
        record = _parsed(self._lines.readline())
        return (
            record is not None
            and record.status is PageStatus.DONE
            and record.fingerprint == fingerprint
            and all(name in record.outputs and (self._folder.root / record.outputs[name]).is_file() for name in formats)
        )

    def page_id(self, page: str) -> str | None:
        """What the page called `page` was called on its way; None when there is no such page."""
        found = self._index.execute("SELECT id FROM page WHERE name = ?", (_key(page),)).fetchone()
        return None if found is None else found[0].decode("utf-8", "surrogatepass")

    def has_page_id(self, page_id: str) -> bool:
        return self._index.execute("SELECT 1 FROM page WHERE id = ?", (_key(page_id),)).fetchone() is not None

    @property
    def failed(self) -> int:
        """How many pages failed when they were last tried."""
        return int(self._index.execute("SELECT COUNT(*) FROM page WHERE failed").fetchone()[0])

    def add(self, record: PageRecord) -> None:
        try:
            self._superseded += self._note(record, self._lines.seek(0, 2))
            self._lines.write(_line(record))
            self._lines.flush()
        except (OSError, sqlite3.Error) as error:
            reason = getattr(error, "strerror", None) or error
            raise OutputError(f"cannot write {self._folder.report}: {reason}") from error

    def close(self, *, compact: bool = True) -> None:
        """Keeps one line a page, unless `compact` is False: a long report takes seconds to copy."""
        try:
            if compact and self._superseded:
                self._folder.write_with(self._folder.report, lambda stream: stream.writelines(self._latest()))
        finally:
            self._lines.close()
            self._index.close()
            self._folder.index.unlink(missing_ok=True)

    def _read(self) -> int:
        """Fills the index; the number of lines that do not count any more, or never did."""
        superseded, offset, line = 0, 0, b"\n"
        self._lines.seek(0)
        for line in self._lines:
            record = _parsed(line)
            superseded += 1 if record is None else self._note(record, offset)
            offset += len(line)
        if not line.endswith(b"\n"):
            self._lines.write(b"\n")  # The next record must not be taken for the rest of a torn one.
        return superseded

    def _note(self, record: PageRecord, offset: int) -> int:
        """How many records of the page there were before (0 or 1)."""
        known = self.page_id(record.page) is not None
        values = (_key(record.page), _key(record.page_id), record.status is PageStatus.FAILED, offset)
        self._index.execute("INSERT OR REPLACE INTO page VALUES (?, ?, ?, ?)", values)
        return int(known)

    def _latest(self) -> Iterator[bytes]:
        for (offset,) in self._index.execute("SELECT offset FROM page ORDER BY offset"):
            self._lines.seek(offset)
            yield self._lines.readline()


def _new_index(path: Path) -> sqlite3.Connection:
    path.unlink(missing_ok=True)
    # Not worth a report of its own: a crash costs nothing but making it anew.
    index = sqlite3.connect(path, isolation_level=None)
    index.execute("PRAGMA journal_mode = OFF")
    index.execute("PRAGMA synchronous = OFF")
    index.execute("CREATE TABLE page (name BLOB PRIMARY KEY, id BLOB, failed INTEGER, offset INTEGER) WITHOUT ROWID")
    index.execute("CREATE INDEX page_id ON page (id)")
    index.execute("BEGIN")  # Never committed: what does not fit the cache goes to the file by itself.
    return index


def _key(text: str) -> bytes:
    """Names come over the wire: SQLite takes no lone surrogates."""
    return text.encode("utf-8", "surrogatepass")


def _line(record: PageRecord) -> bytes:
    return json.dumps(asdict(record), separators=(",", ":")).encode() + b"\n"


def _parsed(line: bytes) -> PageRecord | None:
    """A record of an earlier run; a line that is torn or from another program counts as a page not done."""
    try:
        values = json.loads(line)
        values["fingerprint"] = Fingerprint(**values["fingerprint"])
        values["status"] = PageStatus(values["status"])
        return PageRecord(**values)
    except (ValueError, TypeError, KeyError, AttributeError):
        return None


def read_report(folder: Path) -> Iterator[PageRecord]:
    """The latest record of every page in the output folder `folder`, while a run is writing it, too.

    OutputError: there is no report, or it cannot be read.
    """
    path = folder / REPORT_NAME
    try:
        with path.open("rb") as stream:
            latest: dict[str, int] = {}
            offset = 0
            for line in stream:
                if record := _parsed(line):
                    latest.pop(record.page, None)
                    latest[record.page] = offset
                offset += len(line)
            for place in latest.values():
                stream.seek(place)
                if record := _parsed(stream.readline()):
                    yield record
    except OSError as error:
        raise OutputError(f"cannot read the report {path}: {error.strerror}") from error
