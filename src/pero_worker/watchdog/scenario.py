"""A simulated cluster, and the result of a simulation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from pero_worker.stage import Sharing


@dataclass(frozen=True, slots=True, kw_only=True)
class StageModel:
    """The true figures of a stage."""

    name: str
    """Unique in the scenario."""
    seconds: float
    """Mean seconds per page on a worker of speed 1."""
    load: float
    """Seconds to load it."""
    memory: int = 1
    """Bytes that it takes while it is loaded."""
    priority: int = 0
    """Stages with a higher priority get workers first."""
    disabled: bool = False
    """Whether it is not to be served."""
    sharing: Sharing = field(default_factory=Sharing)
    """Which workers may serve it, and for whom."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerModel:
    """The true figures of a worker."""

    name: str
    """Unique in the scenario."""
    kind: str = "cpu"
    """Kind of machine."""
    speeds: Mapping[str, float] = field(default_factory=dict)
    """Its speed for each stage; 1 where none is given."""
    memory: int | None = None
    """Bytes for models; None: it holds one stage at a time."""
    joins: float = 0.0
    """When it joins, in seconds from the start."""
    leaves: float = float("inf")
    """When it leaves, in seconds from the start."""
    labels: frozenset[str] = frozenset()
    """Labels that stages may need, see `Sharing`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    """A cluster, and the pages that come to it."""

    stages: Sequence[StageModel]
    """All stages there are."""
    workers: Sequence[WorkerModel]
    """All workers that will ever join."""
    pages: Sequence[tuple[float, tuple[str, ...]]]
    """(arrival in seconds, stages) of each page, in order of time."""
    spread: float = 0.3
    """Standard deviation of the time of a page, as a fraction of its mean."""
    failures: float = 0.0
    """Mean seconds until a worker dies; 0: none do."""
    repair: float = 60.0
    """Seconds until a dead worker is back."""
    known: bool = False
    """Whether times, paths and loads were measured before the first page came."""
    until: float = 0.0
    """Seconds after which it ends at the latest; 0: when all pages are out, which never happens if there is one that
    nobody may serve."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PageOut:
    """A page that came out; times are in seconds of the cluster's clock."""

    came: float
    """When it arrived."""
    out: float
    """When it was done."""
    path: tuple[str, ...]
    """Its stages, in order."""

    @property
    def latency(self) -> float:
        return self.out - self.came


@dataclass(frozen=True, slots=True, kw_only=True)
class SimulationResult:
    """The result of a scenario under a rule."""

    makespan: float
    """Seconds until the end."""
    pages: tuple[PageOut, ...]
    """Pages that came out, in that order."""
    loading: float
    """The fraction of all workers' time that went into loading."""
    moves: int
    """How often a worker was given other stages to hold."""
    work: float
    """Seconds of work that all pages took."""
    left: int
    """Pages that did not come out before the end."""
    max_wait: float
    """The longest that a page waited in one queue, in seconds."""

    @property
    def mean(self) -> float:
        """Mean latency in seconds; infinite when no page came out."""
        return sum(page.latency for page in self.pages) / len(self.pages) if self.pages else float("inf")

    def percentile(self, part: float) -> float:
        """Returns the latency in seconds that a fraction `part` of the pages does not exceed."""
        ordered = sorted(page.latency for page in self.pages)
        return ordered[min(int(part * len(ordered)), len(ordered) - 1)] if ordered else float("inf")

    def after(self, start: float) -> SimulationResult:
        """Returns the same result without the pages that arrived before `start`."""
        return replace(self, pages=tuple(page for page in self.pages if page.came >= start))

    def unfinished(self, when: float) -> int:
        """Returns how many pages had arrived but were not out at `when`, counting those that came out in the end."""
        return sum(page.came <= when < page.out for page in self.pages)
