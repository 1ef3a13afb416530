"""Remembers which workers could not load which stage, so that they are not sent there again and again. Pure."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

FORGET_AFTER_SECONDS = 600.0
"""A worker may then try again: what it lacked may be there now."""
_MIN_REFUSALS = 2
"""If this many workers failed to load a stage and none holds it, quarantine it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Refusal:
    version: str
    reason: str
    at: float


class Refusals:
    """Times are in seconds, by the caller's clock."""

    def __init__(self) -> None:
        self._found: dict[str, dict[str, _Refusal]] = {}

    def note(self, worker: str, stage: str, version: str, reason: str, now: float) -> None:
        """The worker could not load this version of the stage."""
        known = self._found.setdefault(stage, {}).get(worker)
        if known is None or known.version != version or (reason and not known.reason):
            self._found[stage][worker] = _Refusal(version=version, reason=reason, at=now)

    def of_stage(self, stage: str, version: str, now: float) -> dict[str, str]:
        """The workers that cannot load it, with their reasons; another version is another stage."""
        found = {
            worker: refusal
            for worker, refusal in self._found.get(stage, {}).items()
            if refusal.version == version and now - refusal.at < FORGET_AFTER_SECONDS
        }
        self._found[stage] = found
        return {worker: refusal.reason for worker, refusal in found.items()}


def quarantine(refused: dict[str, str], workers: Collection[str], holders: Collection[str]) -> str:
    """Why no worker should be sent to a stage that `refused` could not load; '' = one may.

    `workers`: all that could be sent; `holders`: those that have loaded it.
    """
    present = [worker for worker in refused if worker in workers]
    if holders or not present or len(present) < min(_MIN_REFUSALS, len(workers)):
        return ""
    return refused[present[-1]] or "it cannot be loaded"
