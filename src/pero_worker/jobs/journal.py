"""report.jsonl: what became of every page, one JSON object a line; also the memory of earlier runs."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from pathlib import Path

from pero_worker.errors import OutputError
from pero_worker.jobs.outputs import OutputFolder


class PageStatus(StrEnum):
    DONE = "done"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Fingerprint:
    """What a result depends on; when one of it changes, the page is done again."""

    size: int
    modified_ns: int
    pipeline: str
    version: str
    dpi: int


@dataclass(frozen=True, slots=True)
class PageRecord:
    """A line of the report. Confidences are 0..1, `seconds` maps phases and 'total' to seconds, `page_index` is
    from 0; `outputs` are paths relative to the output folder, `page_id` is what the page was called on its way."""

    page: str
    source: str
    page_index: int
    status: PageStatus
    fingerprint: Fingerprint
    finished: str
    attempts: int = 1
    engine: str = ""
    worker: str = ""
    seconds: Mapping[str, float] = field(default_factory=dict)
    lines: int = 0
    confidence_mean: float | None = None
    confidence_worst: float | None = None
    outputs: Mapping[str, str] = field(default_factory=dict)
    error_class: str = ""
    error: str = ""
    page_id: str = ""


class Journal:
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
    # Not worth a journal of its own: a crash costs nothing but making it anew.
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
