"""Remembers which workers could not load which stages, so that they are not sent there again and again. Pure."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass

MAX_FORGET_AFTER_SECONDS = 600.0
"""A worker that has other work is sent to such a stage less and less often, but at least once in this time."""
_MIN_REFUSALS = 2
"""A stage that this many workers failed to load, and none holds, is quarantined."""


@dataclass(slots=True, kw_only=True)
class _Refusal:
    version: str
    reason: str
    at: float
    tries: int = 1
    forgotten: bool = False


class Refusals:
    """The failures to load stages, by stage and worker. Times are in seconds, by the caller's clock."""

    def __init__(self) -> None:
        self._found: dict[str, dict[str, _Refusal]] = {}
        self._good: dict[str, str] = {}

    def note(self, worker: str, stage: str, version: str, reason: str, now: float) -> None:
        """Notes that the worker could not load this version of the stage."""
        known = self._found.setdefault(stage, {}).get(worker)
        if known is None or known.version != version:
            self._found[stage][worker] = _Refusal(version=version, reason=reason, at=now)
            return
        known.reason = reason
        if known.forgotten:
            known.at, known.tries, known.forgotten = now, known.tries + 1, False

    def note_loaded(self, stage: str, version: str, since: float = math.inf) -> None:
        """Notes that some worker has loaded it; failures of others at or after `since` take precedence."""
        found = self._found.get(stage, {}).values()
        if not any(refusal.version == version and refusal.at >= since for refusal in found):
            self._good[stage] = version

    def of_stage(
        self, stage: str, version: str, now: float, patience: Mapping[str, float], busy: Collection[str] = ()
    ) -> dict[str, str]:
        """Returns the workers that should not be sent there now, with the reasons; another version is another stage.

        `patience`: seconds after which each worker that is present may try again; those that are `busy` elsewhere wait
        twice as long each time.
        """
        found = {
            worker: refusal
            for worker, refusal in self._found.get(stage, {}).items()
            if refusal.version == version and worker in patience
        }
        self._found[stage] = found
        refused: dict[str, str] = {}
        for worker, refusal in found.items():
            wait = patience[worker]
            if worker in busy:
                wait = min(wait * 2.0 ** min(refusal.tries, 16), MAX_FORGET_AFTER_SECONDS)
            refusal.forgotten = refusal.forgotten or now - refusal.at >= wait
            if not refusal.forgotten:
                refused[worker] = refusal.reason
        return refused

    def trouble(self, stage: str, version: str) -> str:
        """Returns why nobody has loaded this version yet; '' if somebody has, or nobody has tried."""
        if self._good.get(stage) == version:
            return ""
        found = [refusal for refusal in self._found.get(stage, {}).values() if refusal.version == version]
        newest = max(found, key=lambda refusal: refusal.at, default=None)
        return (newest.reason or _NO_REASON) if newest else ""


_NO_REASON = "it cannot be loaded"


def quarantine(refused: dict[str, str], workers: Collection[str], holders: Collection[str]) -> str:
    """Returns why no worker should be sent to a stage that `refused` could not load; '' if one may be sent.

    `workers`: all workers that could be sent; `holders`: those that have loaded it.
    """
    present = [worker for worker in refused if worker in workers]
    if holders or not present or len(present) < min(_MIN_REFUSALS, len(workers)):
        return ""
    return refused[present[-1]] or _NO_REASON
