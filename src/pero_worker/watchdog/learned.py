"""What a cluster learns about its stages while it works, as moving averages."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import replace

from pero_worker.stage import Cost
from pero_worker.watchdog.scenario import Scenario

_OLD_SHARE = 0.9
"""The weight of the old average when a new value comes in."""


class Learned:
    """How long pages and loads take, by stage and kind of worker, and where pages go next."""

    def __init__(self) -> None:
        self._costs: dict[str, dict[str, Cost]] = defaultdict(dict)
        self._onward: dict[str, dict[str, float]] = defaultdict(dict)

    @classmethod
    def beforehand(cls, scenario: Scenario) -> Learned:
        """Returns one that knows the true figures of the scenario from the start."""
        known = cls()
        for stage in scenario.stages:
            for worker in scenario.workers:
                seconds = stage.seconds / worker.speeds.get(stage.name, 1.0)
                known._costs[stage.name][worker.kind] = Cost(
                    seconds=seconds, load_seconds=stage.load, memory=stage.memory
                )
        ways: dict[str, dict[str, int]] = defaultdict(lambda: defaultdict(int))
        for _, path in scenario.pages:
            for name, after in zip(path, (*path[1:], ""), strict=True):
                ways[name][after] += 1
        for name, counts in ways.items():
            total = sum(counts.values())
            known._onward[name] = {after: count / total for after, count in counts.items() if after}
        return known

    def page(self, stage: str, kind: str, seconds: float, after: str) -> None:
        """Notes that a page of `stage` took `seconds` and goes on to `after` ('' when it is done)."""
        old = self._costs[stage].get(kind, Cost())
        self._costs[stage][kind] = replace(old, seconds=_average(old.seconds, seconds))
        onward = self._onward[stage]
        for name in {*onward, after} - {""}:
            onward[name] = _average(onward.get(name), float(name == after))

    def load(self, stage: str, kind: str, seconds: float, memory: int) -> None:
        old = self._costs[stage].get(kind, Cost())
        self._costs[stage][kind] = replace(old, load_seconds=_average(old.load_seconds, seconds), memory=memory)

    def seconds(self, stage: str, kind: str) -> float | None:
        cost = self._costs[stage].get(kind)
        return cost.seconds if cost else None

    def costs(self, stage: str) -> Mapping[str, Cost]:
        return dict(self._costs[stage])

    @property
    def onward(self) -> Mapping[str, Mapping[str, float]]:
        return self._onward


def _average(old: float | None, new: float) -> float:
    return new if old is None else _OLD_SHARE * old + (1 - _OLD_SHARE) * new
