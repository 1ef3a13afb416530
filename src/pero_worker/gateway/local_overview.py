"""What the cluster page shows where there is no cluster: the worker processes of this machine."""

from __future__ import annotations

import signal
import socket
from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence, Set
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from pero_worker.brokers.memory import MemoryBroker
from pero_worker.cluster.pages.dead import DeadLetter
from pero_worker.cluster.registry.workers import WorkerState
from pero_worker.cluster.state import ClusterState, Look, Problem, Severity, StageState
from pero_worker.coordinators.memory import MemoryCoordinator
from pero_worker.messages import Message, said
from pero_worker.ports import Clock
from pero_worker.processes import RECYCLED
from pero_worker.request import StageLog, StageStatus
from pero_worker.stage import Stage

_TOLD = 100
"""How many deaths are remembered."""
_TOLD_FOR_SECONDS = 300.0
"""How long a death counts as a problem."""
_MEAN_OF = 20
"""How many pages the mean duration of a stage covers, roughly."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Death:
    """A process that died."""

    when: datetime
    exit_code: int
    pages: int
    """How many pages it held."""


class LocalOverview:
    """The `Overview` of one machine."""

    is_cluster = False

    def __init__(
        self,
        broker: MemoryBroker,
        coordinator: MemoryCoordinator,
        stages: Sequence[Stage],
        log_file: Path,
        clock: Clock,
        trouble: Callable[[], str],
    ) -> None:
        self._broker = broker
        self._coordinator = coordinator
        self._stages = stages
        self._log_file = log_file
        self._clock = clock
        self._trouble = trouble
        self._pages: Counter[str] = Counter()
        self._seconds: dict[str, float] = {}
        self._deaths: deque[_Death] = deque(maxlen=_TOLD)

    def note_page(self, logs: Sequence[StageLog]) -> None:
        """Records that a page has come back, done or failed."""
        for log in logs[-1:]:
            self._pages[log.host_id] += 1
        for log in logs:
            if log.status == StageStatus.OK:
                seconds = max(0.0, (log.end - log.start).total_seconds())
                before = self._seconds.get(log.stage, seconds)
                self._seconds[log.stage] = before + (seconds - before) / _MEAN_OF

    def note_death(self, exit_code: int, pages: int) -> None:
        """Records that a worker process died and is being replaced."""
        if exit_code != RECYCLED:
            self._deaths.append(_Death(when=self._clock.now(), exit_code=exit_code, pages=pages))

    def look(self) -> ClusterState:
        names, host = tuple(stage.name for stage in self._stages), socket.gethostname()
        workers = tuple(
            WorkerState(
                name=name,
                status=report.status.value,
                stages=names,
                message=report.message,
                since=report.since,
                facts={"host": host, "pages": self._pages[name]},
            )
            for name, report in sorted(self._coordinator.reports().items())
        )
        stages = tuple(
            StageState(
                name=stage.name,
                messages=self._broker.length(stage.name),
                workers=len(workers),
                mean_seconds=self._seconds.get(stage.name),
                version=stage.version,
            )
            for stage in self._stages
        )
        return ClusterState(look=Look(stages=stages, workers=workers), problems=tuple(self._problems()))

    def _problems(self) -> Iterator[Problem]:
        if self._trouble():
            yield Problem(
                severity=Severity.CRITICAL,
                about=said("worker_processes"),
                what=said("no_reading", reason=self._trouble()),
            )
        now = self._clock.now()
        late = [death for death in tuple(self._deaths) if (now - death.when).total_seconds() < _TOLD_FOR_SECONDS]
        if late:
            last = late[-1]
            lost = said("in_hand", n=last.pages) if last.pages else ""
            yield Problem(
                severity=Severity.WARNING,
                about=said("worker_processes"),
                what=said("workers_died", n=len(late), end=_end(last), lost=lost, file=str(self._log_file)),
                since=last.when,
            )

    def letters(self) -> Sequence[DeadLetter]:
        """Returns (): a message that cannot be used here fails its page at once."""
        return ()

    def settle(self, numbers: Set[int], *, again: bool) -> int:
        return 0


def _end(death: _Death) -> Message:
    if death.exit_code < 0:
        try:
            return said("died_by_signal", signal=signal.Signals(-death.exit_code).name)
        except ValueError:
            return said("died_by_signal", signal=-death.exit_code)
    return said("died_with_status", status=death.exit_code)
