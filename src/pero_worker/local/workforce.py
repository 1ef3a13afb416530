"""Worker processes of this machine as the workforce of a run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from pero_worker.brokers.memory import MemoryBroker
from pero_worker.coordinators.memory import MemoryCoordinator
from pero_worker.errors import RequestError
from pero_worker.jobs.plan import PageTask
from pero_worker.jobs.workforce import DeathListener, PageOutcome
from pero_worker.local.devices import choose_devices
from pero_worker.local.process import ProcessSettings
from pero_worker.local.worker_processes import WorkerProcesses
from pero_worker.models.pipelines import Pipeline
from pero_worker.ports import Clock
from pero_worker.request import Payload, Request
from pero_worker.wire.requests import decode_request, encode_request
from pero_worker.worker.payloads import file_reference

OUTPUT_QUEUE = "out"
_PAGES_AHEAD = 2


@dataclass(frozen=True, slots=True)
class LocalSettings:
    """`device` and `jobs` as for `choose_devices`; `time_limit` in seconds, 0 = none."""

    dpi: int
    device: str
    jobs: int | None
    max_pixels: int
    max_attempts: int
    time_limit: float
    log_file: Path


class LocalWorkforce:
    """`Workforce` of processes on this machine, behind an in-memory broker and coordinator."""

    def __init__(self, pipeline: Pipeline, settings: LocalSettings, clock: Clock) -> None:
        self._stages = tuple(stage.name for stage in pipeline.stages)
        self._settings = settings
        self._clock = clock
        self._broker = MemoryBroker((*self._stages, OUTPUT_QUEUE))
        self._coordinator = MemoryCoordinator(pipeline.stages)
        self._processes: WorkerProcesses | None = None
        self._workers = 0

    def start(self, pages: int, gone: DeathListener) -> int:
        devices = choose_devices(self._settings.device, self._settings.jobs, pages)
        self._workers = len(devices)
        if pages:
            processes = [self._process(number, device) for number, device in enumerate(devices, 1)]
            self._processes = WorkerProcesses(self._broker, self._coordinator, processes, self._clock, gone)
        return self._workers

    def wants_more(self) -> bool:
        return self._broker.length(self._stages[0]) < _PAGES_AHEAD * self._workers

    def hand_in(self, page_id: str, task: PageTask) -> None:
        reference = file_reference(task.document.path, task.index, self._settings.dpi)
        request = Request(
            uuid=page_id,
            page_uuid=page_id,
            stages=(*self._stages, OUTPUT_QUEUE),
            results=(Payload(task.image_name, reference=reference),),
            start_time=self._clock.now(),
        )
        self._broker.publish(self._stages[0], encode_request(request))

    def outcomes(self, timeout: float) -> Sequence[PageOutcome]:
        if self._processes:
            self._processes.check()
        found: list[PageOutcome] = []
        delivery = self._broker.get((OUTPUT_QUEUE,), "collector", timeout)
        if delivery is not None:
            request = decode_request(delivery.body)
            found.append(PageOutcome(request.page_uuid, request, settle=lambda: self._broker.ack(delivery)))
        for letter in self._broker.take_dead_letters():
            page_id = decode_request(letter.body).page_uuid
            found.append(PageOutcome(page_id, error_class=RequestError.failure_class, error=letter.reason))
        return found

    def stop(self, finished: bool) -> None:
        if self._processes:
            self._processes.stop()

    def _process(self, number: int, device: str) -> ProcessSettings:
        settings = self._settings
        return ProcessSettings(
            name=f"local-{number}",
            device=device,
            max_pixels=settings.max_pixels,
            max_attempts=settings.max_attempts,
            time_limit=settings.time_limit,
            log_file=settings.log_file.absolute(),
        )
