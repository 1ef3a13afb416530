"""What a worker measures about its stages, written to ZooKeeper a few pages at a time."""

from __future__ import annotations

import logging
import threading
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial

from kazoo.client import KazooClient
from kazoo.exceptions import BadVersionError, KazooException, NodeExistsError, NoNodeError

from pero_worker.coordinators.session import wait_for
from pero_worker.errors import TransientError
from pero_worker.wire import tree as wire
from pero_worker.wire.measured import Measured, decode_measured, encode_measured
from pero_worker.wire.tree import TREE

logger = logging.getLogger(__name__)
PAGES_A_MEAN = 10
"""Pages whose mean time enters a stage's average at once, as in upstream's workers."""
_TRIES = 5


@dataclass(slots=True, kw_only=True)
class _PageRun:
    """Consecutive pages of one stage."""

    seconds: float = 0.0
    """Seconds for all of them together."""
    pages: int = 0
    onward: Counter[str] = field(default_factory=Counter)
    """Pages by the queue they went to."""

    @property
    def mean(self) -> float:
        return self.seconds / self.pages


_Measurement = _PageRun | tuple[float, int]
"""Pages, or a load: its seconds, and the memory that it takes in bytes."""


class Statistics:
    """Measurements of one worker of `kind`. Thread-safe; only `write` talks to ZooKeeper."""

    def __init__(self, client: KazooClient, kind: str) -> None:
        self._client = client
        self._kind = kind
        self._lock = threading.Lock()
        self._runs: dict[str, _PageRun] = {}
        self._pending: list[tuple[str, _Measurement]] = []

    def page(self, stage: str, seconds: float, onward: str) -> bool:
        """Adds a page; returns whether there is enough to write."""
        with self._lock:
            run = self._runs.setdefault(stage, _PageRun())
            run.seconds += seconds
            run.pages += 1
            run.onward[onward] += 1
            if run.pages > PAGES_A_MEAN:
                self._pending.append((stage, self._runs.pop(stage)))
            return bool(self._pending)

    def load(self, stage: str, seconds: float, memory: int) -> None:
        with self._lock:
            self._pending.append((stage, (seconds, memory)))

    def end_run(self) -> None:
        """Marks what was measured so far to be written, however few pages it comes from."""
        with self._lock:
            self._pending.extend(self._runs.items())
            self._runs = {}

    def write(self) -> None:
        with self._lock:
            pending, self._pending = self._pending, []
        for stage, what in _together(pending):
            try:
                if isinstance(what, _PageRun):
                    self._update(stage, "avg_msg_time", partial(_mean_with, what.mean))
                    add = partial(Measured.with_pages, kind=self._kind, seconds=what.mean, onward=what.onward)
                else:
                    add = partial(Measured.with_load, kind=self._kind, seconds=what[0], memory=what[1])
                self._update(stage, "measured", partial(_changed, add))
            except (TransientError, KazooException) as error:
                logger.debug("what was measured of stage %s is not written down: %s", stage, error)

    def _update(self, stage: str, leaf: str, change: Callable[[bytes], bytes]) -> None:
        """Changes a node, checking its version instead of taking upstream's lock."""
        path = TREE.stage(stage, leaf)
        for _ in range(_TRIES):
            try:
                value, stat = wait_for(self._client, lambda: self._client.get_async(path))
                wait_for(self._client, partial(self._client.set_async, path, change(value), stat.version))
            except BadVersionError:
                continue
            except NoNodeError:
                # A stage that is gone is not created again.
                try:
                    wait_for(self._client, partial(self._client.create_async, path, change(b"")))
                except NodeExistsError:
                    continue
            return


def _together(pending: Sequence[tuple[str, _Measurement]]) -> list[tuple[str, _Measurement]]:
    """Returns the same with all pages of a stage in one run."""
    runs: dict[str, _PageRun] = {}
    others: list[tuple[str, _Measurement]] = []
    for stage, what in pending:
        if isinstance(what, _PageRun):
            run = runs.setdefault(stage, _PageRun())
            run.seconds += what.seconds
            run.pages += what.pages
            run.onward += what.onward
        else:
            others.append((stage, what))
    return [*others, *runs.items()]


def _changed(change: Callable[[Measured], Measured], value: bytes) -> bytes:
    return encode_measured(change(decode_measured(value)))


def _mean_with(mean: float, value: bytes) -> bytes:
    """Returns half the old average plus half the new mean."""
    old = wire.decode_seconds(value)
    return wire.encode_seconds(mean if old is None else (mean + old) / 2)
