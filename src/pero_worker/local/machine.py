"""This machine as a cluster of its own: worker processes behind a broker and a coordinator in memory."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from pero_worker.brokers.memory import MemoryBroker
from pero_worker.coordinators.memory import MemoryCoordinator
from pero_worker.inputs.bounds import DEFAULT_MAX_PIXELS
from pero_worker.jobs.workforce import DeathListener
from pero_worker.local.devices import choose_devices
from pero_worker.local.process import ProcessSettings
from pero_worker.local.worker_processes import WorkerProcesses
from pero_worker.ports import Clock
from pero_worker.request import Request
from pero_worker.stage import Stage
from pero_worker.wire.requests import decode_request, encode_request

OUTPUT_QUEUE = "out"


@dataclass(frozen=True, slots=True, kw_only=True)
class LocalSettings:
    """Settings for reading on this machine."""

    dpi: int = 300
    """Resolution at which PDF pages that are not scans are read."""
    device: str = "auto"
    """The device to use, as for `choose_devices`."""
    jobs: int | None = None
    """Number of worker processes; None: one per core or GPU."""
    max_pixels: int = DEFAULT_MAX_PIXELS
    """Pixels of the largest page; larger ones are refused before they are decoded."""
    max_attempts: int = 3
    """Tries per page before it is given up."""
    time_limit: float = 0
    """Seconds that a page may take in a stage that sets no limit of its own; 0: no limit."""
    rotate: bool = True
    """Whether pages that lie sideways or upside down are turned."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """The outcome of a page."""

    page_id: str
    """The page's id."""
    request: Request | None = None
    """The request as its last stage left it; None if its message was unusable."""
    reason: str = ""
    """Why the message was unusable."""
    settle: Callable[[], None] = lambda: None
    """Called once the outcome has been recorded."""


class Machine:
    """Worker processes for `stages`."""

    def __init__(self, stages: Sequence[Stage], settings: LocalSettings, log_file: Path, clock: Clock) -> None:
        """Starts nothing yet. The processes' output goes to `log_file`."""
        self.broker = MemoryBroker((*(stage.name for stage in stages), OUTPUT_QUEUE))
        self.coordinator = MemoryCoordinator(stages, clock)
        self._settings = settings
        self._log_file = log_file.absolute()
        self._clock = clock
        self._processes: WorkerProcesses | None = None

    def start(self, pages: int, on_death: DeathListener) -> int:
        """Starts as many processes as are useful for `pages`. Returns their number."""
        devices = choose_devices(self._settings.device, self._settings.jobs, pages)
        if pages:
            processes = [self._process(number, device) for number, device in enumerate(devices, 1)]
            self._processes = WorkerProcesses(self.broker, self.coordinator, processes, self._clock, on_death)
        return len(devices)

    def check(self) -> None:
        """Replaces processes that died. Raises `StageError` if no stage can be loaded or the installation is broken."""
        if self._processes:
            self._processes.check()

    def send(self, request: Request, priority: int = 0) -> None:
        """Sends a request to the first of its stages; the last one is OUTPUT_QUEUE."""
        self.broker.publish(request.stage, encode_request(request), priority)

    def outcomes(self, timeout: float, most: int) -> Sequence[Ended]:
        """Returns at most `most` pages that arrived within `timeout` seconds, and the messages that nobody could
        use."""
        found: list[Ended] = []
        while len(found) < most:
            delivery = self.broker.get((OUTPUT_QUEUE,), "collector", 0 if found else timeout)
            if delivery is None:
                break
            request = decode_request(delivery.body)
            found.append(Ended(page_id=request.page_uuid, request=request, settle=partial(self.broker.ack, delivery)))
        for message in self.broker.take_set_aside():
            found.append(Ended(page_id=decode_request(message.body).page_uuid, reason=message.reason))
        return found

    def stop(self) -> None:
        """Ends the processes."""
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
