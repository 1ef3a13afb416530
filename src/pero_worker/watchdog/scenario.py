"""What a simulated cluster is, who decides in it, and what came of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol

from pero_worker.watchdog.snapshot import Move, Snapshot


@dataclass(frozen=True, slots=True)
class StageModel:
    """How a stage really is. `seconds`: mean of a page on a worker of speed 1; `load`: seconds; `memory`: bytes; the
    rest as in `StageView`."""

    name: str
    seconds: float
    load: float
    memory: int = 1
    priority: int = 0
    owner: str = ""
    share: float = 1.0
    needs: str = ""
    disabled: bool = False


@dataclass(frozen=True, slots=True)
class WorkerModel:
    """`speeds`: relative to 1, by stage; `memory` None = one stage at a time; `joins`, `leaves`: seconds."""

    name: str
    kind: str = "cpu"
    speeds: Mapping[str, float] = field(default_factory=dict)
    memory: int | None = None
    joins: float = 0.0
    leaves: float = float("inf")
    labels: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Scenario:
    """`pages`: (seconds, stages) in the order of time; `spread`: standard deviation of the time of a page, as a part of
    its mean; `failures`: mean seconds between two deaths of a worker, 0 = none, `repair`: seconds until it is back;
    `known`: whether times, ways and loads were measured before the first page came; `until`: seconds after which it
    ends at the latest, 0 = when all pages are out, which never comes when there is one that nobody may serve."""

    stages: Sequence[StageModel]
    workers: Sequence[WorkerModel]
    pages: Sequence[tuple[float, tuple[str, ...]]]
    spread: float = 0.3
    failures: float = 0.0
    repair: float = 60.0
    known: bool = False
    until: float = 0.0


class Rule(Protocol):
    """What decides. `interval`: seconds between its looks; `reacts`: it also looks as soon as something happens;
    `leaves`: an idle worker takes no new page before it is told again, as upstream's."""

    interval: float
    reacts: bool
    leaves: bool

    def decide(self, now: float, seen: Snapshot) -> Sequence[Move]: ...


@dataclass(frozen=True, slots=True)
class PageOut:
    """A page that came out, in seconds of the cluster's clock; `path`: its stages."""

    came: float
    out: float
    path: tuple[str, ...]

    @property
    def latency(self) -> float:
        return self.out - self.came


@dataclass(frozen=True, slots=True)
class SimulationResult:
    """`pages` in the order of their coming out; `left`: those that did not before the end, `makespan`; `loading`: part
    of all workers' time; `work`: seconds that all pages took; `max_wait`: seconds in one queue, at most."""

    makespan: float
    pages: tuple[PageOut, ...]
    loading: float
    moves: int
    work: float
    left: int
    max_wait: float

    @property
    def mean(self) -> float:
        """Latency in seconds; infinite when no page came out."""
        return sum(page.latency for page in self.pages) / len(self.pages) if self.pages else float("inf")

    def percentile(self, part: float) -> float:
        """Latency in seconds that `part` of the pages do not exceed."""
        ordered = sorted(page.latency for page in self.pages)
        return ordered[min(int(part * len(ordered)), len(ordered) - 1)] if ordered else float("inf")

    def after(self, start: float) -> SimulationResult:
        """The same without the pages that came before `start`."""
        return replace(self, pages=tuple(page for page in self.pages if page.came >= start))

    def unfinished(self, when: float) -> int:
        """Pages that had come, and were not out, at `when`; of those that came out in the end."""
        return sum(page.came <= when < page.out for page in self.pages)
