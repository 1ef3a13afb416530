"""Who processes the pages, and what is wrong with them: what the cluster page shows, whatever the backend."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence, Set
from contextlib import ExitStack
from datetime import UTC, datetime
from typing import Protocol

from pero_worker.cluster.access import ClusterAccess
from pero_worker.cluster.opening import open_cluster
from pero_worker.cluster.pages.dead import DeadLetter, dead_letters, settle
from pero_worker.cluster.state import ClusterState, Look
from pero_worker.cluster.status import ClusterWatcher
from pero_worker.errors import PeroWorkerError, TransientError

_FRESH_SECONDS = 1.0
_MAX_LETTERS = 200


class Overview(Protocol):
    """A view of whoever processes the pages. Its methods may be called from any thread."""

    is_cluster: bool
    """Whether there are servers, a watchdog and dead letters."""

    def look(self) -> ClusterState:
        """Returns the present state; raises `TransientError` if nothing can be seen."""

    def letters(self) -> Sequence[DeadLetter]:
        """Returns messages that no worker could use, oldest first; raises `TransientError` if they cannot be seen."""

    def settle(self, numbers: Set[int], *, again: bool) -> int:
        """Sends these letters back to where they came from, or drops them, and returns how many.

        Raises `TransientError` if this is not possible now.
        """


class NoOverview:
    """The `Overview` of a gateway that knows of no workers."""

    is_cluster = False

    def look(self) -> ClusterState:
        return ClusterState(look=Look(), problems=())

    def letters(self) -> Sequence[DeadLetter]:
        return ()

    def settle(self, numbers: Set[int], *, again: bool) -> int:
        return 0


class ClusterOverview:
    """The `Overview` of a cluster, over connections of its own, which are opened when somebody first looks."""

    is_cluster = True

    def __init__(self, access: ClusterAccess) -> None:
        self._access = access
        self._lock = threading.Lock()
        self._stack = ExitStack()
        self._watcher: ClusterWatcher | None = None

    def look(self) -> ClusterState:
        with self._lock:
            try:
                if self._watcher is None:
                    self._watcher = self._stack.enter_context(ClusterWatcher(self._access, lambda: datetime.now(UTC)))
                return self._watcher.look()
            except PeroWorkerError:
                self._forget()
                raise

    def _forget(self) -> None:
        self._watcher = None
        self._stack.close()

    def letters(self) -> Sequence[DeadLetter]:
        with open_cluster(self._access, wait=2.0) as cluster:
            return dead_letters(cluster.broker, _MAX_LETTERS)

    def settle(self, numbers: Set[int], *, again: bool) -> int:
        with open_cluster(self._access, wait=2.0) as cluster:
            done = settle(
                cluster.broker,
                lambda letter: letter.number in numbers,
                again,
                _MAX_LETTERS,
                payloads=cluster.payloads,
            )
            return len(done)

    def close(self) -> None:
        with self._lock:
            self._forget()


class Watching:
    """Shares one look among all who ask within a second. Thread-safe."""

    def __init__(self, overview: Overview, clock: Callable[[], float] = time.monotonic) -> None:
        self.overview = overview
        self._clock = clock
        self._lock = threading.Lock()
        self._seen: tuple[ClusterState, datetime] | None = None
        self._fault = ""
        self._when = float("-inf")

    def state(self) -> tuple[ClusterState | None, datetime, str]:
        """Returns what was seen last, when, and why nothing newer can be seen; '' if it is current."""
        with self._lock:
            if self._clock() - self._when > _FRESH_SECONDS:
                try:
                    self._seen, self._fault = (self.overview.look(), datetime.now(UTC)), ""
                except TransientError as error:
                    self._fault = str(error)
                self._when = self._clock()
            seen = self._seen
            return (seen[0], seen[1], self._fault) if seen else (None, datetime.now(UTC), self._fault)
