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
"""As a server that may be away."""


class Severity(IntEnum):
    """Also the exit status of `pero-worker status --check`, as monitoring programs expect it."""

    OK = 0
    WARNING = 1
    CRITICAL = 2
    UNKNOWN = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """Something that a person should look at."""

    severity: Severity
    """CRITICAL: pages stand still, or will soon."""
    about: Message
    """What it is about: `stage ocr`, `worker w1`, `RabbitMQ`."""
    what: Message
    """What is wrong, in a sentence; its remedy says what to do."""
    since: datetime | None = None
    """When it began, in UTC, where that is known."""

    @property
    def subject(self) -> str:
        """In English, as the next two."""
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
    """Of both."""
    messages: int | None
    """That wait; None: the queue is missing, or RabbitMQ is away."""
    workers: int = 0
    """That hold it and are there."""
    mean_seconds: float | None = None
    """Of a page; None: not measured."""
    version: str = ""
    """Which the stage's configuration names."""
    disabled: bool = False
    """Whether workers are kept away from it."""
    priority: int = 0
    """0 is usual; higher is served sooner."""
    needs: str = ""
    """The label that its workers must have; '': none."""
    owner: str = ""
    """Whose it is; '': nobody's."""
    trouble: str = ""
    """Why workers cannot load it, as the watchdog wrote it down; '': they can."""
    trouble_since: datetime | None = None
    """Since when."""
    unreadable: tuple[str, ...] = ()
    """Its nodes in ZooKeeper whose values make no sense, and count as unset."""
    last_page: datetime | None = None
    """When a page of it was done last."""
    waiting_since: datetime | None = None
    """Since when its pages have waited while nobody served it."""

    @property
    def rate(self) -> float | None:
        """Pages a second that its workers can do; None: nobody serves it, or nothing is measured."""
        return self.workers / self.mean_seconds if self.workers and self.mean_seconds else None

    @property
    def seconds_left(self) -> float | None:
        """Until its queue is empty, at that rate."""
        return self.messages / self.rate if self.messages is not None and self.rate else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """What was seen; what could not be seen is empty, and `away` says why."""

    stages: tuple[StageState, ...] = ()
    """Those with a configuration, by name."""
    outputs: Mapping[str, int] = field(default_factory=dict)
    """Other queues in which something waits, as results: name -> messages."""
    workers: tuple[WorkerState, ...] = ()
    """By name, dead ones too."""
    leader: str = ""
    """The watchdog that leads; '': none."""
    moves: tuple[MoveNote, ...] = ()
    """What it did last, the newest last."""
    dead_letters: int = 0
    """Messages that are no pages."""
    away: tuple[tuple[str, str], ...] = ()
    """Servers that do not answer: name and reason."""
    payloads: PayloadSettings = field(default_factory=PayloadSettings)
    """Where images and results lie beside RabbitMQ."""
    alarms: tuple[str, ...] = ()
    """RabbitMQ's, as it words them: `low on disk`, `low on memory`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ClusterState:
    """What was seen, and what is wrong with it."""

    look: Look
    """What was seen."""
    problems: tuple[Problem, ...]
    """The worst first."""

    @property
    def severity(self) -> Severity:
        """Of the worst problem."""
        return max((problem.severity for problem in self.problems), default=Severity.OK)
