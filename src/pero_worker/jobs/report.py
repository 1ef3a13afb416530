"""report.jsonl: what became of every page, one JSON object a line; also the memory of earlier runs."""

from __future__ import annotations

import json
import math
import os
import sqlite3
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any

from pero_worker.errors import OutputError
from pero_worker.jobs.outputs import REPORT_NAME, OutputFolder

_KEYS = ("page", "page_id", "request_id")
"""Fields of a record that the index holds as they are."""


class PageStatus(StrEnum):
    """What became of a page."""

    DONE = "done"
    FAILED = "failed"
    SKIPPED = "skipped"
    """There is nothing on it to read, as on a canvas with a film."""


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
    worker_seconds: float = 0.0
    """Of workers, over all stages and attempts; 0: not said."""
    energy_joules: float | None = None
    """What meters of the workers' machines counted for the page; None: nobody measured it."""
    lines: int = 0
    """How many lines were found."""
    confidence_mean: float | None = None
    """Over the lines, 0..1."""
    confidence_worst: float | None = None
    """Of the worst line, 0..1."""
    orientation: float = 0.0
    """Degrees, clockwise, by which the page was turned to be read."""
    outputs: Mapping[str, str] = field(default_factory=dict)
    """Formats to paths, relative to the output folder."""
    error_class: str = ""
    """What kind of failure it was: see `errors.py`."""
    error: str = ""
    """Why it failed, in a sentence."""
    page_id: str = ""
    request_id: str = ""
    source_id: str = ""
    """Of the IIIF canvas or the METS division that the page is."""
    label: str = ""
    """What the page is called there."""
    note: str = ""
    """What was decided about it that its owner may not expect."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """What the index holds of a page."""

    name: str
    """Path of the page's results, without a suffix."""
    page_id: str
    """What it was called on its way."""
    failed: bool
    """Whether it failed when it was last tried."""


class Report:
    """The latest record of every page; appended page by page, made compact at the end.

    What `add` takes counts from the next `commit` on, when the page's files are in place and on the disk.
    Only an index is held beside the file, in SQLite, and made anew from the file each time: a report may have
    millions of lines. Lines that a newer program wrote are kept as they are.
    """

    def __init__(self, folder: OutputFolder) -> None:
        self._folder = folder
        self._pending: list[bytes] = []
        self._is_whole = True
        try:
            self._lines = folder.open_report()
        except OSError as error:
            raise self._unwritable(error) from error
        try:
            self._index = _new_index(folder.index)
            self._superseded = self._read()
        except (OSError, sqlite3.Error) as error:
            self._lines.close()
            raise self._unwritable(error) from error

    def finished(self, page: str, fingerprint: Fingerprint, formats: tuple[str, ...]) -> bool:
        """Whether an earlier run left everything that is asked for now, and nothing of it is empty or torn."""
        record = self.record(page)
        return (
            record is not None
            and record.status is PageStatus.DONE
            and record.fingerprint == fingerprint
            and all(
                name in record.outputs and self._folder.is_whole(record.outputs[name], empty=not record.lines)
                for name in formats
            )
        )

    def outputs(self, page: str) -> Mapping[str, str]:
        """The files of the page so called that an earlier run left: formats to paths."""
        record = self.record(page)
        return record.outputs if record else {}

    def record(self, page: str) -> PageRecord | None:
        """The latest of the page so called. None also as long as it is not committed."""
        found = self._asked("SELECT offset FROM page WHERE name = ?", _key(page))
        if found is None:
            return None
        self._lines.seek(found[0])
        return _parsed(self._lines.readline())

    def holder(self, name: str) -> Known | None:
        """The page that has the name, or one that differs from it in nothing but case."""
        return self._known("folded = ?", _key(name.casefold()))

    def delivered(self, page_id: str, request_id: str) -> Known | None:
        """The page that this message brought; older reports do not say which message it was."""
        return self._known("id = ? AND request IN (?, x'')", _key(page_id), _key(request_id))

    def _known(self, where: str, *values: bytes) -> Known | None:
        query = f"SELECT name, id, failed FROM page WHERE {where} LIMIT 1"  # noqa: S608 - ours, of the two above
        found = self._asked(query, *values)
        return None if found is None else Known(name=_text(found[0]), page_id=_text(found[1]), failed=bool(found[2]))

    @property
    def failed(self) -> int:
        """How many pages failed when they were last tried."""
        return int(self._asked("SELECT COUNT(*) FROM page WHERE failed")[0])

    def _asked(self, query: str, *values: bytes) -> Any:
        """The first row. OutputError: the index cannot be read, as on a disk that is full."""
        try:
            return self._index.execute(query, values).fetchone()
        except sqlite3.Error as error:
            raise self._unwritable(error) from error

    def add(self, record: PageRecord) -> None:
        values = asdict(record)
        line = _line(values)
        try:
            self._superseded += self._note(values, self._end)
        except sqlite3.Error as error:
            raise self._unwritable(error) from error
        self._pending.append(line)
        self._end += len(line)

    def commit(self) -> None:
        """From here on what was added survives a power cut, and the files it speaks of."""
        pending, self._pending = self._pending, []
        try:
            self._folder.commit()
            if pending:
                self._lines.write(b"".join(pending))
                self._lines.flush()
                os.fsync(self._lines.fileno())
        except OSError as error:
            self._is_whole = False
            raise self._unwritable(error) from error
        except BaseException:
            self._is_whole = False
            raise

    def close(self, *, compact: bool = True) -> None:
        """Keeps one line a page, unless `compact` is False: a long report takes seconds to copy."""
        try:
            self.commit()
            if compact and self._superseded and self._is_whole:
                self._folder.write_with(self._folder.report, lambda stream: stream.writelines(self._latest()))
        finally:
            # What could not be written before, for want of room, is tried once more.
            try:
                self._lines.close()
            except OSError as error:
                raise self._unwritable(error) from error
            finally:
                self._index.close()
                self._folder.index.unlink(missing_ok=True)

    def _read(self) -> int:
        """Fills the index; the number of lines that do not count any more, or never did."""
        superseded, offset, line = 0, 0, b"\n"
        self._lines.seek(0)
        for line in self._lines:
            values = _object(line)
            if values is None:
                superseded += 1
            elif isinstance(values.get("page"), str):
                superseded += self._note(values, offset)
            else:
                self._index.execute("INSERT INTO foreign_line VALUES (?)", (offset,))
            offset += len(line)
        self._end = offset
        if not line.endswith(b"\n"):
            self._lines.write(b"\n")  # The next record must not be taken for the rest of a torn one.
            self._end += 1
        return superseded

    def _note(self, values: Mapping[str, Any], offset: int) -> int:
        """How many records of the page there were before (0 or 1). Of a newer program's only this much is read."""
        page, page_id, request_id = (_key(text) if isinstance(text := values.get(name), str) else b"" for name in _KEYS)
        failed = values.get("status") == PageStatus.FAILED
        known = self._index.execute("SELECT 1 FROM page WHERE name = ?", (page,)).fetchone() is not None
        row = (page, _key(_text(page).casefold()), page_id, request_id, failed, offset)
        self._index.execute("INSERT OR REPLACE INTO page VALUES (?, ?, ?, ?, ?, ?)", row)
        return int(known)

    def _latest(self) -> Iterator[bytes]:
        kept = "SELECT offset FROM page UNION ALL SELECT offset FROM foreign_line ORDER BY offset"
        for (offset,) in self._index.execute(kept):
            self._lines.seek(offset)
            yield self._lines.readline()

    def _unwritable(self, error: Exception) -> OutputError:
        return OutputError(f"cannot write {self._folder.report}: {getattr(error, 'strerror', None) or error}")


def _new_index(path: Path) -> sqlite3.Connection:
    path.unlink(missing_ok=True)
    # Not worth a report of its own: a crash costs nothing but making it anew.
    index = sqlite3.connect(path, isolation_level=None)
    index.execute("PRAGMA journal_mode = OFF")
    index.execute("PRAGMA synchronous = OFF")
    index.execute(
        "CREATE TABLE page (name BLOB PRIMARY KEY, folded BLOB, id BLOB, request BLOB, failed INTEGER, offset INTEGER)"
        " WITHOUT ROWID"
    )
    index.execute("CREATE INDEX page_id ON page (id, request)")
    index.execute("CREATE INDEX page_folded ON page (folded)")
    index.execute("CREATE TABLE foreign_line (offset INTEGER)")
    index.execute("BEGIN")  # Never committed: what does not fit the cache goes to the file by itself.
    return index


def _key(text: str) -> bytes:
    """Names come over the wire: SQLite takes no lone surrogates."""
    return text.encode("utf-8", "surrogatepass")


def _text(key: bytes) -> str:
    return key.decode("utf-8", "surrogatepass")


def _line(values: dict[str, Any]) -> bytes:
    return json.dumps(_finite(values), separators=(",", ":"), allow_nan=False).encode() + b"\n"


def _finite(value: Any) -> Any:
    """JSON knows no other numbers."""
    if isinstance(value, dict):
        return {name: _finite(part) for name, part in value.items()}
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _object(line: bytes) -> dict[str, Any] | None:
    try:
        values = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return values if isinstance(values, dict) else None


def _parsed(line: bytes) -> PageRecord | None:
    """A record of an earlier run; a line that is torn or from another program counts as a page not done."""
    values = _object(line) or {}
    try:
        values["fingerprint"] = Fingerprint(**values["fingerprint"])
        values["status"] = PageStatus(values["status"])
        record = PageRecord(**values)
    except (ValueError, TypeError, KeyError):
        return None
    return record if _is_sound(record) else None


def _is_sound(record: PageRecord) -> bool:
    """Whether what is read again is of the kind that it should be: anybody may have written the line."""
    fingerprint = record.fingerprint
    texts = (record.page, record.page_id, record.request_id, fingerprint.pipeline, fingerprint.version)
    numbers = (record.lines, fingerprint.size, fingerprint.modified_ns, fingerprint.dpi)
    return (
        all(isinstance(text, str) for text in texts)
        and all(isinstance(number, int) for number in numbers)
        and isinstance(record.outputs, dict)
        and all(isinstance(path, str) and path for path in record.outputs.values())
    )


def read_report(folder: str | Path) -> Iterator[PageRecord]:
    """The latest record of every page in the output folder `folder`, while a run is writing it, too.

    OutputError: there is no report, or it cannot be read.
    """
    path = Path(folder) / REPORT_NAME
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
