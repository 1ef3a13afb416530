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
    """There is nothing to read on it, as on a canvas with a film."""
    CANCELLED = "cancelled"
    """It was not read: its job was cancelled in the cluster."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fingerprint:
    """What a result depends on; when any of it changes, the page is done again."""

    size: int
    """Size of the file that holds the page, in bytes."""
    modified_ns: int
    """When that file was last modified, in nanoseconds since 1970."""
    pipeline: str
    """Name of the pipeline that did the page."""
    version: str
    """Version of the pipeline."""
    dpi: int
    """Resolution at which PDF pages that are not scans are read."""


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
    """What became of the page."""
    fingerprint: Fingerprint
    """What the result depends on."""
    finished: str
    """When it was settled, in ISO 8601."""
    attempts: int = 1
    """How often it was tried."""
    engine: str = ""
    """Name and version of the last engine that did the page."""
    worker: str = ""
    """The worker that did the page."""
    seconds: Mapping[str, float] = field(default_factory=dict)
    """Phases, and 'total', mapped to the seconds that they took."""
    worker_seconds: float = 0.0
    """Workers' seconds over all stages and attempts; 0 if not stated."""
    energy_joules: float | None = None
    """Joules that meters on the workers' machines counted for the page; None if it was not measured."""
    lines: int = 0
    """How many lines were found."""
    confidence_mean: float | None = None
    """Mean confidence of the lines, 0..1."""
    confidence_worst: float | None = None
    """Confidence of the worst line, 0..1."""
    orientation: float = 0.0
    """Degrees, clockwise, by which the page was turned to be read."""
    outputs: Mapping[str, str] = field(default_factory=dict)
    """Formats mapped to paths relative to the output folder."""
    error_class: str = ""
    """What kind of failure it was: see `errors.py`."""
    error: str = ""
    """Why it failed, in a sentence."""
    page_id: str = ""
    """ID of the page while it was being processed."""
    request_id: str = ""
    """ID of the message that brought it."""
    source_id: str = ""
    """ID of the IIIF canvas or the METS division that the page is."""
    label: str = ""
    """What the IIIF manifest or the METS calls the page."""
    note: str = ""
    """What was decided about it that its owner may not expect."""
    document: str = ""
    """Path of the results of the whole document, without a suffix; missing from older reports."""


def line_of(values: dict[str, Any]) -> bytes:
    """Returns a line of the report, with its line end."""
    return json.dumps(_finite(values), separators=(",", ":"), allow_nan=False).encode() + b"\n"


def _finite(value: Any) -> Any:
    """Replaces numbers that are not finite with None: JSON does not have them."""
    if isinstance(value, dict):
        return {name: _finite(part) for name, part in value.items()}
    return None if isinstance(value, float) and not math.isfinite(value) else value


def object_in(line: bytes) -> dict[str, Any] | None:
    """Returns the object on a line, whoever wrote it; None if it cannot be read."""
    try:
        values = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return values if isinstance(values, dict) else None


def parsed(line: bytes) -> PageRecord | None:
    """Returns a record of an earlier run; None for a torn line or one from another program: its page is not done."""
    values = object_in(line) or {}
    try:
        values["fingerprint"] = Fingerprint(**values["fingerprint"])
        values["status"] = PageStatus(values["status"])
        record = PageRecord(**values)
    except (ValueError, TypeError, KeyError):
        return None
    return record if _is_sound(record) else None


def _is_sound(record: PageRecord) -> bool:
    """Whether the values that are used again have the right types: anyone may have written the line."""
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
    """Yields the latest record of every page in the output folder `folder`, even while a run is writing to it.

    Raises `OutputError` if there is no report or it cannot be read.
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
