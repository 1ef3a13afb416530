"""Who can follow references, and who cannot: programs of others, and ours of earlier versions. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from pero_worker.cluster.registry.payloads import PayloadSettings
from pero_worker.cluster.registry.workers import WorkerState


def follows(worker: WorkerState) -> bool:
    """Whether it says that it does."""
    return worker.facts.get("payloads") is True


def who_cannot_follow(settings: PayloadSettings, workers: Iterable[WorkerState]) -> Iterator[tuple[str, str]]:
    """Workers that cannot and that hold a stage whose messages hold references: each with the stage."""
    if settings.url:
        for worker in workers:
            if not worker.dead and not follows(worker):
                yield from ((worker.name, stage) for stage in worker.stages if stage not in settings.inline)
