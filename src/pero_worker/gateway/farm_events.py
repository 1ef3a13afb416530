"""Records what happens to stages and workers in the event log, which administrators can follow."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from pero_worker.cluster.state import Look
from pero_worker.gateway.core import Gateway
from pero_worker.gateway.store.dispatch import is_first
from pero_worker.gateway.store.events import append_event

POLL_SECONDS = 5.0
_NOBODY = ""
"""The owner and the job of these events: there is none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Farm:
    """The state of the farm whose changes are worth an event."""

    stages: Mapping[str, Mapping[str, object]] = field(default_factory=dict)
    """Stages by name: version, whether the stage is disabled, and what is wrong with it."""
    workers: Mapping[str, Mapping[str, object]] = field(default_factory=dict)
    """Workers by name: whether the worker is present, and the stages it should hold; not whether it is busy."""


def farm_of(look: Look) -> Farm:
    return Farm(
        stages={
            stage.name: {"version": stage.version, "disabled": stage.disabled, "trouble": stage.trouble}
            for stage in look.stages
        },
        workers={
            worker.name: {"there": not worker.dead, "stages": [] if worker.dead else list(worker.stages)}
            for worker in look.workers
        },
    )


def changes(before: Farm, after: Farm) -> Sequence[tuple[str, dict[str, Any]]]:
    """Pure: returns the kinds of the events between two looks, and their data."""
    found: list[tuple[str, dict[str, Any]]] = []
    for kind, old, new in (("stage", before.stages, after.stages), ("worker", before.workers, after.workers)):
        for name in sorted({*old, *new}):
            if old.get(name) == new.get(name):
                continue
            state = "removed" if name not in new else "added" if name not in old else "changed"
            found.append((f"farm.{kind}", {kind: name, "state": state, **new.get(name, {})}))
    return found


class FarmWatch:
    """Watches the farm. Of several gateways on a database, only one records the events."""

    def __init__(self, gateway: Gateway, instance: str) -> None:
        self._gateway = gateway
        self._instance = instance
        self._known: Farm | None = None

    def look(self) -> bool:
        state, _, fault = self._gateway.watching.state()
        if state is None or fault or state.look.away:
            return False  # What cannot be seen is not gone.
        now, known = farm_of(state.look), self._known
        self._known = now
        news = changes(known, now) if known is not None else ()
        if news:
            with self._gateway.database.write() as connection:
                if is_first(connection, self._instance):
                    for kind, data in news:
                        append_event(connection, kind, owner=_NOBODY, job=_NOBODY, data=data, now=self._gateway.now())
        return False
