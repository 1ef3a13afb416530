"""Removes old payloads that nobody else removed: their pages were lost on the way, or done twice.

Age is measured by the store's own clock, as the clock of the machine that cleans up may be wrong by days.
"""

from __future__ import annotations

import logging
import random
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from kazoo.client import KazooClient
from kazoo.exceptions import KazooException

from pero_worker.cluster.payloads.desk import PayloadDesk
from pero_worker.cluster.registry.payloads import claim_sweep, sweeps
from pero_worker.errors import PeroWorkerError, StoreAwayError
from pero_worker.stores.objects import ObjectStore, StoredObject
from pero_worker.wire.references import HOUR_FORM

logger = logging.getLogger(__name__)
_INTERVAL_SECONDS = 3600.0
_STEP = timedelta(hours=1)
"""The time span that a folder's name stands for."""
_CLOCKS_DIFFER = timedelta(days=1)
"""If a folder's name is further ahead of the store's clock, the clock that named it was wrong."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Swept:
    """What was removed, or would have been."""

    objects: int = 0
    """Number of payloads."""
    size: int = 0
    """Their total size, in bytes."""


def sweep(store: ObjectStore, keep: timedelta, *, remove: bool = True) -> Swept:
    """Removes payloads older than `keep`; without `remove`, only counts them. Raises `StoreAwayError` if the store is
    away or does not say how old files are."""
    objects = size = 0
    for folder, old in old_objects(store, keep):
        for one in old:
            if remove:
                store.remove(one.key)
            objects, size = objects + 1, size + one.size
        if remove:
            store.remove_folder(folder)
    return Swept(objects=objects, size=size)


def old_objects(store: ObjectStore, keep: timedelta) -> Iterator[tuple[str, list[StoredObject]]]:
    """Yields folders with the payloads in them that are older than `keep`."""
    now = store.now()
    if now is None:
        raise StoreAwayError(f"{store} does not say how old files are: have it remove those of {keep.days} days itself")
    for folder in store.folders():
        if _may_be_old(folder, now, keep):
            yield folder, [one for one in store.objects(folder) if one.modified and now - one.modified > keep]


def _may_be_old(folder: str, now: datetime, keep: timedelta) -> bool:
    """Returns whether the folder is worth listing."""
    try:
        begun = datetime.strptime(folder, HOUR_FORM).replace(tzinfo=UTC)
    except ValueError:
        return True  # no valid hour, such as 99
    return now - begun > keep - _STEP or begun - now > _CLOCKS_DIFFER


class Sweeper:
    """Removes old payloads every so often, in a thread of its own; of all workers of a cluster, one at a time."""

    def __init__(self, client: KazooClient, payloads: PayloadDesk, chance: Callable[[], float] = random.random) -> None:
        self._client = client
        self._payloads = payloads
        self._chance = chance
        self._stopped = threading.Event()

    def start(self, interval: float = _INTERVAL_SECONDS) -> None:
        threading.Thread(target=self._run, args=(interval,), name="sweeper", daemon=True).start()

    def stop(self) -> None:
        self._stopped.set()

    def _run(self, interval: float) -> None:
        # Random intervals, so that usually only one worker finds that nobody has swept since its last look.
        seen: int | None = None
        while not self._stopped.wait(interval * (0.5 + self._chance() / 2)):
            try:
                seen = self._look(seen)
            except (KazooException, PeroWorkerError, OSError) as error:
                logger.info("old payloads are removed later: %s", error)
            except Exception:  # the next attempt may succeed
                logger.exception("old payloads are removed later")

    def _look(self, seen: int | None) -> int | None:
        if not self._payloads.settings.stores:
            return None
        number = sweeps(self._client)
        if number != seen or not claim_sweep(self._client, number):
            return number
        for store in self._payloads.stores():
            gone = sweep(store, self._payloads.settings.keep)
            if gone.objects:
                logger.warning("removed %d payloads (%d bytes) of %s that were old", gone.objects, gone.size, store)
        return number + 1
