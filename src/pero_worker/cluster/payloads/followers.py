"""Which workers can follow references and which cannot: those of other programs and of our own earlier versions.
Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from pero_worker.cluster.registry.payloads import PayloadSettings
from pero_worker.cluster.registry.workers import WorkerState


def follows(worker: WorkerState) -> bool:
    """Returns whether the worker says that it follows references."""
    return worker.facts.get("payloads") is True


def who_cannot_follow(settings: PayloadSettings, workers: Iterable[WorkerState]) -> Iterator[tuple[str, str]]:
    """Yields workers that cannot follow references but hold a stage whose messages contain them, each with the
    stage."""
    if settings.url:
        for worker in workers:
            if not worker.dead and not follows(worker):
                yield from ((worker.name, stage) for stage in worker.stages if stage not in settings.inline)
