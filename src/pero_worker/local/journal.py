"""report.jsonl: what became of every page, one JSON object a line; also the memory of earlier runs."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from pathlib import Path

from pero_worker.errors import OutputError
from pero_worker.local.outputs import OutputFolder


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
    """The latest record of every page; appended page by page, rewritten compactly at the end."""

    def __init__(self, folder: OutputFolder) -> None:
        self._folder = folder
        self._records = {record.page: record for record in _read(folder.report)}
        try:
            self._stream = folder.report.open("a", encoding="utf-8")
        except OSError as error:
            raise OutputError(f"cannot write {folder.report}: {error.strerror}") from error

    def finished(self, page: str, fingerprint: Fingerprint, formats: tuple[str, ...]) -> bool:
        """Whether an earlier run left everything that is asked for now."""
        record = self._records.get(page)
        return (
            record is not None
            and record.status is PageStatus.DONE
            and record.fingerprint == fingerprint
            and all(name in record.outputs and (self._folder.root / record.outputs[name]).is_file() for name in formats)
        )

    def records(self) -> tuple[PageRecord, ...]:
        """The latest of every page."""
        return tuple(self._records.values())

    def add(self, record: PageRecord) -> None:
        self._records[record.page] = record
        try:
            self._stream.write(_line(record))
            self._stream.flush()
        except OSError as error:
            raise OutputError(f"cannot write {self._folder.report}: {error.strerror}") from error

    def close(self) -> None:
        """Keeps one line a page."""
        self._stream.close()
        lines = "".join(_line(record) for record in self._records.values())
        self._folder.write(self._folder.report, lines.encode())


def _line(record: PageRecord) -> str:
    return json.dumps(asdict(record), separators=(",", ":")) + "\n"


def _read(path: Path) -> Iterator[PageRecord]:
    """Records of earlier runs; a line that is torn or from another program counts as a page not done."""
    if not path.is_file():
        return
    with path.open("rb") as stream:
        for line in stream:
            try:
                values = json.loads(line)
                values["fingerprint"] = Fingerprint(**values["fingerprint"])
                values["status"] = PageStatus(values["status"])
                yield PageRecord(**values)
            except (ValueError, TypeError, KeyError):
                continue
