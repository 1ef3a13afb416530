"""Finds the lines and pages of an output folder that were read with the least confidence."""

from __future__ import annotations

import heapq
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import count
from pathlib import Path, PurePosixPath
from typing import TypeVar

from pero_worker.errors import PageError
from pero_worker.formats import MASTER, pagexml_read
from pero_worker.jobs.records import PageRecord, PageStatus, read_report
from pero_worker.page import Line

Thing = TypeVar("Thing")


@dataclass(frozen=True, slots=True, kw_only=True)
class UnsureLine:
    """A line and the page that it is on."""

    record: PageRecord
    """Record of its page."""
    line: Line
    """The line as it was read."""
    size: tuple[int, int]
    """Width and height of the page that its coordinates refer to."""
    confidence: float
    """How likely it is that a letter of the line is right."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Review:
    """What to look at first."""

    pages: Sequence[PageRecord]
    """The least certain pages, worst first."""
    lines: Sequence[UnsureLine]
    """The least certain lines of all pages, worst first."""
    done: int
    """Number of pages that were read."""
    unreadable: Sequence[str]
    """Pages whose PAGE XML is missing or damaged."""


def review(folder: Path, *, pages: int, lines: int) -> Review:
    """Returns at most so many pages and lines. Raises `OutputError` if there is no report in the folder."""
    worst_pages: list[tuple[float, int, PageRecord]] = []
    worst_lines: list[tuple[float, int, UnsureLine]] = []
    unreadable: list[str] = []
    order, done = count(), 0
    for record in read_report(folder):
        if record.status is not PageStatus.DONE:
            continue
        done += 1
        if record.confidence_mean is not None:
            _keep(worst_pages, pages, record.confidence_mean, -next(order), record)
        full = len(worst_lines) >= lines and -worst_lines[0][0] <= (record.confidence_worst or 0.0)
        if record.confidence_worst is None or full:
            continue
        try:
            for found in _lines(folder, record):
                _keep(worst_lines, lines, found.confidence, -next(order), found)
        except (PageError, OSError):
            unreadable.append(record.page)
    return Review(
        pages=[record for *_, record in sorted(worst_pages, reverse=True)],
        lines=[line for *_, line in sorted(worst_lines, reverse=True)],
        done=done,
        unreadable=unreadable,
    )


def by_page(lines: Sequence[UnsureLine]) -> dict[tuple[str, int], list[UnsureLine]]:
    """Groups lines by the file and the place in it that they come from, so that a page is opened only once."""
    found = defaultdict(list)
    for line in lines:
        found[line.record.source, line.record.page_index].append(line)
    return dict(found)


def _keep(heap: list[tuple[float, int, Thing]], most: int, confidence: float, tie: int, thing: Thing) -> None:
    heapq.heappush(heap, (-confidence, tie, thing))
    if len(heap) > most:
        heapq.heappop(heap)


def _lines(folder: Path, record: PageRecord) -> Iterator[UnsureLine]:
    place = PurePosixPath(record.outputs.get(MASTER.name, ""))
    if place.is_absolute() or ".." in place.parts or not place.name:
        raise PageError(f"{record.page} has no PAGE XML", permanent=True)
    path = folder / place
    if path.stat().st_size > pagexml_read.MAX_BYTES:
        raise PageError(f"{path} is too large", permanent=True)
    page = pagexml_read.read(path.read_bytes())
    for line in page.lines():
        if line.confidence is not None and line.text:
            yield UnsureLine(record=record, line=line, size=(page.width, page.height), confidence=line.confidence)
