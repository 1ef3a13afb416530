"""The watchdog: one leader looks at queues and workers, lets its rule decide, and commands the workers.

Workers' reports wake it through ZooKeeper's watches; queues are asked for their exact lengths a few times a second.
"""

from __future__ import annotations

import logging
import math
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Any

from kazoo.client import KazooClient, KazooState
from kazoo.exceptions import KazooException, NoNodeError

from pero_worker.cluster.registry.stages import current_trouble
from pero_worker.coordinators.session import CONNECTION_ERRORS
from pero_worker.errors import OutputError, TransientError
from pero_worker.messages import said
from pero_worker.ports import Clock
from pero_worker.text import one_line
from pero_worker.watchdog.janitor import tidy, zookeepers_time
from pero_worker.watchdog.mirror import Mirror
from pero_worker.watchdog.notes import Notes
from pero_worker.watchdog.observer import Command, Observer
from pero_worker.watchdog.snapshot import Move, Rule, Snapshot, StageView, WorkerView
from pero_worker.wire import tree as wire
from pero_worker.wire.tree import TREE

logger = logging.getLogger(__name__)
_TIDY_INTERVAL_SECONDS = 3600.0
_DEBOUNCE_SECONDS = 0.01
_PAUSE_SECONDS = 1.0
"""Pause after a failed look."""
_MIN_TURN_SECONDS = 10.0
_TURN_IN_LOADS = 10.0
"""Upstream's watchdog should leave a worker where it was sent this many times as long as loading takes."""
_WAKE_TIMEOUT_SECONDS = 2.0
"""How long a worker may take to start on what it was commanded to do."""
_PATIENCE_SECONDS = 10.0
"""Time between two commands to a worker that does nothing."""
_REFRESH_SECONDS = 30.0
"""What is known is read again when it can hardly be true, but not more often than this."""
_REST_FACTOR = 10
"""The pause after a look is this many times as long as the look took: with many queues there are fewer looks."""


class LeadLostError(TransientError):
    """Another watchdog may lead: no more commands may be sent."""


class Watchdog:
    """Carries out what a rule decides."""

    def __init__(
        self,
        client: KazooClient,
        lengths: Callable[[Sequence[str]], Mapping[str, int]],
        clock: Clock,
        rule: Rule,
        *,
        record: Callable[[Snapshot, Sequence[Move]], None] = lambda _seen, _moves: None,
    ) -> None:
        """`lengths`: as for `Observer`; `record` is called with what was seen and decided. When looks take long, there
        are fewer of them than the rule wants."""
        self._client = client
        self._clock = clock
        self._rule = rule
        self._record = record
        self._news = threading.Event()
        self._told: dict[str, Command] = {}
        self._observer = Observer(lengths, clock)
        self._woken: dict[str, float] = {}
        self._place = ""
        self._trouble = ""
        self._notes = Notes(client, clock)

    def run(self, name: str, stopped: threading.Event) -> None:
        """Waits for the lead, leads until it is lost, and starts over, until `stopped` is set."""
        self._client.ensure_path(TREE.election)
        while not stopped.is_set():
            election = self._client.Election(TREE.election, name)
            over = threading.Event()
            threading.Thread(target=_cancel_when, args=(stopped, over, election), daemon=True).start()
            try:
                election.run(self._lead, name, election, stopped)
            except OutputError:
                raise
            except Exception as error:  # kazoo's, or caused by a value that nobody thought of
                logger.warning("the lead is lost: %s", one_line(str(error)) or type(error).__name__)
                stopped.wait(_PAUSE_SECONDS)
            finally:
                over.set()

    def _lead(self, name: str, election: Any, stopped: threading.Event) -> None:
        lost = threading.Event()

        def listen(state: str) -> None:
            # A suspended connection is enough: another watchdog may lead before this one hears its session ended.
            if state != KazooState.CONNECTED:
                lost.set()
                self._news.set()

        self._client.add_listener(listen)
        self._told.clear()
        self._place = f"{TREE.election}/{election.lock.node}"
        mirror = self._mirror()
        logger.info("watchdog %s leads", name)
        next_tidying = next_refresh = self._clock.monotonic()
        try:
            while not stopped.is_set() and not lost.is_set():
                pause = self._rule.interval
                try:
                    mirror.wait(10)
                    begun = self._clock.monotonic()
                    self.round(mirror)
                    pause = max(self._rule.interval, _REST_FACTOR * (self._clock.monotonic() - begun))
                    if self._observer.behind and self._clock.monotonic() >= next_refresh:
                        # After a lost watch, this watchdog would wait for something that happened long ago.
                        logger.info("reading ZooKeeper anew")
                        next_refresh = self._clock.monotonic() + _REFRESH_SECONDS
                        self._told.clear()
                        mirror.close()
                        mirror = self._mirror()
                    if self._clock.monotonic() >= next_tidying:
                        # Set first, so that a failure to tidy up is not repeated at every look.
                        next_tidying = self._clock.monotonic() + _TIDY_INTERVAL_SECONDS
                        tidy(self._client, zookeepers_time(self._client))
                except LeadLostError:
                    logger.warning("another watchdog leads")
                    return
                except (TransientError, KazooException, *CONNECTION_ERRORS) as error:
                    self._complain(str(error) or type(error).__name__)
                    stopped.wait(_PAUSE_SECONDS)
                except OutputError:
                    raise
                except Exception as error:  # no foreign value may bring down every watchdog
                    logger.debug("a round failed", exc_info=True)
                    self._complain(f"a round failed with {type(error).__name__}: {one_line(str(error))}")
                    stopped.wait(_PAUSE_SECONDS)
                else:
                    self._complain("")
                self._news.wait(pause)
                # Changes that come together are looked at together.
                stopped.wait(_DEBOUNCE_SECONDS)
                self._news.clear()
        finally:
            self._client.remove_listener(listen)
            mirror.close()

    def _mirror(self) -> Mirror:
        return Mirror(self._client, self._news.set if self._rule.looks_on_events else lambda: None)

    def _complain(self, trouble: str) -> None:
        """Logs a problem once, however long it lasts, and once when it is over."""
        if trouble and trouble != self._trouble:
            logger.warning("no commands can be sent: %s", trouble)
        elif self._trouble and not trouble:
            logger.warning("commands can be sent again")
        self._trouble = trouble

    def round(self, mirror: Mirror) -> Snapshot:
        """Takes one look, makes one plan and carries it out."""
        records, states = mirror.stages(), mirror.workers()
        self._notes.tell_of_nonsense(mirror.no_names(), records, [state for state, _ in states])
        seen = self._observer.take_snapshot(records, states, self._told, mirror.payloads)
        moves = self._rule.decide(self._clock.monotonic(), seen)
        self._record(seen, moves)
        present = {worker.name: worker for worker in seen.workers}
        stages = {stage.name: stage for stage in seen.stages}
        self._told = {name: told for name, told in self._told.items() if name in present}
        sent = (*self._wake(seen), *moves)
        for move in sent:
            self._send_command(move, present[move.worker], stages)
        self._notes.note_moves(sent)
        self._notes.note_waiting(records, seen, moves)
        self._notes.note_troubles(records, seen)
        self._notes.warn(seen)
        return seen

    def take_snapshot(self, mirror: Mirror) -> Snapshot:
        """Takes one look and does nothing else; stages that the leader noted as impossible to load are quarantined."""
        records = mirror.stages()
        seen = self._observer.take_snapshot(records, mirror.workers(), {}, mirror.payloads)
        known = {record.name: current_trouble(record) for record in records}
        return replace(
            seen,
            stages=tuple(
                replace(stage, quarantine=trouble.reason) if not stage.quarantine and trouble else stage
                for stage in seen.stages
                for trouble in (known[stage.name],)
            ),
        )

    def _wake(self, seen: Snapshot) -> Iterator[Move]:
        """Yields moves that send workers to their stages again: those that sleep although there is work for them, and
        those that have done nothing for too long."""
        waiting = {stage.name for stage in seen.stages if stage.waiting and not stage.disabled}
        now = self._clock.monotonic()
        for worker in seen.workers:
            since = min(worker.serving, now - self._woken.get(worker.name, -math.inf))
            if worker.sleeps and waiting.intersection(worker.holds) and since >= _WAKE_TIMEOUT_SECONDS:
                why = said("sleeps")
            elif worker.stuck and since >= _PATIENCE_SECONDS:
                why = said("did_nothing")
                logger.warning("worker %s has done nothing for too long, and is told again what to do", worker.name)
            else:
                continue
            self._woken[worker.name] = now
            yield Move(worker=worker.name, stages=worker.holds, why=(why,))

    def _send_command(self, move: Move, worker: WorkerView, stages: Mapping[str, StageView]) -> None:
        """Sends all of a command or nothing. Raises `LeadLostError` if another watchdog may lead."""
        until = self._clock.now() + timedelta(seconds=self._turn(move, stages))
        transaction = self._client.transaction()
        transaction.check(self._place, 0)
        transaction.set_data(TREE.worker(move.worker, "unlock_time"), wire.encode_time(until))
        if worker.memory is not None:
            transaction.set_data(TREE.worker(move.worker, "stages"), wire.encode_names(move.stages))
        transaction.set_data(TREE.worker(move.worker, "queue"), wire.encode_text("".join(move.stages[:1])))
        results = transaction.commit()
        if isinstance(results[0], NoNodeError):
            raise LeadLostError("the lead is lost")
        if any(isinstance(result, Exception) for result in results):
            logger.info("worker %s is gone", move.worker)
            return
        self._told[move.worker] = Command(stages=move.stages, version=results[-1].mzxid)
        logger.info("worker %s holds %s: %s", move.worker, ", ".join(move.stages) or "nothing", move.reason)

    def _turn(self, move: Move, stages: Mapping[str, StageView]) -> float:
        """Returns for how many seconds upstream's watchdog, should it take over, leaves the worker there."""
        load = stages[move.stages[0]].load_seconds("") if move.stages else 0.0
        return max(_MIN_TURN_SECONDS, _TURN_IN_LOADS * load)


def _cancel_when(stopped: threading.Event, over: threading.Event, election: Any) -> None:
    """Ends the wait for the lead when `stopped` is set; runs in a thread of its own until `over` is set."""
    while not over.is_set():
        if stopped.wait(1.0):
            election.cancel()
            return
