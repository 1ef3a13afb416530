"""What a worker reports to ZooKeeper: kept here and written by a thread, the latest state only.

A worker goes on while ZooKeeper is away; what it reports meanwhile is written when ZooKeeper is back. What the watchdog
acts on is written at once. That pages are being done, and how long they took, is written after a second, and less and
less often while nothing else changes: each write wakes the watchdog, and a thousand workers of a stage write to the
same nodes.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from kazoo.client import KazooClient
from kazoo.exceptions import KazooException, NoNodeError

from pero_worker.coordinators import suspects
from pero_worker.coordinators.presence import Presence
from pero_worker.coordinators.session import CONNECTION_ERRORS
from pero_worker.coordinators.statistics import Statistics
from pero_worker.errors import TransientError, UsageError
from pero_worker.ports import Clock
from pero_worker.wire import tree as wire
from pero_worker.wire.tree import TREE
from pero_worker.work import WorkerStatus

logger = logging.getLogger(__name__)
_WELL = frozenset({WorkerStatus.IDLE, WorkerStatus.PROCESSING, WorkerStatus.DEAD})
"""Statuses that mean that an earlier failure is over."""
_MAX_ERROR_LENGTH = 300
"""Characters of an error."""
_MAX_REASON_LENGTH = 500
"""Characters of why a stage could not be loaded."""
_MAX_MESSAGE_LENGTH = 4000
"""Characters of a message."""
_RETRY_AFTER_SECONDS = 0.2
_FIRST_PAUSE_SECONDS, _LAST_PAUSE_SECONDS = 1.0, 8.0
"""Seconds between two writes that say only that pages are being done."""
_PAUSE_SECONDS = 5.0
"""Seconds to wait after an unforeseen error."""
_CLOSE_TIMEOUT_SECONDS = 5.0


@dataclass(slots=True, kw_only=True)
class _Told:
    """What ZooKeeper should say about this worker."""

    status: str = ""
    message: str = ""
    facts: dict[str, Any] = field(default_factory=dict)


class WriteBehind:
    """`ports.Reports` and `ports.Suspects` of one worker, which is already registered."""

    def __init__(
        self,
        client: KazooClient,
        worker: str,
        clock: Clock,
        *,
        facts: Mapping[str, Any],
        presence: Presence,
        superseded: Callable[[UsageError], None],
    ) -> None:
        """`facts`: what is already written about the worker. `superseded` is called when another worker has started
        under its name: from then on nothing more is written."""
        self._client = client
        self._worker = worker
        self._clock = clock
        self._presence = presence
        self._superseded = superseded
        self._lock = threading.Lock()
        self._told = _Told(facts=dict(facts))
        self._statistics = Statistics(client, str(facts.get("kind", "cpu")))
        self._cleared: list[tuple[str, bool]] = []
        self._behind = threading.Event()
        """Set when there is something to write."""
        self._urgent = threading.Event()
        """Set when it does not wait for the pause to end."""
        self._written: dict[str, bytes] = {}
        """What was written last, by leaf; an unchanged value is not written again."""
        self._closed = threading.Event()
        self._silenced = False
        self._writer = threading.Thread(target=self._keep_writing, name="zookeeper", daemon=True)
        self._writer.start()

    # -- ports.Reports -----------------------------------------------------------------------------------------

    def report(self, worker: str, status: WorkerStatus, message: str = "") -> None:
        with self._lock:
            self._told.status, self._told.message = status.value, message
            if message:
                # Kept while the worker tries again, so that it is known since when it has been failing.
                failing = self._told.facts.get("failing") or {"since": self._clock.now().isoformat(timespec="seconds")}
                self._told.facts["failing"] = {**failing, "text": message[:_MAX_ERROR_LENGTH]}
            elif status in _WELL:
                self._told.facts.pop("failing", None)
        if status is not WorkerStatus.PROCESSING:
            self._statistics.end_run()
            self._urgent.set()
        self._behind.set()

    def report_stages(self, worker: str, held: Mapping[str, str], refused: Mapping[str, str]) -> None:
        reasons = {name: text[:_MAX_REASON_LENGTH] for name, text in refused.items()}
        with self._lock:
            self._told.facts.update(stages=list(held), versions=dict(held), refused=reasons)
        self._write_now()

    def record_time(self, stage: str, seconds: float, onward: str) -> None:
        with self._lock:
            self._told.facts["pages"] += 1
        if self._statistics.page(stage, seconds, onward):
            self._behind.set()

    def record_load(self, stage: str, seconds: float, memory: int) -> None:
        self._statistics.load(stage, seconds, memory)
        self._write_now()

    def record_failure(self, text: str) -> None:
        when = self._clock.now().isoformat(timespec="seconds")
        with self._lock:
            self._told.facts["failures"] += 1
            self._told.facts["last_error"] = {"when": when, "text": text[:_MAX_ERROR_LENGTH]}
        self._behind.set()

    # -- ports.Suspects ----------------------------------------------------------------------------------------

    def begin_suspect(self, page: str) -> int:
        return suspects.begin(self._client, page)

    def end_suspect(self, page: str, *, survived: bool) -> None:
        try:
            suspects.end(self._client, page, survived=survived)
        except TransientError as error:
            logger.warning(
                "until this can be noted in ZooKeeper, a page is wrongly charged with a worker's death: %s", error
            )
            with self._lock:
                self._cleared.append((page, survived))

    # -- the inside --------------------------------------------------------------------------------------------

    def catch_up(self) -> None:
        """Called when ZooKeeper is back: what was not written yet can be."""
        self._written.clear()
        self._write_now()

    def close(self) -> None:
        """Writes what has not been written yet, and that the worker is gone, if ZooKeeper answers."""
        self._closed.set()
        self._write_now()
        self._writer.join(_CLOSE_TIMEOUT_SECONDS)
        try:
            if self._client.connected and not self._silenced:
                self._write()
                self._presence.leave()
        except (KazooException, TransientError, *CONNECTION_ERRORS) as error:
            logger.debug("the end of worker %s is not written down: %s", self._worker, error)

    def _write_now(self) -> None:
        self._urgent.set()
        self._behind.set()

    def _keep_writing(self) -> None:
        next_at = self._clock.monotonic()
        pause = _FIRST_PAUSE_SECONDS
        while not self._closed.is_set() and not self._silenced:
            self._behind.wait()
            # The first page after a pause is reported at once, those that follow together.
            is_urgent = self._urgent.wait(max(0.0, next_at - self._clock.monotonic()))
            self._behind.clear()
            self._urgent.clear()
            pause = next_pause(pause, is_urgent=is_urgent)
            next_at = self._clock.monotonic() + pause
            if self._closed.is_set() or not self._client.connected:
                continue
            try:
                self._presence.keep()
                self._write()
            except UsageError as error:
                self._silenced = True
                self._superseded(error)
            except (KazooException, TransientError, *CONNECTION_ERRORS) as error:
                logger.debug("status of worker %s is not written down: %s", self._worker, error)
                self._clock.sleep(_RETRY_AFTER_SECONDS)
                self._written.clear()
                self._write_now()
            except Exception as error:  # this thread must not die silently
                logger.exception("status of worker %s is not written down: %s", self._worker, error)
                self._clock.sleep(_PAUSE_SECONDS)
                self._written.clear()
                self._write_now()

    def _write(self) -> None:
        self._write_state()
        self._write_cleared()
        self._statistics.write()

    def _write_state(self) -> None:
        with self._lock:
            told = {
                "status": self._told.status.encode(),
                "message": wire.encode_text(self._told.message[:_MAX_MESSAGE_LENGTH]),
                "info": wire.encode_info(self._told.facts),
            }
        for leaf, value in told.items():
            if self._written.get(leaf) == value:
                continue
            path = TREE.worker(self._worker, leaf)
            try:
                self._client.set(path, value)
            except NoNodeError:
                self._client.ensure_path(path)
                self._client.set(path, value)
            self._written[leaf] = value

    def _write_cleared(self) -> None:
        while self._cleared:
            page, survived = self._cleared[0]
            suspects.end(self._client, page, survived=survived)
            with self._lock:
                del self._cleared[0]


def next_pause(pause: float, *, is_urgent: bool) -> float:
    """Returns after how many seconds to write again that pages are being done; starts over when something else was
    written."""
    return _FIRST_PAUSE_SECONDS if is_urgent else min(2 * pause, _LAST_PAUSE_SECONDS)
