"""The gateway's own worker processes, on one machine and without servers."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from pero_worker.errors import StageError, UsageError
from pero_worker.gateway.backend import ServedEngine, Work, WorkOutcome
from pero_worker.gateway.local_overview import LocalOverview
from pero_worker.local.machine import OUTPUT_QUEUE, LocalSettings, Machine
from pero_worker.models.pipelines import Pipeline
from pero_worker.ports import Clock
from pero_worker.request import Payload, Request
from pero_worker.worker.payloads import file_reference

_TAKEN_AT_ONCE = 50


class LocalBackend:
    """The `PageBackend` of processes on this machine, which hold the stages of all `pipelines`."""

    carried = False

    def __init__(self, pipelines: Sequence[Pipeline], settings: LocalSettings, log_file: Path, clock: Clock) -> None:
        """The output of the processes goes to `log_file`."""
        stages = [stage for pipeline in pipelines for stage in pipeline.stages]
        names = [stage.name for stage in stages]
        if len(set(names)) != len(names):
            raise UsageError("two of the pipelines have a stage of the same name; serve them with two gateways")
        self._pipelines = pipelines
        self._dpi = settings.dpi
        self._clock = clock
        self._machine = machine = Machine(stages, settings, log_file, clock)
        self.overview = LocalOverview(
            machine.broker, machine.coordinator, stages, log_file, clock, lambda: self._trouble
        )
        self._workers = 0
        self._sent: set[str] = set()
        self._trouble = ""

    def start(self) -> Sequence[ServedEngine]:
        if self._pipelines:
            self._workers = self._machine.start(sys.maxsize, self.overview.note_death)
        return [
            ServedEngine(
                name=pipeline.name,
                version=pipeline.version,
                stages=tuple(stage.name for stage in pipeline.stages),
                description=pipeline.description,
            )
            for pipeline in self._pipelines
        ]

    def room(self) -> int:
        """Allows one page per worker, and one more that waits for the first free worker."""
        if not self._workers or self._trouble:
            return 0
        return max(0, self._workers + 1 - len(self._sent))

    def send(self, work: Work) -> None:
        request = Request(
            uuid=work.job,
            page_uuid=work.page,
            stages=(*work.stages, OUTPUT_QUEUE),
            results=(Payload(name=work.name, reference=file_reference(work.path, work.frame, self._dpi)),),
            start_time=self._clock.now(),
            job=work.job,
            source=work.source,
        )
        self._machine.send(request, work.priority)
        self._sent.add(work.page)

    def outcomes(self, timeout: float) -> Sequence[WorkOutcome]:
        try:
            if not self._trouble:
                self._machine.check()
        except StageError as error:
            self._trouble = str(error)
        ended = self._machine.outcomes(timeout, _TAKEN_AT_ONCE)
        for one in ended:
            if one.request is not None:
                self.overview.note_page(one.request.logs)
        found = [
            WorkOutcome(page=one.page_id, request=one.request, error=one.reason, settle=one.settle) for one in ended
        ]
        self._sent.difference_update(outcome.page for outcome in found)
        return found

    def sent(self) -> Sequence[str]:
        return tuple(self._sent)

    def drop(self, pages: Sequence[str]) -> None:
        """Does nothing: the pages come back by themselves. At most one page per worker is done in vain, as no more is
        handed over."""

    def lost(self) -> None:
        """Returns None: pages that die with a worker come back as failed."""

    def begin_anew(self) -> None:
        """Does nothing: there is no carrier that could lose pages."""

    def trouble(self) -> str:
        return self._trouble

    def close(self) -> None:
        self._machine.stop()
