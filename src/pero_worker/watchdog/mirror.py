"""A copy of what ZooKeeper holds about stages and workers, kept current by watches: reading it causes no traffic."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import Any

from kazoo.client import KazooClient
from kazoo.recipe.cache import TreeCache, TreeEvent

from pero_worker.cluster.registry import stages, workers
from pero_worker.cluster.registry.payloads import PayloadSettings, follow_settings
from pero_worker.cluster.registry.stages import StageRecord
from pero_worker.cluster.registry.workers import WorkerState
from pero_worker.errors import TransientError
from pero_worker.wire.tree import TREE, is_name


class Mirror:
    """Calls `changed`, from one of kazoo's threads, whenever something changes."""

    def __init__(self, client: KazooClient, changed: Callable[[], None]) -> None:
        self._changed = changed
        self._closed = False
        self.payloads = PayloadSettings()
        """How payloads travel."""
        self._ready = {folder: threading.Event() for folder in (TREE.stages, TREE.workers)}
        self._caches = {folder: TreeCache(client, folder) for folder in self._ready}
        for folder, cache in self._caches.items():
            client.ensure_path(folder)
            cache.listen(lambda event, folder=folder: self._on_event(folder, event))
            cache.start()
        follow_settings(client, self._payloads_told)

    def wait(self, timeout: float) -> None:
        """Waits until everything has been read. Raises `TransientError` if that takes longer than `timeout` seconds."""
        if not all(ready.wait(timeout) for ready in self._ready.values()):
            raise TransientError(f"ZooKeeper's tree could not be read in {timeout:.0f} s")

    def close(self) -> None:
        self._closed = True
        for cache in self._caches.values():
            cache.close()

    def stages(self) -> list[StageRecord]:
        """Returns the stages that have a configuration."""
        found = (
            stages.record_from(name, self._leaves(TREE.stage(name), stages.LEAVES)) for name in self._names(TREE.stages)
        )
        return [record for record in found if record.config]

    def workers(self) -> list[tuple[WorkerState, int]]:
        """Returns each worker with the last transaction that changed its `queue` node; it grows even when the node is
        recreated."""
        result: list[tuple[WorkerState, int]] = []
        for name in self._names(TREE.workers):
            found = self._leaves(TREE.worker(name), workers.LEAVES)
            version = found["queue"][1].mzxid if "queue" in found else -1
            result.append((workers.state_from(name, found), version))
        return result

    def no_names(self) -> list[str]:
        """Returns the paths of nodes among stages and workers that cannot be either, by their names."""
        return [f"{folder}/{name}" for folder in self._caches for name in self._children(folder) if not is_name(name)]

    def _names(self, folder: str) -> list[str]:
        return sorted(filter(is_name, self._children(folder)))

    def _children(self, folder: str) -> list[str]:
        return list(self._caches[folder].get_children(folder, default=()) or ())

    def _leaves(self, folder: str, leaves: Sequence[str]) -> dict[str, tuple[bytes, Any]]:
        cache = self._caches[folder.rpartition("/")[0]]
        found: dict[str, tuple[bytes, Any]] = {}
        for leaf in leaves:
            node = cache.get_data(f"{folder}/{leaf}")
            if node is not None:
                found[leaf] = (node.data, node.stat)
        return found

    def _payloads_told(self, settings: PayloadSettings) -> bool:
        self.payloads = settings
        if not self._closed:
            self._changed()
        return not self._closed

    def _on_event(self, folder: str, event: Any) -> None:
        if event.event_type == TreeEvent.INITIALIZED:
            self._ready[folder].set()
        self._changed()
