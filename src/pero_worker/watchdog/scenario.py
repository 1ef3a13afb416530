"""What a simulated cluster is, and what came of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from pero_worker.stage import Sharing


@dataclass(frozen=True, slots=True, kw_only=True)
class StageModel:
    """How a stage really is."""

    name: str
    """Unique in the scenario."""
    seconds: float
    """Mean of a page on a worker of speed 1."""
    load: float
    """Seconds to load it."""
    memory: int = 1
    """Bytes."""
    priority: int = 0
    """Stages with a higher one get workers first."""
    disabled: bool = False
    """It is not to be served."""
    sharing: Sharing = field(default_factory=Sharing)
    """Which workers may serve it, and for whom."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerModel:
    """How a worker really is."""

    name: str
    """Unique in the scenario."""
    kind: str = "cpu"
    """Of the machine."""
    speeds: Mapping[str, float] = field(default_factory=dict)
    """By stage, 1 where none is given."""
    memory: int | None = None
    """Bytes for models; None = one stage at a time."""
    joins: float = 0.0
    """Seconds from the start."""
    leaves: float = float("inf")
    """Seconds from the start."""
    labels: frozenset[str] = frozenset()
    """What stages may need, see `Sharing`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    """A cluster, and what comes to it."""

    stages: Sequence[StageModel]
    """All there are."""
    workers: Sequence[WorkerModel]
    """All that will ever come."""
    pages: Sequence[tuple[float, tuple[str, ...]]]
    """(seconds, stages), in the order of time."""
    spread: float = 0.3
    """Standard deviation of the time of a page, as a part of its mean."""
    failures: float = 0.0
    """Mean seconds between two deaths of a worker; 0 = none."""
    repair: float = 60.0
    """Seconds until a dead worker is back."""
    known: bool = False
    """Whether times, ways and loads were measured before the first page came."""
    until: float = 0.0
    """Seconds after which it ends at the latest; 0 = when all pages are out, which never comes when there is one that
    nobody may serve."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PageOut:
    """A page that came out; times in seconds of the cluster's clock."""

    came: float
    """When it came."""
    out: float
    """When it was done."""
    path: tuple[str, ...]
    """Its stages."""

    @property
    def latency(self) -> float:
        return self.out - self.came


@dataclass(frozen=True, slots=True, kw_only=True)
class SimulationResult:
    """What came of a scenario under a rule."""

    makespan: float
    """Seconds until the end."""
    pages: tuple[PageOut, ...]
    """In the order of their coming out."""
    loading: float
    """The part of all workers' time that went into loading."""
    moves: int
    """How often a worker was told something else."""
    work: float
    """Seconds that all pages took."""
    left: int
    """Pages that did not come out before the end."""
    max_wait: float
    """Seconds of a page in one queue, at most."""

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
