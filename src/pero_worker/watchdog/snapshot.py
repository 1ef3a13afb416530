"""The cluster as a rule sees it, and what a rule answers: plain records.

The service takes a snapshot from real servers, the simulator from its own state, a trace from a file.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from pero_worker.messages import Message
from pero_worker.stage import Cost, Sharing

UNKNOWN_PAGE_SECONDS = 1.0
"""Time assumed for a page of a stage that nobody has measured."""
UNKNOWN_LOAD_SECONDS = 5.0
"""Time assumed for loading a stage that nobody has loaded yet."""
UNKNOWN_MEMORY_BYTES = 2_000_000_000
"""Memory assumed for a stage whose size has not been measured."""
MIN_LOAD_SECONDS = 0.1
"""The least that a move costs, however small the model is: a command and its answer take time."""
_MIN_PAGE_SECONDS = 1e-4


@dataclass(frozen=True, slots=True, kw_only=True)
class StageView:
    """The present state of a stage."""

    name: str
    """Unique in the cluster."""
    waiting: int = 0
    """Messages in the stage's queue that no worker has in hand."""
    costs: Mapping[str, Cost] = field(default_factory=dict)
    """What the stage costs, by kind of worker."""
    arrivals: float = 0.0
    """Pages per second that come from outside, not from earlier stages."""
    onward: Mapping[str, float] = field(default_factory=dict)
    """The share of its pages that goes on to each other stage."""
    unserved: float = 0.0
    """Seconds for which pages have waited while nobody served the stage."""
    priority: int = 0
    """Stages with a higher priority get workers first."""
    disabled: bool = False
    """Whether it is not to be served."""
    quarantine: str = ""
    """Why no worker may be sent; '' if workers may."""
    trouble: str = ""
    """Why nobody has loaded its present version yet, though some tried; an older one may be served meanwhile."""
    sharing: Sharing = field(default_factory=Sharing)
    """Which workers may serve it, and for whom."""

    def seconds(self, kind: str) -> float:
        """Returns the seconds that one page takes on a worker of `kind`; those on another kind if that is not known."""
        return max(self._known(kind, "seconds", UNKNOWN_PAGE_SECONDS), _MIN_PAGE_SECONDS)

    def load_seconds(self, kind: str) -> float:
        """Returns the seconds that loading takes on a worker of `kind`; those on another kind if that is not known."""
        return max(self._known(kind, "load_seconds", UNKNOWN_LOAD_SECONDS), MIN_LOAD_SECONDS)

    def memory(self, kind: str) -> float:
        """Returns the bytes that the stage takes on a worker of `kind`; those on another kind if that is not known."""
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
    """Whether it has been commanded to hold something that it has not loaded yet."""
    kind: str = "cpu"
    """Kind of machine; workers of one kind take about the same time for a page."""
    labels: frozenset[str] = frozenset()
    """Labels that stages may need, see `Sharing`."""
    memory: int | None = None
    """Bytes for models; None: it holds one stage at a time."""
    serving: float = 0.0
    """Seconds since it was commanded to hold its present stages."""
    refused: frozenset[str] = frozenset()
    """Stages that it could not load."""
    sleeps: bool = False
    """Whether it is a worker of the newest upstream that has emptied its queue and goes on only when commanded."""
    stuck: bool = False
    """Whether it has done nothing for so long, although it should, that it must be commanded again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """Everything a rule may know."""

    stages: tuple[StageView, ...] = ()
    """All known stages."""
    workers: tuple[WorkerView, ...] = ()
    """All workers that can be commanded."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Move:
    """What a worker should do from now on."""

    worker: str
    """Name of the worker."""
    stages: tuple[str, ...]
    """Exactly the stages it should hold; none when empty."""
    why: tuple[Message, ...] = ()
    """The reasons, for people."""

    @property
    def reason(self) -> str:
        """The reasons in English."""
        return "; ".join(map(str, self.why))


class Rule(Protocol):
    """Makes the decisions: in the service, in replays and in the simulator alike."""

    interval: float
    """Seconds between its looks at the cluster."""
    looks_on_events: bool
    """Whether it also looks as soon as something happens."""
    worker_stops_when_idle: bool
    """Whether a simulated worker that has become idle takes no new page before the next command, as upstream's do."""

    def decide(self, now: float, seen: Snapshot) -> Sequence[Move]:
        """Returns the moves to make; `now` is in seconds from an arbitrary start."""
