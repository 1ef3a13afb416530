"""The cluster as the policy sees it, and what the policy answers: plain records.

The service reads a snapshot off real servers, the simulator off its own, a trace off a file.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from pero_worker.stage import Cost

UNKNOWN_SECONDS = 1.0
"""Assumed of a page of a stage that nobody has measured."""
UNKNOWN_LOAD = 5.0
"""Assumed of loading a stage that nobody has loaded yet, in seconds."""
UNKNOWN_MEMORY = 2_000_000_000
"""Assumed of a stage whose size is not measured, in bytes."""
MIN_LOAD = 0.1
"""Seconds that a move costs at least, however small the model is: the worker is told, and answers."""


@dataclass(frozen=True, slots=True)
class StageView:
    """`waiting` messages are in the stage's queue and in nobody's hand.

    `costs` by kind of worker; `arrivals`: pages a second that come from outside, not from a stage before; `onward`: the
    share of its pages that go on to each other stage; `unserved`: seconds that pages have waited while nobody served
    the stage; `needs`: the label a worker must have ('' = any); `owner` and `share`: whose it is, and the owner's part
    of the cluster beside other owners' parts; `quarantine`: why no worker may be sent ('' = they may).
    """

    name: str
    waiting: int = 0
    costs: Mapping[str, Cost] = field(default_factory=dict)
    arrivals: float = 0.0
    onward: Mapping[str, float] = field(default_factory=dict)
    unserved: float = 0.0
    priority: int = 0
    disabled: bool = False
    quarantine: str = ""
    needs: str = ""
    owner: str = ""
    share: float = 1.0

    def seconds(self, kind: str) -> float:
        """Of one page, by a worker of `kind`; by any other when that is not known."""
        return max(self._known(kind, "seconds", UNKNOWN_SECONDS), 1e-4)

    def load_seconds(self, kind: str) -> float:
        return max(self._known(kind, "load_seconds", UNKNOWN_LOAD), MIN_LOAD)

    def memory(self, kind: str) -> float:
        return self._known(kind, "memory", UNKNOWN_MEMORY)

    def _known(self, kind: str, what: str, default: float) -> float:
        costs = self.costs
        found = costs.get(kind)
        value = getattr(found, what) if found is not None else None
        if value is None:
            value = next((v for cost in costs.values() if (v := getattr(cost, what)) is not None), default)
        return float(value)


@dataclass(frozen=True, slots=True)
class WorkerView:
    """A worker that can be told something.

    `holds`: stages that it has loaded or is told to load; `memory`: bytes for models, None = it holds one stage at a
    time; `serving`: seconds since it was told what it holds; `refused`: stages that it could not load; `sleeps`: it is
    one of the newest upstream's that has ended its turn with its queue, and begins another only when it is told.
    """

    name: str
    holds: tuple[str, ...] = ()
    busy: bool = False
    loading: bool = False
    kind: str = "cpu"
    labels: frozenset[str] = frozenset()
    memory: int | None = None
    serving: float = 0.0
    refused: frozenset[str] = frozenset()
    sleeps: bool = False


@dataclass(frozen=True, slots=True)
class Snapshot:
    stages: tuple[StageView, ...] = ()
    workers: tuple[WorkerView, ...] = ()


@dataclass(frozen=True, slots=True)
class Move:
    """`worker` should hold exactly `stages`, none when it is empty."""

    worker: str
    stages: tuple[str, ...]
    reason: str
