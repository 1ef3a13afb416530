"""ZooKeeper as a worker's `ports.Coordinator`: what it is told, and what it tells.

Assignments and stages come through watches and are kept, so that a worker goes on while ZooKeeper is away; what it
reports meanwhile is written when ZooKeeper is back.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from kazoo.client import KazooClient, KazooState
from kazoo.exceptions import KazooException, NoNodeError
from kazoo.recipe.watchers import DataWatch

from pero_worker.coordinators import suspects
from pero_worker.coordinators.presence import Presence
from pero_worker.coordinators.session import CONNECTION_ERRORS, wait_for
from pero_worker.coordinators.statistics import Statistics
from pero_worker.errors import StageError, TransientError, UsageError
from pero_worker.ports import Assignment, Clock, WorkerStatus
from pero_worker.stage import Stage
from pero_worker.wire import tree as wire
from pero_worker.wire.tree import TREE

logger = logging.getLogger(__name__)
_MAX_ERROR_LENGTH = 300
"""Characters."""


@dataclass(slots=True)
class _Told:
    """What ZooKeeper should say about this worker."""

    status: str = ""
    message: str = ""
    facts: dict[str, Any] = field(default_factory=dict)


class ZooKeeperCoordinator:
    """For one worker, which is registered at once and told nothing before `watch`."""

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
        """Registers the worker. UsageError: a worker of this name is connected, and still is after `patience` seconds.

        `gone` tells from another worker's facts that its process has ended, though ZooKeeper does not know it yet.
        """
        self._client = client
        self._worker = wire.check_name(worker, "worker")
        self._clock = clock
        self._changed: Callable[[], None] = lambda: None
        self._lock = threading.Lock()
        self._assignment = Assignment()
        self._stages: dict[str, Stage] = {}
        self._watched: set[str] = set()
        self._statistics = Statistics(client, str((facts or {}).get("kind", "cpu")))
        self._cleared: list[tuple[str, bool]] = []
        self._told = _Told(facts={"pages": 0, "failures": 0, **(facts or {})})
        self._behind = threading.Event()
        self._closed = threading.Event()
        self._presence = Presence(client, worker)
        self._superseded = False
        self._register(gone, patience)
        client.add_listener(self._on_state)
        self._writer = threading.Thread(target=self._write_behind, name="zookeeper", daemon=True)
        self._writer.start()

    def watch(self, changed: Callable[[], None] = lambda: None) -> None:
        """Begins to follow what the worker is told; `changed` is called from kazoo's thread when there is news."""
        DataWatch(self._client, self._path("queue"), self._on_queue)
        DataWatch(self._client, self._path("enabled"), self._on_enabled)
        self._changed = changed

    # -- ports.Coordinator -------------------------------------------------------------------------------------

    def stage(self, name: str) -> Stage:
        """TransientError: not known yet, and ZooKeeper is away."""
        with self._lock:
            known = self._stages.get(name)
        if known is not None:
            return known
        if not self._client.connected:
            # To begin a watch would wait for ever.
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

    def report(self, worker: str, status: WorkerStatus, message: str = "") -> None:
        with self._lock:
            self._told.status, self._told.message = status.value, message
        if status is not WorkerStatus.PROCESSING:
            self._statistics.end_run()
        self._behind.set()

    def report_stages(self, worker: str, held: Sequence[str], refused: Mapping[str, str]) -> None:
        with self._lock:
            self._told.facts.update(stages=list(held), refused={name: text[:500] for name, text in refused.items()})
        self._behind.set()

    def begin_suspect(self, page: str) -> int:
        return suspects.begin(self._client, page)

    def end_suspect(self, page: str, *, survived: bool) -> None:
        try:
            suspects.end(self._client, page, survived=survived)
        except TransientError as error:
            logger.warning("until this is written down, a page is charged with a death that was none: %s", error)
            with self._lock:
                self._cleared.append((page, survived))

    def record_time(self, stage: str, seconds: float, onward: str) -> None:
        with self._lock:
            self._told.facts["pages"] += 1
        if self._statistics.page(stage, seconds, onward):
            self._behind.set()

    def record_load(self, stage: str, seconds: float, memory: int) -> None:
        self._statistics.load(stage, seconds, memory)
        self._behind.set()

    def record_failure(self, text: str) -> None:
        when = self._clock.now().isoformat(timespec="seconds")
        with self._lock:
            self._told.facts["failures"] += 1
            self._told.facts["last_error"] = {"when": when, "text": text[:_MAX_ERROR_LENGTH]}
        self._behind.set()

    # -- the inside --------------------------------------------------------------------------------------------

    def close(self) -> None:
        """Writes what is left to tell, if ZooKeeper is there; the session is the caller's to end."""
        self._closed.set()
        self._behind.set()
        self._writer.join(5)
        try:
            if self._client.connected and not self._superseded:
                self._write()
                self._write_cleared()
                self._statistics.write()
                self._presence.leave()
        except (KazooException, TransientError, *CONNECTION_ERRORS) as error:
            logger.debug("the end of worker %s is not written down: %s", self._worker, error)

    def _path(self, leaf: str) -> str:
        return TREE.worker(self._worker, leaf)

    def _register(self, gone: Callable[[Mapping[str, Any]], bool], patience: float) -> None:
        self._client.ensure_path(self._path("status"))
        self._client.ensure_path(self._path("info"))
        if gone(wire.decode_info(self._client.get(self._path("info"))[0])):
            self._presence.leave()
        self._presence.claim(patience, self._clock)
        self._client.ensure_path(self._path("queue"))
        self._client.ensure_path(self._path("stages"))
        for leaf, value in (
            ("status", wire.encode_text(WorkerStatus.STARTING)),
            ("info", wire.encode_info(self._told.facts)),
            ("unlock_time", wire.encode_time(None)),
            ("enabled", wire.encode_flag(True)),
        ):
            self._client.ensure_path(self._path(leaf))
            self._client.set(self._path(leaf), value)

    def _give_up_name(self, error: UsageError) -> None:
        """While this worker was cut off, or stood still, another has begun under its name: that one goes on."""
        logger.error("this worker ends: %s", error)
        self._superseded = True
        with self._lock:
            self._assignment = Assignment(enabled=False)
        self._changed()

    def _on_state(self, state: str) -> None:
        if state == KazooState.CONNECTED:
            self._behind.set()

    def _on_queue(self, value: bytes | None, stat: Any) -> None:
        stages = wire.held_stages(value or b"", self._several())
        with self._lock:
            self._assignment = Assignment(stages, self._assignment.enabled, stat.version + 1 if stat else 0)
            # A command to serve a stage, also the one that is served already, is a reason to look again.
            for name in stages:
                self._stages.pop(name, None)
        self._changed()

    def _several(self) -> bytes:
        """The list that was written together with the node `queue`, if ours wrote it."""
        try:
            value, _ = wait_for(self._client, lambda: self._client.get_async(self._path("stages")))
        except (NoNodeError, TransientError):
            return b""
        return bytes(value)

    def _on_enabled(self, value: bytes | None, _stat: Any) -> None:
        with self._lock:
            old = self._assignment
            enabled = wire.decode_flag(value or b"") and not self._superseded
            self._assignment = Assignment(old.stages, enabled, old.revision)
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

    def _write_cleared(self) -> None:
        while self._cleared:
            page, survived = self._cleared[0]
            suspects.end(self._client, page, survived=survived)
            with self._lock:
                del self._cleared[0]

    def _write_behind(self) -> None:
        while not self._closed.is_set() and not self._superseded:
            self._behind.wait()
            self._behind.clear()
            if self._closed.is_set() or not self._client.connected:
                continue
            try:
                self._presence.keep()
                self._write()
                self._write_cleared()
                self._statistics.write()
            except UsageError as error:
                self._give_up_name(error)
            except (KazooException, TransientError, *CONNECTION_ERRORS) as error:
                logger.debug("status of worker %s is not written down: %s", self._worker, error)
                self._clock.sleep(0.2)
                self._behind.set()

    def _write(self) -> None:
        with self._lock:
            told = {
                "status": self._told.status.encode(),
                "message": wire.encode_text(self._told.message[:4000]),
                "info": wire.encode_info(self._told.facts),
            }
        for leaf, value in told.items():
            try:
                self._client.set(self._path(leaf), value)
            except NoNodeError:
                self._client.ensure_path(self._path(leaf))
                self._client.set(self._path(leaf), value)


def read_stage(client: KazooClient, name: str) -> Stage:
    """StageError: no such stage; TransientError: ZooKeeper is away."""

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
    return Stage(name, config, version, leaf("config_path"), archive_digest=leaf("archive_digest"))
