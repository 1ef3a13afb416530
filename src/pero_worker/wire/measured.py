"""What workers have measured about a stage, for the watchdog: the node `measured`, ours, as JSON.

{"kinds": {"cpu": {"seconds": 1.5, "load_seconds": 4.0, "memory": 300000000}}, "onward": {"ocr": 1.0}}
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from pero_worker.stage import Cost
from pero_worker.wire.tree import MAX_SECONDS

LARGEST = 100_000
"""Maximum size of the node in bytes, which also bounds the names in it."""
_MAX_MEMORY_BYTES = 1e15


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """What is known about the pages of a stage."""

    kinds: Mapping[str, Cost] = field(default_factory=dict)
    """Costs by kind of worker."""
    onward: Mapping[str, float] = field(default_factory=dict)
    """The share of the pages that went to each next queue."""

    def with_pages(self, kind: str, seconds: float, onward: Mapping[str, int]) -> Measured:
        """Returns the record after more pages, given their mean time and how many went where."""
        cost = self.kinds.get(kind, Cost())
        total = sum(onward.values())
        shares = {name: count / total for name, count in onward.items()} if total else dict(self.onward)
        if self.onward:
            shares = {
                name: _mean(self.onward.get(name, 0.0), shares.get(name, 0.0)) for name in {*self.onward, *shares}
            }
        kinds = {**self.kinds, kind: replace(cost, seconds=_mean(cost.seconds, seconds))}
        # What almost never happens is forgotten.
        return Measured(kinds=kinds, onward={name: share for name, share in sorted(shares.items()) if share > 0.01})

    def with_load(self, kind: str, seconds: float, memory: int) -> Measured:
        """Returns the record after the stage was loaded once more."""
        cost = self.kinds.get(kind, Cost())
        known = memory if cost.memory is None else (cost.memory + memory) // 2
        loaded = replace(cost, load_seconds=_mean(cost.load_seconds, seconds), memory=known)
        return Measured(kinds={**self.kinds, kind: loaded}, onward=self.onward)


def encode_measured(value: Measured) -> bytes:
    kinds = {kind: asdict(cost) for kind, cost in value.kinds.items()}
    return json.dumps({"kinds": kinds, "onward": dict(value.onward)}, sort_keys=True).encode()


def decode_measured(value: bytes) -> Measured:
    """Treats whatever cannot be read as not measured."""
    if not value or len(value) > LARGEST:
        return Measured()
    try:
        found = json.loads(value)
    except (ValueError, RecursionError):
        return Measured()
    return Measured(
        kinds={kind: _cost(cost) for kind, cost in _items(found, "kinds")},
        onward={name: number for name, share in _items(found, "onward") if (number := _number(share, 1.0)) is not None},
    )


def _items(found: Any, name: str) -> list[tuple[str, Any]]:
    part = found.get(name) if isinstance(found, dict) else None
    return list(part.items()) if isinstance(part, dict) else []


def _cost(found: Any) -> Cost:
    values = found if isinstance(found, dict) else {}
    memory = _number(values.get("memory"), _MAX_MEMORY_BYTES)
    return Cost(
        seconds=_number(values.get("seconds"), MAX_SECONDS),
        load_seconds=_number(values.get("load_seconds"), MAX_SECONDS),
        memory=None if memory is None else int(memory),
    )


def _number(value: Any, most: float) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(value) if 0 <= value <= most else None


def _mean(old: float | None, new: float) -> float:
    return new if old is None else (old + new) / 2
