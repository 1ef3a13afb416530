"""What one look at a cluster saw: plain records for people, programs and metrics."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import IntEnum

from pero_worker.cluster.registry.moves import MoveNote
from pero_worker.cluster.registry.payloads import PayloadSettings
from pero_worker.cluster.registry.workers import WorkerState
from pero_worker.messages import Message

PAYLOAD_STORE = "payload store"
"""The payload store's name among the servers that may be away."""


class Severity(IntEnum):
    """How bad a problem is. Also the exit status of `pero-worker status --check`, as monitoring programs expect it."""

    OK = 0
    WARNING = 1
    CRITICAL = 2
    UNKNOWN = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """Something that a person should look at."""

    severity: Severity
    """CRITICAL: pages stand still, or soon will."""
    about: Message
    """The subject: `stage ocr`, `worker w1`, `RabbitMQ`."""
    what: Message
    """What is wrong, in a sentence; its remedy says what to do."""
    since: datetime | None = None
    """When it began, in UTC, if known."""

    @property
    def subject(self) -> str:
        """The subject in English, like the next two properties."""
        return str(self.about)

    @property
    def text(self) -> str:
        return str(self.what)

    @property
    def remedy(self) -> str:
        return str(self.what.remedy)


@dataclass(frozen=True, slots=True, kw_only=True)
class StageState:
    """A stage with its queue."""

    name: str
    """Name of the stage and of its queue."""
    messages: int | None
    """Messages waiting in the queue; None: the queue is missing, or RabbitMQ is away."""
    workers: int = 0
    """Live workers that hold the stage."""
    mean_seconds: float | None = None
    """Mean duration of a page, in seconds; None: not measured."""
    version: str = ""
    """The stage's version."""
    disabled: bool = False
    """Whether workers are kept away from it."""
    priority: int = 0
    """0 is the default; stages with a higher priority are served sooner."""
    needs: str = ""
    """The label that its workers must have; '': none."""
    owner: str = ""
    """The stage's owner; '': none."""
    trouble: str = ""
    """Why workers cannot load it, as recorded by the watchdog; '': they can."""
    trouble_since: datetime | None = None
    """When the trouble began."""
    unreadable: tuple[str, ...] = ()
    """Its nodes in ZooKeeper whose values make no sense; they count as unset."""
    last_page: datetime | None = None
    """When a page was last done in this stage."""
    waiting_since: datetime | None = None
    """When its pages began to wait while no worker served them."""

    @property
    def rate(self) -> float | None:
        """Pages per second that its workers can do; None: nobody serves it, or nothing has been measured."""
        return self.workers / self.mean_seconds if self.workers and self.mean_seconds else None

    @property
    def seconds_left(self) -> float | None:
        """Seconds until its queue is empty, at that rate."""
        return self.messages / self.rate if self.messages is not None and self.rate else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """What was seen. Anything that could not be seen is empty, and `away` says why."""

    stages: tuple[StageState, ...] = ()
    """Stages with a configuration, by name."""
    outputs: Mapping[str, int] = field(default_factory=dict)
    """Other queues with messages in them, such as results: name -> messages."""
    workers: tuple[WorkerState, ...] = ()
    """All workers by name, including dead ones."""
    leader: str = ""
    """The leading watchdog; '': none."""
    moves: tuple[MoveNote, ...] = ()
    """The watchdog's latest decisions, the newest last."""
    dead_letters: int = 0
    """Messages in the dead-letter queue."""
    away: tuple[tuple[str, str], ...] = ()
    """Servers that do not answer: name and reason."""
    payloads: PayloadSettings = field(default_factory=PayloadSettings)
    """Where images and results are kept outside RabbitMQ."""
    alarms: tuple[str, ...] = ()
    """RabbitMQ's alarms, in its own words: `low on disk`, `low on memory`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ClusterState:
    """What was seen, and what is wrong with it."""

    look: Look
    """What was seen."""
    problems: tuple[Problem, ...]
    """Problems, the worst first."""

    @property
    def severity(self) -> Severity:
        """Severity of the worst problem."""
        return max((problem.severity for problem in self.problems), default=Severity.OK)
