"""A page's way as the spans of a trace. Pure: spans are made afterwards from what requests and their logs say.

A page's trace id is the hash of the page's id, so that whoever knows the page finds its trace. A page whose header one
of the original programs has dropped on the way continues in the same trace, as one more root.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Protocol

from pero_worker.request import Request, StageLog, StageStatus

_PHASES = ("read", "layout", "detect", "crop", "classify", "ocr", "recognise", "decode", "words")
"""Phases in the order in which engines go through them; others come after these, and `write` is the last."""
_LAST_PHASE = "write"
_NO_PHASES = frozenset({"total"})
_MAX_ERROR = 500
"""Longest reason of a failure, in characters."""
_SHORTEST_SECONDS = 1e-6


class Kind(StrEnum):
    """A span's role towards other processes, in OpenTelemetry's words."""

    INTERNAL = "INTERNAL"
    SERVER = "SERVER"
    PRODUCER = "PRODUCER"
    CONSUMER = "CONSUMER"


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """A position in a trace."""

    trace: str
    """The trace's id: 32 hexadecimal digits."""
    span: str
    """The span's id: 16 hexadecimal digits."""
    sampled: bool = True
    """Whether the trace is kept."""

    @property
    def traceparent(self) -> str:
        """The position in the format of W3C Trace Context."""
        return f"00-{self.trace}-{self.span}-{int(self.sampled):02x}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """Something that took time."""

    name: str
    """What was done."""
    place: Place
    """The span's own position."""
    start: datetime
    """When the span began."""
    end: datetime
    """When the span ended; not before `start`."""
    parent: str = ""
    """Id of the span that this one is part of, or that led to it; '' for a root."""
    kind: Kind = Kind.INTERNAL
    """The span's role towards other processes."""
    attributes: Mapping[str, str | int | float] = field(default_factory=dict)
    """Further facts."""
    error: str = ""
    """Why it failed; '' if it did not."""
    link: str = ""
    """The traceparent of another trace that led to this span; '' if there is none."""


class SpanSink(Protocol):
    """Receives spans. It never fails, and never makes its caller wait."""

    def tell(self, span: Span) -> None: ...

    def keeps(self, trace: str) -> bool:
        """Whether a trace that begins here is sampled."""

    def close(self) -> None:
        """Closes the sink within two seconds, whether or not everything was sent."""


def trace_of(page: str) -> str:
    """Returns the id of a page's trace: a hash, because samplers need random digits, which those of a UUID are not."""
    return hashlib.sha256(b"trace " + page.encode("utf-8", "replace")).hexdigest()[:32]


def root_of(page: str, attempt: int = 0) -> str:
    """Returns the id of a page's first span, for when others must know it beforehand. `attempt` counts restarts."""
    return hashlib.sha256(f"root {attempt} ".encode() + page.encode("utf-8", "replace")).hexdigest()[:16]


def place_in(traceparent: str) -> Place | None:
    """Returns the position in a valid traceparent header; None if it is empty."""
    if not traceparent:
        return None
    _, trace, span, flags = traceparent.split("-")
    return Place(trace=trace, span=span, sampled=bool(int(flags, 16) & 1))


def page_attributes(request: Request) -> dict[str, str | int | float]:
    """Returns the attributes that all spans of a page share."""
    named = {"pero.page": request.page_uuid, "pero.job": request.job, "pero.source": request.source}
    return {name: value for name, value in named.items() if value}


def stage_spans(
    request: Request, begun: int, before: Place, *, lost: bool = False, new_id: Callable[[], str]
) -> tuple[Sequence[Span], Place]:
    """Returns spans for the logs of `request` from number `begun` on, and the page's position after them.

    `before` is the span that led here; with `lost`, its id is unknown and only the trace is known.
    """
    spans: list[Span] = []
    place, parent = before, "" if lost else before.span
    for number, log in enumerate(request.logs[begun:], begun):
        earlier = request.logs[number - 1].end if number else request.start_time
        shared = page_attributes(request)
        if number == begun and earlier is not None and (log.start - earlier).total_seconds() > _SHORTEST_SECONDS:
            waiting = Place(trace=place.trace, span=new_id(), sampled=place.sampled)
            spans.append(
                Span(
                    name=f"wait {log.stage}",
                    place=waiting,
                    parent=parent,
                    start=earlier,
                    end=log.start,
                    attributes=shared | {"pero.stage": log.stage},
                )
            )
        place = Place(trace=place.trace, span=new_id(), sampled=place.sampled)
        spans.append(_stage_span(log, place, parent, shared))
        spans += _phases(log, place, new_id)
        parent = place.span
    return spans, place


def _stage_span(log: StageLog, place: Place, parent: str, shared: Mapping[str, str | int | float]) -> Span:
    known: dict[str, str | int | float] = {
        "messaging.system": "rabbitmq",
        "messaging.operation.type": "process",
        "messaging.destination.name": log.stage,
        "pero.stage": log.stage,
        "pero.stage.version": log.version,
        "pero.engine": log.engine,
        "pero.worker": log.host_id,
        "pero.attempt": log.attempt,
    }
    if log.energy_joules is not None:
        known["pero.energy_joules"] = log.energy_joules
    failed = log.status != StageStatus.OK
    reason = (log.log.strip() or "failed without a word").splitlines()[0][:_MAX_ERROR]
    return Span(
        name=f"process {log.stage}",
        place=place,
        parent=parent,
        kind=Kind.CONSUMER,
        start=log.start,
        end=max(log.start, log.end),
        attributes={**shared, **{name: value for name, value in known.items() if value != ""}},
        error=reason if failed else "",
    )


def _phases(log: StageLog, place: Place, new_id: Callable[[], str]) -> Sequence[Span]:
    """Returns spans for the phases, one after another: workers measure how long each phase took, not when it began."""
    end = max(log.start, log.end)
    found = sorted(log.seconds.items(), key=lambda item: _rank(item[0]))
    at, spans = log.start, []
    for name, seconds in found:
        if name in _NO_PHASES or seconds <= 0:
            continue
        start, at = at, min(end, at + timedelta(seconds=min(seconds, (end - log.start).total_seconds())))
        inside = Place(trace=place.trace, span=new_id(), sampled=place.sampled)
        spans.append(Span(name=name, place=inside, parent=place.span, start=start, end=at))
    return spans


def _rank(phase: str) -> tuple[int, str]:
    if phase == _LAST_PHASE:
        return len(_PHASES) + 1, phase
    return (_PHASES.index(phase) if phase in _PHASES else len(_PHASES)), phase
