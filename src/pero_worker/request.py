"""A processing request: the unit that travels through the stages (wire form: `wire/requests.py`)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import StrEnum

from pero_worker.errors import JobCancelledError


class StageStatus(StrEnum):
    """StageLog.status on the wire."""

    OK = "OK"
    FAILED = "Failed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Payload:
    """A named result. Either `content` holds the bytes, or `reference` says where they lie."""

    name: str
    """A file name."""
    content: bytes = b""
    """The file's bytes."""
    reference: str = ""
    """A URL."""
    extra: bytes = b""
    """Protobuf fields of a newer program, kept byte for byte."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StageLog:
    """What one run of one stage did to the page. A page may have several of the same stage: one for each attempt.

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
    """A string of another program is kept as it is."""
    log: str = ""
    """Lines for people."""
    version: str = ""
    """The stage's version."""
    engine: str = ""
    """The engine's name and version."""
    failure_class: str = ""
    """'' when all went well; see errors.py."""
    attempt: int = 0
    """From 1, crashes counted; 0: not said."""
    seconds: Mapping[str, float] = field(default_factory=dict)
    """How long each phase took."""
    energy_joules: float | None = None
    """What meters of the machine counted; None: nobody measured it."""
    extra: bytes = b""
    """Protobuf fields of a newer program, kept byte for byte."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """A page on its way. Upstream's programs do not know `job` and `source`."""

    uuid: str
    """Of this request; a page that is tried again gets a new one."""
    page_uuid: str
    """Of the page."""
    stages: tuple[str, ...]
    """What is still to do: the first is the stage that the page waits in, the last is the output queue."""
    results: tuple[Payload, ...] = ()
    """The image, and what the stages made."""
    logs: tuple[StageLog, ...] = ()
    """What was done, oldest first."""
    priority: int = 0
    """Pages with a higher one go first."""
    start_time: datetime | None = None
    """When it was published."""
    job: str = ""
    """Names what the page was published with; '' from a program that does not say."""
    source: str = ""
    """Where its results belong: a relative path without extension; '' from a program that does not say."""
    superseded: tuple[str, ...] = ()
    """References of payloads that later ones took the place of: they are removed when the page is done."""
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
        """Whether it was not processed because its job was cancelled; it counts as failed, too."""
        return self.failed and self.logs[-1].failure_class == JobCancelledError.failure_class

    @property
    def destination(self) -> str:
        """The queue the request belongs in now; a page that was given up goes straight to the output queue."""
        return self.output_queue if self.failed and self.logs[-1].stage != self.stage else self.stage

    @property
    def worker_seconds(self) -> float:
        """Of workers, over all stages and attempts."""
        return sum(max(0.0, (log.end - log.start).total_seconds()) for log in self.logs)

    @property
    def energy_joules(self) -> float | None:
        """What all stages and attempts used; None: not all of it was measured."""
        measured = [log.energy_joules for log in self.logs if log.energy_joules is not None]
        return sum(measured) if measured and len(measured) == len(self.logs) else None

    @property
    def failed_attempts(self) -> int:
        """How often the present stage has failed on this page and said so."""
        return sum(log.stage == self.stage and log.status != StageStatus.OK for log in self.logs)

    @property
    def references(self) -> tuple[str, ...]:
        """Of all payloads that it has, or had."""
        return (*(payload.reference for payload in self.results if payload.reference), *self.superseded)

    def advanced(self, results: tuple[Payload, ...], log: StageLog) -> Request:
        """This request after its stage succeeded."""
        return replace(self.with_results(results), stages=self.stages[1:], logs=(*self.logs, log))

    def with_results(self, results: tuple[Payload, ...]) -> Request:
        """This request with other results; references that went are kept in mind."""
        kept = {payload.reference for payload in results} | {""}
        gone = tuple(payload.reference for payload in self.results if payload.reference not in kept)
        return replace(self, results=results, superseded=(*self.superseded, *gone))

    def given_up(self, log: StageLog) -> Request:
        """This request after its stage failed for good: it goes to the output queue, the stages not done are kept."""
        return replace(self, stages=self.stages[1:], logs=(*self.logs, log))

    def taken_back(self, host: str, now: datetime) -> Request:
        """This request after its job was cancelled: it goes to the output queue, without its image and its results."""
        log = StageLog(
            host_id=host,
            stage=self.stage,
            start=now,
            end=now,
            status=StageStatus.FAILED,
            log="not processed: the job was cancelled",
            failure_class=JobCancelledError.failure_class,
        )
        return replace(self.given_up(log), results=())

    def undelivered(self, reason: str) -> Request:
        """This request, failed because it could not be delivered: it goes to the output queue."""
        last = self.logs[-1]
        # The last line is upstream's, for whoever looks for it.
        text = f"{last.log.rstrip()}\n{reason}\nDelivery to queue {self.destination} failed!\n".lstrip()
        log = replace(last, status=StageStatus.FAILED, log=text, failure_class=last.failure_class or "request")
        stages = self.stages if self.stage != last.stage or len(self.stages) < 2 else self.stages[1:]
        return replace(self, stages=stages, logs=(*self.logs[:-1], log))

    def spoilt(self, results: tuple[Payload, ...], reason: str) -> Request:
        """This request, failed because some of its results cannot be had; `results` are the others."""
        if not self.logs:
            return self.with_results(results)
        text = f"{reason}\n{self.logs[-1].log}".rstrip()
        log = replace(self.logs[-1], status=StageStatus.FAILED, log=text, failure_class="page")
        return replace(self.with_results(results), logs=(*self.logs[:-1], log))

    def tried_again(self, uuid: str) -> Request:
        """A failed page as a new request `uuid` for the stage that it failed in: what was done before stays done."""
        stage = self.logs[-1].stage
        stages = self.stages if self.stage == stage else (stage, *self.stages)
        logs = tuple(log for log in self.logs if log.stage != stage or log.status == StageStatus.OK)
        return replace(self, uuid=uuid, stages=stages, logs=logs)

    def to_be_retried(self, log: StageLog) -> Request:
        """This request after a failed attempt; it stays in its stage."""
        return replace(self, logs=(*self.logs, log))
