"""What became of a page, as a record and as a line of report.jsonl."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any

from pero_worker.errors import OutputError
from pero_worker.jobs.outputs import REPORT_NAME


class PageStatus(StrEnum):
    """What became of a page."""

    DONE = "done"
    FAILED = "failed"
    SKIPPED = "skipped"
    """There is nothing on it to read, as on a canvas with a film."""
    CANCELLED = "cancelled"
    """It was not read: its job was cancelled in the cluster."""


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
    """What it was called on its way."""
    request_id: str = ""
    """Of the message that brought it."""
    source_id: str = ""
    """Of the IIIF canvas or the METS division that the page is."""
    label: str = ""
    """What the page is called there."""
    note: str = ""
    """What was decided about it that its owner may not expect."""
    document: str = ""
    """Path of the results of the whole document, without a suffix; older reports do not tell it."""


def line_of(values: dict[str, Any]) -> bytes:
    """One of the report, with its end."""
    return json.dumps(_finite(values), separators=(",", ":"), allow_nan=False).encode() + b"\n"


def _finite(value: Any) -> Any:
    """JSON knows no other numbers."""
    if isinstance(value, dict):
        return {name: _finite(part) for name, part in value.items()}
    return None if isinstance(value, float) and not math.isfinite(value) else value


def object_in(line: bytes) -> dict[str, Any] | None:
    """What a line says, whoever wrote it; None: nothing that can be read."""
    try:
        values = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return values if isinstance(values, dict) else None


def parsed(line: bytes) -> PageRecord | None:
    """A record of an earlier run; a line that is torn or from another program counts as a page not done."""
    values = object_in(line) or {}
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
                if record := parsed(line):
                    latest.pop(record.page, None)
                    latest[record.page] = offset
                offset += len(line)
            for place in latest.values():
                stream.seek(place)
                if record := parsed(stream.readline()):
                    yield record
    except OSError as error:
        raise OutputError(f"cannot read the report {path}: {error.strerror}") from error
