"""The cluster as a rule sees it, and what a rule answers: plain records.

The service reads a snapshot off real servers, the simulator off its own, a trace off a file.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from pero_worker.messages import Message
from pero_worker.stage import Cost, Sharing

UNKNOWN_PAGE_SECONDS = 1.0
"""Assumed of a page of a stage that nobody has measured."""
UNKNOWN_LOAD_SECONDS = 5.0
"""Assumed of loading a stage that nobody has loaded yet."""
UNKNOWN_MEMORY_BYTES = 2_000_000_000
"""Assumed of a stage whose size is not measured."""
MIN_LOAD_SECONDS = 0.1
"""What a move costs at least, however small the model is: a command and its answer take time."""
_MIN_PAGE_SECONDS = 1e-4


@dataclass(frozen=True, slots=True, kw_only=True)
class StageView:
    """A stage as it stands."""

    name: str
    """Unique in the cluster."""
    waiting: int = 0
    """Messages in the stage's queue, and in nobody's hand."""
    costs: Mapping[str, Cost] = field(default_factory=dict)
    """By kind of worker."""
    arrivals: float = 0.0
    """Pages a second that come from outside, not from a stage before."""
    onward: Mapping[str, float] = field(default_factory=dict)
    """The share of its pages that go on to each other stage."""
    unserved: float = 0.0
    """Seconds that pages have waited while nobody served the stage."""
    priority: int = 0
    """Stages with a higher one get workers first."""
    disabled: bool = False
    """It is not to be served."""
    quarantine: str = ""
    """Why no worker may be sent; '' = they may."""
    trouble: str = ""
    """Why nobody has loaded its present version yet, though somebody tried; an older one may be served meanwhile."""
    sharing: Sharing = field(default_factory=Sharing)
    """Which workers may serve it, and for whom."""

    def seconds(self, kind: str) -> float:
        """Of one page, by a worker of `kind`; by any other when that is not known."""
        return max(self._known(kind, "seconds", UNKNOWN_PAGE_SECONDS), _MIN_PAGE_SECONDS)

    def load_seconds(self, kind: str) -> float:
        """Of loading the stage, by a worker of `kind`; by any other when that is not known."""
        return max(self._known(kind, "load_seconds", UNKNOWN_LOAD_SECONDS), MIN_LOAD_SECONDS)

    def memory(self, kind: str) -> float:
        """Bytes that the stage takes on a worker of `kind`; on any other when that is not known."""
        return self._known(kind, "memory", UNKNOWN_MEMORY_BYTES)

    def _known(self, kind: str, what: str, default: float) -> float:
        costs = self.costs
        found = costs.get(kind)
        value = getattr(found, what) if found is not None else None
        if value is None:
            value = next((v for cost in costs.values() if (v := getattr(cost, what)) is not None), default)
        return float(value)


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerView:
    """A worker that can be commanded."""

    name: str
    """Unique in the cluster."""
    holds: tuple[str, ...] = ()
    """Stages that it has loaded, or is to load."""
    busy: bool = False
    """Whether it has a page in hand."""
    loading: bool = False
    """It is told to hold something that it does not hold yet."""
    kind: str = "cpu"
    """Workers of one kind take about the same time for a page."""
    labels: frozenset[str] = frozenset()
    """What stages may need, see `Sharing`."""
    memory: int | None = None
    """Bytes for models; None = it holds one stage at a time."""
    serving: float = 0.0
    """Seconds since it was commanded to hold them."""
    refused: frozenset[str] = frozenset()
    """Stages that it could not load."""
    sleeps: bool = False
    """Whether it is a worker of the newest upstream that has emptied its queue, and goes on only on a command."""
    stuck: bool = False
    """Whether it has done nothing for so long, although it should, that it must be told again what to do."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """Everything that a rule may know."""

    stages: tuple[StageView, ...] = ()
    """All that are known."""
    workers: tuple[WorkerView, ...] = ()
    """All that can be commanded."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Move:
    """What a worker should do from now on."""

    worker: str
    """Its name."""
    stages: tuple[str, ...]
    """It should hold exactly these; none when it is empty."""
    why: tuple[Message, ...] = ()
    """For people."""

    @property
    def reason(self) -> str:
        """In English."""
        return "; ".join(map(str, self.why))


class Rule(Protocol):
    """What decides: in the service, in replays and in the simulator alike."""

    interval: float
    """Seconds between its looks at the cluster."""
    looks_on_events: bool
    """Whether it also looks as soon as something happens."""
    worker_stops_when_idle: bool
    """Whether a simulated worker that has become idle takes no new page before the next command, as upstream's do."""

    def decide(self, now: float, seen: Snapshot) -> Sequence[Move]:
        """The moves to make; `now` in seconds from an arbitrary start."""
