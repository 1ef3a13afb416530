"""report.jsonl: what became of every page, one JSON object per line; also the memory of earlier runs."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from pero_worker.errors import OutputError
from pero_worker.jobs.outputs import OutputFolder
from pero_worker.jobs.records import Fingerprint, PageRecord, PageStatus, line_of, object_in, parsed
from pero_worker.names import same_place

GROUP = 16
"""Number of pages that are synced to disk together."""
_KEYS = ("page", "page_id", "request_id")
"""Fields of a record that the index holds unchanged."""
_TO_BE_TRIED = (PageStatus.FAILED, PageStatus.CANCELLED)
"""Not a set, because a foreign line may hold anything, even a value that cannot be hashed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """What the index holds about a page."""

    name: str
    """Path of the page's results, without a suffix."""
    page_id: str
    """ID of the page while it was being processed."""
    failed: bool
    """Whether the page failed or was cancelled when it was last tried."""


class Report:
    """The latest record of every page; appended page by page, compacted at the end.

    What `add` takes counts from the next `commit` on, when the page's files are in place and on disk.
    Apart from the file there is only an index, in SQLite, which is rebuilt from the file each time: a report may have
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
        """Whether an earlier run left everything that is asked for now, none of it empty or torn."""
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
        """Returns the files that an earlier run left for the page of this name, as formats to paths."""
        record = self.record(page)
        return record.outputs if record else {}

    def record(self, page: str) -> PageRecord | None:
        """Returns the latest record of the page of this name; None if there is none or it is not committed yet."""
        found = self._asked("SELECT offset FROM page WHERE name = ?", _key(page))
        if found is None:
            return None
        self._lines.seek(found[0])
        return parsed(self._lines.readline())

    def holder(self, name: str) -> Known | None:
        """Returns the page that has the name, or one whose name differs only in case."""
        return self._known("folded = ?", _key(same_place(name)))

    def delivered(self, page_id: str, request_id: str) -> Known | None:
        """Returns the page that this message brought; older reports do not say which message it was."""
        return self._known("id = ? AND request IN (?, x'')", _key(page_id), _key(request_id))

    def _known(self, where: str, *values: bytes) -> Known | None:
        query = f"SELECT name, id, failed FROM page WHERE {where} LIMIT 1"  # noqa: S608 - ours, of the two above
        found = self._asked(query, *values)
        return None if found is None else Known(name=_text(found[0]), page_id=_text(found[1]), failed=bool(found[2]))

    @property
    def failed(self) -> int:
        """How many pages failed or were cancelled when they were last tried."""
        return int(self._asked("SELECT COUNT(*) FROM page WHERE failed")[0])

    def _asked(self, query: str, *values: bytes) -> Any:
        """Returns the first row. Raises `OutputError` if the index cannot be read, as on a full disk."""
        try:
            return self._index.execute(query, values).fetchone()
        except sqlite3.Error as error:
            raise self._unwritable(error) from error

    def add(self, record: PageRecord) -> None:
        values = asdict(record)
        line = line_of(values)
        try:
            self._superseded += self._note(values, self._end)
        except sqlite3.Error as error:
            raise self._unwritable(error) from error
        self._pending.append(line)
        self._end += len(line)

    def commit(self) -> None:
        """Makes what was added, and the files that it lists, survive a power cut."""
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
        """Keeps one line per page, unless `compact` is False: a long report takes seconds to copy."""
        try:
            self.commit()
            if compact and self._superseded and self._is_whole:
                self._folder.write_with(self._folder.report, lambda stream: stream.writelines(self._latest()))
        finally:
            # What could not be written before, for lack of space, is tried once more.
            try:
                self._lines.close()
            except OSError as error:
                raise self._unwritable(error) from error
            finally:
                self._index.close()
                self._folder.index.unlink(missing_ok=True)

    def _read(self) -> int:
        """Fills the index; returns the number of lines that no longer count, or never did."""
        superseded, offset, line = 0, 0, b"\n"
        self._lines.seek(0)
        for line in self._lines:
            values = object_in(line)
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
        """Indexes a record and returns how many of its page there were before (0 or 1).

        Of a newer program's record, only this much is read.
        """
        page, page_id, request_id = (_key(text) if isinstance(text := values.get(name), str) else b"" for name in _KEYS)
        failed = values.get("status") in _TO_BE_TRIED
        known = self._index.execute("SELECT 1 FROM page WHERE name = ?", (page,)).fetchone() is not None
        row = (page, _key(same_place(_text(page))), page_id, request_id, failed, offset)
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
    # Not worth protecting: after a crash it only has to be rebuilt.
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
    index.execute("BEGIN")  # Never committed: SQLite writes what does not fit its cache to the file anyway.
    return index


def _key(text: str) -> bytes:
    """Encodes a name, which may come over the wire: SQLite takes no lone surrogates."""
    return text.encode("utf-8", "surrogatepass")


def _text(key: bytes) -> str:
    return key.decode("utf-8", "surrogatepass")
