"""ZooKeeper as the coordinator of one worker: its registration and its orders.

Assignments and stages come through watches and are kept, so that a worker goes on while ZooKeeper is away. What the
worker reports is in `writebehind.py`.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from kazoo.client import KazooClient, KazooState
from kazoo.exceptions import NoNodeError
from kazoo.recipe.watchers import DataWatch

from pero_worker.coordinators.cancelled import follow_cancelled
from pero_worker.coordinators.presence import Presence
from pero_worker.coordinators.session import CONNECTION_ERRORS, wait_for
from pero_worker.coordinators.writebehind import WriteBehind
from pero_worker.errors import StageError, TransientError, UsageError
from pero_worker.ports import Clock
from pero_worker.stage import Stage
from pero_worker.wire import tree as wire
from pero_worker.wire.tree import TREE
from pero_worker.work import Assignment, WorkerStatus

logger = logging.getLogger(__name__)


class ZooKeeperCoordinator:
    """`ports.Assignments` of one worker, which is registered at once and gets no orders before `watch`.

    `reports` are its `ports.Reports` and `ports.Suspects`.
    """

    def __init__(
        self,
        client: KazooClient,
        worker: str,
        clock: Clock,
        *,
        facts: Mapping[str, Any] | None = None,
        gone: Callable[[Mapping[str, Any]], bool] = lambda _facts: False,
        patience: float = 0.0,
    ) -> None:
        """Registers the worker. Raises `UsageError` if a worker of this name is connected and still is after `patience`
        seconds.

        `gone` says, given another worker's facts, whether its process has ended though ZooKeeper does not know it yet.
        """
        self._client = client
        self._worker = wire.check_name(worker, "worker")
        self._changed: Callable[[], None] = lambda: None
        self._lock = threading.Lock()
        self._assignment = Assignment()
        self._stages: dict[str, Stage] = {}
        self._watched: set[str] = set()
        self._superseded = False
        told = {"pages": 0, "failures": 0, **(facts or {})}
        self._missed: tuple[bytes | None, Any] | None = None
        presence = Presence(client, worker)
        _register(client, self._worker, presence, clock, told, gone=gone, patience=patience)
        self.reports = WriteBehind(
            client, self._worker, clock, facts=told, presence=presence, superseded=self._give_up_name
        )
        client.add_listener(self._on_state)

    def watch(self, changed: Callable[[], None] = lambda: None) -> None:
        """Starts to follow the worker's orders; `changed` is called from kazoo's thread when there are new ones."""
        DataWatch(self._client, self._path("queue"), self._on_queue)
        DataWatch(self._client, self._path("enabled"), self._on_enabled)
        follow_cancelled(self._client, self._on_cancelled)
        self._changed = changed

    # -- ports.Assignments -------------------------------------------------------------------------------------

    def stage(self, name: str) -> Stage:
        """Returns the stage. Raises `TransientError` if it is not known yet and ZooKeeper is away."""
        with self._lock:
            known = self._stages.get(name)
        if known is not None:
            return known
        if not self._client.connected:
            # Starting a watch would block until ZooKeeper is back.
            raise TransientError("the connection to ZooKeeper is lost")
        try:
            self._watch_version(name)
            stage = read_stage(self._client, name)
        except CONNECTION_ERRORS as error:
            raise TransientError(f"ZooKeeper does not answer ({type(error).__name__})") from error
        with self._lock:
            self._stages[name] = stage
        return stage

    def assignment(self, worker: str) -> Assignment:
        with self._lock:
            return self._assignment

    # -- the inside --------------------------------------------------------------------------------------------

    def close(self) -> None:
        """Writes what has not been written yet, if ZooKeeper answers; the caller ends the session."""
        self.reports.close()

    def _path(self, leaf: str) -> str:
        return TREE.worker(self._worker, leaf)

    def _give_up_name(self, error: UsageError) -> None:
        """Stops taking orders: while this worker was cut off or stood still, another has started under its name."""
        logger.error("this worker ends: %s", error)
        with self._lock:
            self._superseded = True
            self._assignment = Assignment(enabled=False)
        self._changed()

    def _on_state(self, state: str) -> None:
        if state == KazooState.CONNECTED:
            self.reports.catch_up()
            if missed := self._missed:
                # Not from this thread, which must not wait for answers.
                self._client.handler.spawn(self._on_queue, *missed)

    def _on_queue(self, value: bytes | None, stat: Any) -> None:
        try:
            several, self._missed = self._several(), None
        except TransientError:
            # The watchdog assumes that all of them are served: they are read again when the connection is back.
            several, self._missed = b"", (value, stat)
        stages = wire.held_stages(value or b"", several)
        with self._lock:
            self._assignment = replace(self._assignment, stages=stages, revision=stat.version + 1 if stat else 0)
            # A command to serve a stage, even one that is already served, is a reason to read it again.
            for name in stages:
                self._stages.pop(name, None)
        self._changed()

    def _several(self) -> bytes:
        """Returns the list that was written together with the node `queue`, if one of our programs wrote it.

        Raises `TransientError` as `wait_for` does.
        """
        try:
            value, _ = wait_for(self._client, lambda: self._client.get_async(self._path("stages")))
        except NoNodeError:
            return b""
        return bytes(value)

    def _on_enabled(self, value: bytes | None, _stat: Any) -> None:
        with self._lock:
            enabled = wire.decode_flag(value or b"") and not self._superseded
            self._assignment = replace(self._assignment, enabled=enabled)
        self._changed()

    def _on_cancelled(self, jobs: frozenset[str]) -> None:
        with self._lock:
            self._assignment = replace(self._assignment, cancelled=jobs)
        self._changed()

    def _watch_version(self, name: str) -> None:
        with self._lock:
            if name in self._watched:
                return

        def look_again(_value: bytes | None, _stat: Any) -> None:
            with self._lock:
                self._stages.pop(name, None)
            self._changed()

        # The first call comes at once, from this thread, and finds nothing to forget.
        DataWatch(self._client, TREE.stage(name, "config_version"), look_again)
        with self._lock:
            self._watched.add(name)


def _register(
    client: KazooClient,
    worker: str,
    presence: Presence,
    clock: Clock,
    facts: Mapping[str, Any],
    *,
    gone: Callable[[Mapping[str, Any]], bool],
    patience: float,
) -> None:
    """Claims the name and creates the worker's nodes as upstream's programs expect them."""

    def path(leaf: str) -> str:
        return TREE.worker(worker, leaf)

    client.ensure_path(path("status"))
    client.ensure_path(path("info"))
    if gone(wire.decode_info(client.get(path("info"))[0])):
        presence.leave()
    presence.claim(patience, clock)
    client.ensure_path(path("queue"))
    client.ensure_path(path("stages"))
    for leaf, value in (
        ("status", wire.encode_text(WorkerStatus.STARTING)),
        ("info", wire.encode_info(facts)),
        ("unlock_time", wire.encode_time(None)),
        ("enabled", wire.encode_flag(True)),
    ):
        client.ensure_path(path(leaf))
        client.set(path(leaf), value)


def read_stage(client: KazooClient, name: str) -> Stage:
    """Reads a stage. Raises `StageError` if there is none of this name, and `TransientError` if ZooKeeper is away."""

    def leaf(leaf_name: str) -> str:
        try:
            value, _ = wait_for(client, lambda: client.get_async(TREE.stage(name, leaf_name)))
        except NoNodeError:
            return ""
        return wire.decode_text(value)

    # The version first: if the stage changes meanwhile, the watch on the version has the new one read again.
    version = leaf("config_version")
    config = leaf("config")
    if not config:
        raise StageError(f"there is no stage {name!r}, or it has no configuration: see pero-worker stage list")
    return Stage(
        name=name, config=config, version=version, archive=leaf("config_path"), archive_digest=leaf("archive_digest")
    )
