"""A processing request: the unit that travels through the stages (wire format: `wire/requests.py`)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import StrEnum

from pero_worker.errors import JobCancelledError


class StageStatus(StrEnum):
    """Values of StageLog.status on the wire."""

    OK = "OK"
    FAILED = "Failed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Payload:
    """A named result. Either `content` holds the bytes, or `reference` says where they are."""

    name: str
    """The payload's name, a file name."""
    content: bytes = b""
    """The file's bytes; empty if there is a `reference`."""
    reference: str = ""
    """URL of the content, if it is stored outside the message."""
    extra: bytes = b""
    """Protobuf fields of a newer program, kept byte for byte."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StageLog:
    """What one run of one stage did to the page; each attempt of a stage adds one.

    Upstream's programs do not know the fields from `engine` on.
    """

    host_id: str
    """The worker's name."""
    stage: str
    """The stage's name."""
    start: datetime
    """When the worker began."""
    end: datetime
    """When the worker was done."""
    status: StageStatus | str
    """The outcome; an unknown string from another program is kept as it is."""
    log: str = ""
    """Log lines for people."""
    version: str = ""
    """The stage's version."""
    engine: str = ""
    """The engine's name and version."""
    failure_class: str = ""
    """The class of the failure, see errors.py; '' if there was none."""
    attempt: int = 0
    """Number of the attempt, from 1, including those that ended in a crash; 0 if it is not known."""
    seconds: Mapping[str, float] = field(default_factory=dict)
    """How long each phase took."""
    energy_joules: float | None = None
    """Energy that the machine's meters counted; None if it was not measured."""
    extra: bytes = b""
    """Protobuf fields of a newer program, kept byte for byte."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """A page on its way. Upstream's programs do not know `job` and `source`."""

    uuid: str
    """Identifier of this request; a page that is tried again gets a new one."""
    page_uuid: str
    """Identifier of the page."""
    stages: tuple[str, ...]
    """The remaining stages: the first is the one that the page waits in, the last is the output queue."""
    results: tuple[Payload, ...] = ()
    """The image and the stages' results."""
    logs: tuple[StageLog, ...] = ()
    """What the stages did, oldest first."""
    priority: int = 0
    """Pages with a higher priority go first."""
    start_time: datetime | None = None
    """When the request was published."""
    job: str = ""
    """Name of the job that the page was published with; '' if the program did not give one."""
    source: str = ""
    """Where the page's results belong: a relative path without extension; '' if the program did not give one."""
    superseded: tuple[str, ...] = ()
    """References of payloads that have been replaced by later ones; they are removed when the page is done."""
    extra: bytes = field(default=b"", repr=False)
    """Protobuf fields of a newer program, kept byte for byte."""

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
    def cancelled(self) -> bool:
        """Whether the page was not processed because its job was cancelled; it also counts as failed."""
        return self.failed and self.logs[-1].failure_class == JobCancelledError.failure_class

    @property
    def destination(self) -> str:
        """The queue that the request belongs in now; a page that was given up goes straight to the output queue."""
        return self.output_queue if self.failed and self.logs[-1].stage != self.stage else self.stage

    @property
    def worker_seconds(self) -> float:
        """Seconds that workers spent on the page, over all stages and attempts."""
        return sum(max(0.0, (log.end - log.start).total_seconds()) for log in self.logs)

    @property
    def energy_joules(self) -> float | None:
        """Energy that all stages and attempts used; None unless all of it was measured."""
        measured = [log.energy_joules for log in self.logs if log.energy_joules is not None]
        return sum(measured) if measured and len(measured) == len(self.logs) else None

    @property
    def failed_attempts(self) -> int:
        """How often the present stage reported a failure on this page."""
        return sum(log.stage == self.stage and log.status != StageStatus.OK for log in self.logs)

    @property
    def references(self) -> tuple[str, ...]:
        """References of all payloads that the request has or had."""
        return (*(payload.reference for payload in self.results if payload.reference), *self.superseded)

    def advanced(self, results: tuple[Payload, ...], log: StageLog) -> Request:
        """Returns this request after its stage succeeded."""
        return replace(self.with_results(results), stages=self.stages[1:], logs=(*self.logs, log))

    def with_results(self, results: tuple[Payload, ...]) -> Request:
        """Returns this request with other results; references that are dropped are recorded as superseded."""
        kept = {payload.reference for payload in results} | {""}
        gone = tuple(payload.reference for payload in self.results if payload.reference not in kept)
        return replace(self, results=results, superseded=(*self.superseded, *gone))

    def given_up(self, log: StageLog) -> Request:
        """Returns this request after its stage failed for good: it goes to the output queue and keeps the stages not
        done."""
        return replace(self, stages=self.stages[1:], logs=(*self.logs, log))

    def taken_back(self, host: str, now: datetime) -> Request:
        """Returns this request after its job was cancelled: it goes to the output queue without its image and
        results, whose payloads whoever downloads it has removed."""
        log = StageLog(
            host_id=host,
            stage=self.stage,
            start=now,
            end=now,
            status=StageStatus.FAILED,
            log="not processed: the job was cancelled",
            failure_class=JobCancelledError.failure_class,
        )
        return self.given_up(log).with_results(())

    def undelivered(self, reason: str) -> Request:
        """Returns this request, failed because it could not be delivered: it goes to the output queue."""
        last = self.logs[-1]
        # The last line is upstream's, for programs that look for it.
        text = f"{last.log.rstrip()}\n{reason}\nDelivery to queue {self.destination} failed!\n".lstrip()
        log = replace(last, status=StageStatus.FAILED, log=text, failure_class=last.failure_class or "request")
        stages = self.stages if self.stage != last.stage or len(self.stages) < 2 else self.stages[1:]
        return replace(self, stages=stages, logs=(*self.logs[:-1], log))

    def spoilt(self, results: tuple[Payload, ...], reason: str) -> Request:
        """Returns this request, failed because some of its results cannot be had; `results` are the others."""
        if not self.logs:
            return self.with_results(results)
        text = f"{reason}\n{self.logs[-1].log}".rstrip()
        log = replace(self.logs[-1], status=StageStatus.FAILED, log=text, failure_class="page")
        return replace(self.with_results(results), logs=(*self.logs[:-1], log))

    def tried_again(self, uuid: str) -> Request:
        """Returns a failed page as a new request `uuid` for the stage that it failed in; earlier stages are not
        repeated."""
        stage = self.logs[-1].stage
        stages = self.stages if self.stage == stage else (stage, *self.stages)
        logs = tuple(log for log in self.logs if log.stage != stage or log.status == StageStatus.OK)
        return replace(self, uuid=uuid, stages=stages, logs=logs)

    def to_be_retried(self, log: StageLog) -> Request:
        """Returns this request after a failed attempt; it stays in its stage."""
        return replace(self, logs=(*self.logs, log))
