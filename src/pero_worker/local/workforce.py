"""This machine's worker processes as the workforce of a run."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from pero_worker.clock import SystemClock
from pero_worker.engines.registry import needs_layout
from pero_worker.errors import RequestError
from pero_worker.jobs.beside import layout_of
from pero_worker.jobs.job import OpenWorkforce
from pero_worker.jobs.listener import RunListener
from pero_worker.jobs.outputs import OutputFolder
from pero_worker.jobs.plan import PageTask
from pero_worker.jobs.workforce import DeathListener, PageOutcome, Workforce
from pero_worker.local.machine import OUTPUT_QUEUE, LocalSettings, Machine
from pero_worker.models.pipelines import Pipeline, load_pipeline, pipeline_cache
from pero_worker.models.trust import Judge
from pero_worker.ports import Clock
from pero_worker.request import Payload, Request
from pero_worker.worker.payloads import file_reference

_PAGES_AHEAD = 2


def local_workforce(pipeline: str, settings: LocalSettings, judge: Judge | None = None) -> OpenWorkforce:
    """Returns a function that opens this machine as the workforce for `pipeline`: a bundled one, or a folder or
    archive, which `judge` may refuse.

    Opening it raises `StageError` if there is no such pipeline, or if it is refused.
    """

    @contextmanager
    def opened(folder: OutputFolder, listener: RunListener) -> Iterator[Workforce]:
        loaded = load_pipeline(pipeline, cache=pipeline_cache(), judge=judge)
        yield LocalWorkforce(loaded, settings, folder.worker_log, SystemClock())

    return opened


class LocalWorkforce:
    """`Workforce` of processes on this machine, with a broker and a coordinator in memory."""

    def __init__(self, pipeline: Pipeline, settings: LocalSettings, log_file: Path, clock: Clock) -> None:
        """Starts nothing yet. The processes' output goes to `log_file`."""
        self.pipeline = pipeline.name
        self.version = pipeline.version
        self._stages = tuple(stage.name for stage in pipeline.stages)
        self.wants_layout = needs_layout(pipeline.stages[0].parsed())
        self._settings = settings
        self._clock = clock
        self._machine = Machine(pipeline.stages, settings, log_file, clock)
        self._workers = 0

    def start(self, pages: int, on_death: DeathListener) -> int:
        self._workers = self._machine.start(pages, on_death)
        return self._workers

    def wants_more(self) -> bool:
        return self._machine.broker.length(self._stages[0]) < _PAGES_AHEAD * self._workers

    def hand_in(self, page_id: str, task: PageTask) -> None:
        reference = file_reference(task.path, task.frame, self._settings.dpi)
        layout = layout_of(task) if self.wants_layout else None
        image = Payload(name=task.image_name, reference=reference)
        request = Request(
            uuid=page_id,
            page_uuid=page_id,
            stages=(*self._stages, OUTPUT_QUEUE),
            results=(image, layout) if layout else (image,),
            start_time=self._clock.now(),
        )
        self._machine.send(request)

    def outcomes(self, timeout: float) -> Sequence[PageOutcome]:
        self._machine.check()
        return [
            PageOutcome(page_id=ended.page_id, request=ended.request, settle=ended.settle)
            if ended.request is not None
            else PageOutcome(page_id=ended.page_id, error_class=RequestError.failure_class, error=ended.reason)
            for ended in self._machine.outcomes(timeout, 1)
        ]

    def stop(self, finished: bool) -> None:
        self._machine.stop()
