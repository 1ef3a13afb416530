"""For the tests of people who write engines and formats, and for our own: time that stands still, a broker in memory,
an engine that fails when it is told to, and a page through an engine as a worker takes it."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

from pero_worker.brokers.memory import MemoryBroker
from pero_worker.inputs.bounds import DEFAULT_MAX_PIXELS
from pero_worker.page import Page
from pero_worker.ports import Engine
from pero_worker.request import Payload
from pero_worker.stage import Stage
from pero_worker.work import EngineInput, EngineOutput
from pero_worker.worker.payloads import ImageReader, file_reference
from pero_worker.worker.single import process_page
from pero_worker.worker.steps import LoadedStage

__all__ = ["FaultyEngine", "MemoryBroker", "StandingClock", "run_engine"]


class StandingClock:
    """A `ports.Clock` that stands still until told. `seconds` is how far it has gone since `start`."""

    def __init__(self, start: datetime = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)) -> None:
        self.start = start
        self.seconds = 0.0

    def now(self) -> datetime:
        return self.start + timedelta(seconds=self.seconds)

    def monotonic(self) -> float:
        return self.seconds

    def sleep(self, seconds: float) -> None:
        self.seconds += seconds


@dataclass(slots=True, kw_only=True)
class FaultyEngine:
    """An `Engine` that raises one of `faults` after the other, and then gives `page` out, or nothing new."""

    faults: list[BaseException] = field(default_factory=list)
    """What it still raises; for instance PageError, TransientError, or an error that engines must not raise."""
    page: Page | None = None
    """What it makes of every page."""
    needs_image: bool = False
    """Whether it wants the image."""
    description: str = "faulty 1.0"
    """Name and version."""
    seen: list[EngineInput] = field(default_factory=list)
    """What it was given."""
    closed: bool = False
    """Whether it was given up."""

    def process(self, work: EngineInput) -> EngineOutput:
        self.seen.append(work)
        if self.faults:
            raise self.faults.pop(0)
        return EngineOutput(page=self.page)

    def close(self) -> None:
        self.closed = True


def run_engine(
    path: str | Path, *engines: Engine, page: Page | None = None, index: int = 0, dpi: int = 300
) -> Page | None:
    """What a worker makes of page `index` of the file at `path` with these engines, one after the other.

    `page`: what stages before found. None: no engine found anything. Results go through PAGE XML as they do on their
    way between stages, so that what cannot be written is found here. PageError: an engine failed, whatever it raised;
    its text names the reason. TransientError: an engine raised it, and the page would be tried again.
    """
    file = Path(path)
    stages = [
        LoadedStage(stage=Stage(name=f"stage{number}", config="", version="1"), engine=engine)
        for number, engine in enumerate(engines, 1)
    ]
    image = Payload(name=file.name, reference=file_reference(file, index, dpi))
    images = ImageReader(max_pixels=DEFAULT_MAX_PIXELS, local_files=True)
    return process_page(stages, image, images, StandingClock(), page)
