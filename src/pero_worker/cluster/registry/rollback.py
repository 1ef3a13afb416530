"""Earlier versions of a stage, and the way back to one."""

from __future__ import annotations

from datetime import datetime

from kazoo.client import KazooClient

from pero_worker.cluster.registry.changes import StageChange, save_stage
from pero_worker.cluster.registry.stages import read_history, read_version
from pero_worker.errors import UsageError
from pero_worker.ports import Queues
from pero_worker.wire.history import StageVersion


def versions_of(client: KazooClient, name: str) -> tuple[StageVersion, ...]:
    """Returns all versions, the oldest first and the present one last. Raises `StageError` if there is no such
    stage."""
    present = read_version(client, name)
    return (*read_history(client, name), *([present] if present.config else []))


def roll_back(
    client: KazooClient, queues: Queues, name: str, now: datetime, *, to: str = ""
) -> tuple[StageVersion, StageVersion]:
    """Makes an earlier version the present one: `to`, or the last one that was not itself rolled back. Returns the
    version that was left, and the one now in place.

    Raises `UsageError` if there is no such version, or if its archive was overwritten.
    """
    present = read_version(client, name)
    history = read_history(client, name)
    if to:
        candidates = [one for one in history if one.version == to]
        known = ", ".join(one.version for one in history) or "none"
        missing = f"stage {name} had no version {to!r}; before the present one there were: {known}"
    else:
        candidates = [one for one in history if not one.withdrawn]
        missing = f"there is no version of stage {name} to go back to: see pero-worker stage history {name}"
    if not candidates:
        raise UsageError(missing)
    target = candidates[-1]
    later = (*history[history.index(target) + 1 :], present)
    for one in later:
        if target.archive and one.archive == target.archive and one.archive_digest != target.archive_digest:
            raise UsageError(
                f"the archive of version {target.version}, {target.archive}, was overwritten by that of version "
                f"{one.version}: upload it again with pero-worker stage upload {name}"
            )
    change = StageChange(
        config=target.config, archive=target.archive, archive_digest=target.archive_digest, version=target.version
    )
    save_stage(client, queues, name, change, now, withdraws=True)
    return present, target
