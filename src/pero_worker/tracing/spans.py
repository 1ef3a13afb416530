"""A page's way as spans of a trace. Pure: made of what requests and their logs say, when it is over.

A page's trace has the page's id, hashed: whoever knows the page finds its trace, and a page whose header an original
program has dropped on the way goes on in the same trace, as one more root.
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
"""In the order in which engines go through them; others come after these, and `write` is the last."""
_LAST_PHASE = "write"
_NO_PHASES = frozenset({"total"})
_MAX_ERROR = 500
"""Characters of a failure's reason."""
_SHORTEST_SECONDS = 1e-6


class Kind(StrEnum):
    """What a span is towards other processes, in OpenTelemetry's words."""

    INTERNAL = "INTERNAL"
    SERVER = "SERVER"
    PRODUCER = "PRODUCER"
    CONSUMER = "CONSUMER"


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where something is in a trace."""

    trace: str
    """The trace's id: 32 hexadecimal digits."""
    span: str
    """The span's: 16 of them."""
    sampled: bool = True
    """Whether the trace is kept."""

    @property
    def traceparent(self) -> str:
        """As W3C Trace Context writes it."""
        return f"00-{self.trace}-{self.span}-{int(self.sampled):02x}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """Something that took time."""

    name: str
    """What was done."""
    place: Place
    """Its own."""
    start: datetime
    """When it began."""
    end: datetime
    """When it was over; not before that."""
    parent: str = ""
    """The span that it is part of, or that led to it; '': it is a root."""
    kind: Kind = Kind.INTERNAL
    """Who is on its other side."""
    attributes: Mapping[str, str | int | float] = field(default_factory=dict)
    """What else is known."""
    error: str = ""
    """Why it failed; '': it did not."""
    link: str = ""
    """The traceparent of another trace that led to it; '': none."""


class SpanSink(Protocol):
    """Who is told of spans. It never fails, and never keeps anybody waiting."""

    def tell(self, span: Span) -> None: ...

    def keeps(self, trace: str) -> bool:
        """Whether a trace that begins here is sampled."""

    def close(self) -> None:
        """Within two seconds, whether all was told or not."""


def trace_of(page: str) -> str:
    """The id of a page's trace. Hashed, as samplers want the digits to be random, which those of a UUID are not."""
    return hashlib.sha256(b"trace " + page.encode("utf-8", "replace")).hexdigest()[:32]


def root_of(page: str, attempt: int = 0) -> str:
    """The id of a page's first span, where others must know it beforehand; `attempt`: how often it was begun anew."""
    return hashlib.sha256(f"root {attempt} ".encode() + page.encode("utf-8", "replace")).hexdigest()[:16]


def place_in(traceparent: str) -> Place | None:
    """What a valid header says; None: there is none."""
    if not traceparent:
        return None
    _, trace, span, flags = traceparent.split("-")
    return Place(trace=trace, span=span, sampled=bool(int(flags, 16) & 1))


def page_attributes(request: Request) -> dict[str, str | int | float]:
    """What all spans of a page tell."""
    named = {"pero.page": request.page_uuid, "pero.job": request.job, "pero.source": request.source}
    return {name: value for name, value in named.items() if value}


def stage_spans(
    request: Request, begun: int, before: Place, *, lost: bool = False, new_id: Callable[[], str]
) -> tuple[Sequence[Span], Place]:
    """What the logs of `request` from number `begun` on tell, and where the page is then. `before` is the span that led
    here; with `lost` its id is not known, only the trace."""
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
    """One after the other, as workers measure how long each took and not when it began."""
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
