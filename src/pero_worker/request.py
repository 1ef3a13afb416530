"""A processing request: the unit that travels through the stages (wire form: `wire/requests.py`)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import StrEnum


class StageStatus(StrEnum):
    """StageLog.status on the wire."""

    OK = "OK"
    FAILED = "Failed"


@dataclass(frozen=True, slots=True)
class Payload:
    """A named result. Either `content` holds the bytes, or `reference` (a URL) says where they lie.

    `extra` are protobuf fields of a newer program, kept byte for byte.
    """

    name: str
    content: bytes = b""
    reference: str = ""
    extra: bytes = b""


@dataclass(frozen=True, slots=True)
class StageLog:
    """What one run of one stage did to the page. A page may have several of the same stage: one an attempt.

    Ours, unknown to upstream: `engine` (name and version), `failure_class` ('' when it went well; see
    errors.py), `seconds` (phase -> duration), `attempt` (from 1, crashes counted; 0 = not said).
    """

    host_id: str
    stage: str
    start: datetime
    end: datetime
    status: StageStatus | str
    log: str = ""
    version: str = ""
    engine: str = ""
    failure_class: str = ""
    attempt: int = 0
    seconds: Mapping[str, float] = field(default_factory=dict)
    extra: bytes = b""


@dataclass(frozen=True, slots=True)
class Request:
    """`stages[0]` is the stage the page waits in; the last name is the output queue.

    Ours: `job` names what the page was published with, `source` where its results belong, a relative path without
    extension ('' = from a program that says neither).
    """

    uuid: str
    page_uuid: str
    stages: tuple[str, ...]
    results: tuple[Payload, ...] = ()
    logs: tuple[StageLog, ...] = ()
    priority: int = 0
    start_time: datetime | None = None
    job: str = ""
    source: str = ""
    extra: bytes = field(default=b"", repr=False)

    @property
    def stage(self) -> str:
        return self.stages[0]

    @property
    def output_queue(self) -> str:
        return self.stages[-1]

    @property
    def failed(self) -> bool:
        """Whether the last thing that happened to the page was a failure."""
        return bool(self.logs) and self.logs[-1].status != StageStatus.OK

    @property
    def destination(self) -> str:
        """The queue the request belongs in now; a page that was given up goes straight to the output queue."""
        return self.output_queue if self.failed and self.logs[-1].stage != self.stage else self.stage

    @property
    def failed_attempts(self) -> int:
        """How often the present stage has failed on this page and said so."""
        return sum(log.stage == self.stage and log.status != StageStatus.OK for log in self.logs)

    def advanced(self, results: tuple[Payload, ...], log: StageLog) -> Request:
        """This request after its stage succeeded."""
        return replace(self, stages=self.stages[1:], results=results, logs=(*self.logs, log))

    def given_up(self, log: StageLog) -> Request:
        """This request after its stage failed for good: it goes to the output queue, the stages not done are kept."""
        return replace(self, stages=self.stages[1:], logs=(*self.logs, log))

    def undelivered(self, reason: str) -> Request:
        """This request, failed because it could not be delivered: it goes to the output queue."""
        last = self.logs[-1]
        # The last line is upstream's, for whoever looks for it.
        text = f"{last.log.rstrip()}\n{reason}\nDelivery to queue {self.destination} failed!\n".lstrip()
        log = replace(last, status=StageStatus.FAILED, log=text, failure_class=last.failure_class or "request")
        stages = self.stages if self.stage != last.stage or len(self.stages) < 2 else self.stages[1:]
        return replace(self, stages=stages, logs=(*self.logs[:-1], log))

    def tried_again(self, uuid: str) -> Request:
        """A failed page as a new request `uuid` for the stage that it failed in: what was done before stays done."""
        stage = self.logs[-1].stage
        stages = self.stages if self.stage == stage else (stage, *self.stages)
        logs = tuple(log for log in self.logs if log.stage != stage or log.status == StageStatus.OK)
        return replace(self, uuid=uuid, stages=stages, logs=logs)

    def to_be_retried(self, log: StageLog) -> Request:
        """This request after a failed attempt; it stays in its stage."""
        return replace(self, logs=(*self.logs, log))
