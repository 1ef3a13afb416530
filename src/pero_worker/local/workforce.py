"""Worker processes of this machine as the workforce of a run."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from pero_worker.brokers.memory import MemoryBroker
from pero_worker.clock import SystemClock
from pero_worker.coordinators.memory import MemoryCoordinator
from pero_worker.engines.registry import needs_layout
from pero_worker.errors import RequestError
from pero_worker.inputs.bounds import DEFAULT_MAX_PIXELS
from pero_worker.jobs.beside import layout_of
from pero_worker.jobs.job import OpenWorkforce
from pero_worker.jobs.listener import RunListener
from pero_worker.jobs.outputs import OutputFolder
from pero_worker.jobs.plan import PageTask
from pero_worker.jobs.workforce import DeathListener, PageOutcome, Workforce
from pero_worker.local.devices import choose_devices
from pero_worker.local.process import ProcessSettings
from pero_worker.local.worker_processes import WorkerProcesses
from pero_worker.models.pipelines import Pipeline, load_pipeline, pipeline_cache
from pero_worker.models.trust import Judge
from pero_worker.ports import Clock
from pero_worker.request import Payload, Request
from pero_worker.wire.requests import decode_request, encode_request
from pero_worker.worker.payloads import file_reference

OUTPUT_QUEUE = "out"
_PAGES_AHEAD = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class LocalSettings:
    """How this machine works."""

    dpi: int = 300
    """Resolution at which PDF pages are read that are not scans."""
    device: str = "auto"
    """As for `choose_devices`."""
    jobs: int | None = None
    """Worker processes; None: one per core or GPU."""
    max_pixels: int = DEFAULT_MAX_PIXELS
    """Larger pages are refused before they are decoded."""
    max_attempts: int = 3
    """How often a page is tried."""
    time_limit: float = 0
    """Seconds that a page may take in a stage that sets no limit of its own; 0: no limit."""
    rotate: bool = True
    """Whether pages that lie sideways or upside down are turned."""


def local_workforce(pipeline: str, settings: LocalSettings, judge: Judge | None = None) -> OpenWorkforce:
    """This machine, doing `pipeline`: a bundled one, or a folder or archive, which `judge` may refuse. StageError, when
    it is opened: there is no such pipeline, or it is refused."""

    @contextmanager
    def opened(folder: OutputFolder, listener: RunListener) -> Iterator[Workforce]:
        loaded = load_pipeline(pipeline, cache=pipeline_cache(), judge=judge)
        yield LocalWorkforce(loaded, settings, folder.worker_log, SystemClock())

    return opened


class LocalWorkforce:
    """`Workforce` of processes on this machine, behind an in-memory broker and coordinator."""

    def __init__(self, pipeline: Pipeline, settings: LocalSettings, log_file: Path, clock: Clock) -> None:
        """What the processes print goes to `log_file`."""
        self.pipeline = pipeline.name
        self.version = pipeline.version
        self._stages = tuple(stage.name for stage in pipeline.stages)
        self._wants_layout = needs_layout(pipeline.stages[0].parsed())
        self._settings = settings
        self._log_file = log_file.absolute()
        self._clock = clock
        self._broker = MemoryBroker((*self._stages, OUTPUT_QUEUE))
        self._coordinator = MemoryCoordinator(pipeline.stages)
        self._processes: WorkerProcesses | None = None
        self._workers = 0

    def start(self, pages: int, on_death: DeathListener) -> int:
        devices = choose_devices(self._settings.device, self._settings.jobs, pages)
        self._workers = len(devices)
        if pages:
            processes = [self._process(number, device) for number, device in enumerate(devices, 1)]
            self._processes = WorkerProcesses(self._broker, self._coordinator, processes, self._clock, on_death)
        return self._workers

    def wants_more(self) -> bool:
        return self._broker.length(self._stages[0]) < _PAGES_AHEAD * self._workers

    def hand_in(self, page_id: str, task: PageTask) -> None:
        reference = file_reference(task.path, task.frame, self._settings.dpi)
        layout = layout_of(task) if self._wants_layout else None
        image = Payload(name=task.image_name, reference=reference)
        request = Request(
            uuid=page_id,
            page_uuid=page_id,
            stages=(*self._stages, OUTPUT_QUEUE),
            results=(image, layout) if layout else (image,),
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
            found.append(
                PageOutcome(page_id=request.page_uuid, request=request, settle=lambda: self._broker.ack(delivery))
            )
        for message in self._broker.take_set_aside():
            page_id = decode_request(message.body).page_uuid
            found.append(PageOutcome(page_id=page_id, error_class=RequestError.failure_class, error=message.reason))
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
            rotate=settings.rotate,
            log_file=self._log_file,
        )
