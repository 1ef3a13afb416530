"""What the leading watchdog writes down: for people, for the next leader, and for upstream's watchdogs."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from datetime import datetime

from kazoo.client import KazooClient
from kazoo.exceptions import KazooException

from pero_worker.cluster.registry.moves import MAX_MOVES, MoveNote, write_moves
from pero_worker.cluster.registry.stages import StageRecord, current_trouble
from pero_worker.cluster.registry.troubles import MAX_REASON_LENGTH, Trouble, write_trouble
from pero_worker.cluster.registry.workers import WorkerState
from pero_worker.coordinators.session import CONNECTION_ERRORS
from pero_worker.ports import Clock
from pero_worker.text import one_line
from pero_worker.watchdog.snapshot import Move, Snapshot
from pero_worker.wire import tree as wire
from pero_worker.wire.tree import TREE

logger = logging.getLogger(__name__)


class Notes:
    """Writes notes to ZooKeeper and to the log."""

    def __init__(self, client: KazooClient, clock: Clock) -> None:
        self._client = client
        self._clock = clock
        self._warned: dict[str, str] = {}
        self._nonsense: set[str] = set()
        self._last_moves: deque[MoveNote] = deque(maxlen=MAX_MOVES)

    def tell_of_nonsense(
        self, no_names: Sequence[str], records: Sequence[StageRecord], states: Sequence[WorkerState]
    ) -> None:
        """Warns once about each node whose value makes no sense, by its path."""
        found = {*no_names}
        found.update(TREE.stage(record.name, leaf) for record in records for leaf in record.unreadable)
        found.update(TREE.worker(state.name, leaf) for state in states for leaf in state.unreadable)
        for path in sorted(found - self._nonsense):
            logger.warning("what stands in ZooKeeper at %s makes no sense and counts as unset", one_line(path))
        self._nonsense = found

    def note_moves(self, sent: Sequence[Move]) -> None:
        """Writes down the moves for people; no worker is kept waiting if that fails."""
        if not sent:
            return
        now = self._clock.now()
        self._last_moves.extend(
            MoveNote(when=now, worker=move.worker, stages=move.stages, reason=move.reason, why=move.why)
            for move in sent
        )
        with suppress(KazooException, *CONNECTION_ERRORS):
            write_moves(self._client, tuple(self._last_moves))

    def note_waiting(self, records: Sequence[StageRecord], seen: Snapshot, moves: Sequence[Move]) -> None:
        """Notes since when pages have waited for a stage that nobody serves, for the next leader and for upstream's."""
        holds = {worker.name: worker.holds for worker in seen.workers} | {move.worker: move.stages for move in moves}
        served = {name for stages in holds.values() for name in stages}
        since = {record.name: record.waiting_since for record in records}
        for stage in seen.stages:
            waits = bool(stage.waiting) and stage.name not in served and not stage.disabled
            wanted = waiting_since(since[stage.name], waits, self._clock.now())
            if wanted != since[stage.name]:
                self._client.set(TREE.stage(stage.name, "waiting_since"), wire.encode_time(wanted))

    def note_troubles(self, records: Sequence[StageRecord], seen: Snapshot) -> None:
        """Notes why stages cannot be loaded: for people, even when no worker holds them any more."""
        known = {record.name: record for record in records}
        for stage in seen.stages:
            record = known[stage.name]
            before = current_trouble(record)
            if stage.trouble[:MAX_REASON_LENGTH] == (before.reason if before else ""):
                continue
            since = before.since if before else self._clock.now()
            trouble = Trouble(version=record.version, reason=stage.trouble, since=since) if stage.trouble else None
            write_trouble(self._client, stage.name, trouble)

    def warn(self, seen: Snapshot) -> None:
        """Warns once why no worker is sent to a stage."""
        for stage in seen.stages:
            if stage.quarantine and stage.trouble != self._warned.get(stage.name, ""):
                logger.warning("nobody is sent to stage %s: %s", stage.name, one_line(stage.quarantine))
                self._warned[stage.name] = stage.trouble
            elif not stage.trouble:
                self._warned.pop(stage.name, None)


def waiting_since(noted: datetime | None, waits: bool, now: datetime) -> datetime | None:
    """Returns what to note for a stage. A time in the future was noted by a clock that is or was wrong: it is replaced
    by `now`, or the stage would get no turn until then."""
    if not waits:
        return None
    return now if noted is None or noted > now else noted
