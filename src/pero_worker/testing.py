"""Tools for testing engines and formats, which our own tests use too: a clock that stands still, a broker in memory, an
engine that fails on demand, and a way to run a page through engines as a worker does."""

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
    """A `ports.Clock` that moves only when told to. `seconds` is how far it has advanced since `start`."""

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
    """An `Engine` that raises `faults`, one per call, and then returns `page`, or nothing new."""

    faults: list[BaseException] = field(default_factory=list)
    """Errors still to be raised, such as PageError, TransientError, or an error that engines must not raise."""
    page: Page | None = None
    """Result for every page."""
    needs_image: bool = False
    """Whether the engine wants the image."""
    description: str = "faulty 1.0"
    """The engine's name and version."""
    seen: list[EngineInput] = field(default_factory=list)
    """Inputs received so far."""
    closed: bool = False
    """Whether the engine has been closed."""

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
    """Returns what a worker makes of page `index` of the file at `path` with these engines, one after the other.

    `page` is what earlier stages found. The result is None if no engine found anything. Results go through PAGE XML, as
    they do between stages, so that anything that cannot be written shows up here. Raises `PageError` if an engine
    failed, whatever it raised (the text names the reason), and `TransientError` if an engine raised one; a worker would
    then try the page again.
    """
    file = Path(path)
    stages = [
        LoadedStage(stage=Stage(name=f"stage{number}", config="", version="1"), engine=engine)
        for number, engine in enumerate(engines, 1)
    ]
    image = Payload(name=file.name, reference=file_reference(file, index, dpi))
    images = ImageReader(max_pixels=DEFAULT_MAX_PIXELS, local_files=True)
    return process_page(stages, image, images, StandingClock(), page)
