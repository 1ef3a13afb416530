"""The gateway's own worker processes: one machine, no servers."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from pero_worker.brokers.memory import MemoryBroker
from pero_worker.coordinators.memory import MemoryCoordinator
from pero_worker.errors import StageError, UsageError
from pero_worker.gateway.backend import Outcome, ServedEngine, Work
from pero_worker.gateway.local_overview import LocalOverview
from pero_worker.local.devices import choose_devices
from pero_worker.local.process import ProcessSettings
from pero_worker.local.worker_processes import WorkerProcesses
from pero_worker.models.pipelines import Pipeline
from pero_worker.ports import Clock
from pero_worker.request import Payload, Request
from pero_worker.wire.requests import decode_request, encode_request
from pero_worker.worker.payloads import file_reference

_OUTPUT_QUEUE = "out"
_DPI = 300


@dataclass(frozen=True, slots=True, kw_only=True)
class LocalBackendSettings:
    """`device` and `jobs` as for `choose_devices`; `time_limit` in seconds, 0 = none."""

    device: str = "auto"
    jobs: int | None = None
    max_pixels: int
    """Larger pictures are refused."""
    max_attempts: int = 3
    """How often a page is tried."""
    time_limit: float = 0.0
    log_file: Path
    """Where workers write what they say."""


class LocalBackend:
    """`PageBackend` of processes on this machine, which hold the stages of all `pipelines`."""

    carried = False

    def __init__(self, pipelines: Sequence[Pipeline], settings: LocalBackendSettings, clock: Clock) -> None:
        stages = [stage for pipeline in pipelines for stage in pipeline.stages]
        names = [stage.name for stage in stages]
        if len(set(names)) != len(names):
            raise UsageError("two of the pipelines have a stage of the same name; serve them with two gateways")
        self._pipelines = pipelines
        self._settings = settings
        self._clock = clock
        self._broker = MemoryBroker((*names, _OUTPUT_QUEUE))
        self._coordinator = MemoryCoordinator(stages)
        self.overview = LocalOverview(
            self._broker, self._coordinator, stages, settings.log_file, clock, lambda: self._trouble
        )
        self._processes: WorkerProcesses | None = None
        self._workers = 0
        self._sent: set[str] = set()
        self._trouble = ""

    def start(self) -> Sequence[ServedEngine]:
        settings = self._settings
        if self._pipelines:
            devices = choose_devices(settings.device, settings.jobs, sys.maxsize)
            self._workers = len(devices)
            processes = [
                ProcessSettings(
                    name=f"local-{number}",
                    device=device,
                    max_pixels=settings.max_pixels,
                    max_attempts=settings.max_attempts,
                    time_limit=settings.time_limit,
                    log_file=settings.log_file.absolute(),
                )
                for number, device in enumerate(devices, 1)
            ]
            self._processes = WorkerProcesses(
                self._broker, self._coordinator, processes, self._clock, self.overview.note_death
            )
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
        """One page in each worker's hand, and one more that waits for the first to be free."""
        if not self._workers or self._trouble:
            return 0
        return max(0, self._workers + 1 - len(self._sent))

    def send(self, work: Work) -> None:
        request = Request(
            uuid=work.job,
            page_uuid=work.page,
            stages=(*work.stages, _OUTPUT_QUEUE),
            results=(Payload(name=work.name, reference=file_reference(work.path, work.frame, _DPI)),),
            start_time=self._clock.now(),
            job=work.job,
            source=work.source,
        )
        self._broker.publish(work.stages[0], encode_request(request), work.priority)
        self._sent.add(work.page)

    def outcomes(self, timeout: float) -> Sequence[Outcome]:
        try:
            if self._processes and not self._trouble:
                self._processes.check()
        except StageError as error:
            self._trouble = str(error)
        found: list[Outcome] = []
        while (delivery := self._broker.get((_OUTPUT_QUEUE,), "gateway", 0 if found else timeout)) is not None:
            request = decode_request(delivery.body)
            self._broker.ack(delivery)
            self.overview.note_page(request.logs)
            found.append(Outcome(page=request.page_uuid, request=request))
        for message in self._broker.take_set_aside():
            found.append(Outcome(page=decode_request(message.body).page_uuid, error=message.reason))
        self._sent.difference_update(outcome.page for outcome in found)
        return found

    def sent(self) -> Sequence[str]:
        return tuple(self._sent)

    def drop(self, pages: Sequence[str]) -> None:
        """They come back by themselves: at most a page a worker is done in vain, as no more is ever handed over."""

    def lost(self) -> None:
        """What dies with a worker comes back as failed."""

    def begin_anew(self) -> None:
        """There is nothing that could be."""

    def trouble(self) -> str:
        return self._trouble

    def close(self) -> None:
        if self._processes:
            self._processes.stop()
