"""`pero-worker ocr`: feeds pages to the farm and collects results until every page is settled."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import pero_worker
from pero_worker.brokers.memory import MemoryBroker
from pero_worker.coordinators.memory import MemoryCoordinator
from pero_worker.errors import PageError, RequestError
from pero_worker.formats.discover import SourceDocument
from pero_worker.local.collect import Collector
from pero_worker.local.devices import choose_devices
from pero_worker.local.farm import Farm
from pero_worker.local.journal import Journal, PageRecord, PageStatus
from pero_worker.local.outputs import OutputFolder
from pero_worker.local.plan import PageTask, PlannedDocument, plan
from pero_worker.local.process import ProcessSettings
from pero_worker.models.pipelines import Pipeline
from pero_worker.ports import Clock
from pero_worker.request import Payload, Request
from pero_worker.wire.requests import decode_request, encode_request
from pero_worker.worker.payloads import file_reference

OUTPUT_QUEUE = "out"
_PAGES_AHEAD = 2
_POLL = 0.1


@dataclass(frozen=True, slots=True)
class RunOptions:
    formats: tuple[str, ...]
    dpi: int
    device: str
    jobs: int | None
    max_pixels: int
    max_attempts: int = 3


class Observer(Protocol):
    """Is told what happens; prints it, or not."""

    def opened(self, documents: int, total: int) -> None: ...

    def planned(self, pages: int, finished_before: int, workers: int) -> None: ...

    def page_settled(self, record: PageRecord) -> None: ...

    def worker_died(self, exit_code: int, pages: int) -> None: ...

    def binding(self, documents: int) -> None: ...


@dataclass(slots=True)
class Summary:
    """What a run came to; `failed` holds the pages' records, `unbound` (document, reason) of PDFs not made."""

    done: int = 0
    finished_before: int = 0
    failed: list[PageRecord] = field(default_factory=list)
    unbound: list[tuple[str, str]] = field(default_factory=list)
    seconds: float = 0.0
    interrupted: bool = False


def run(
    documents: Sequence[SourceDocument],
    pipeline: Pipeline,
    folder: OutputFolder,
    options: RunOptions,
    observer: Observer,
    clock: Clock,
    new_id: Callable[[], str] = lambda: uuid.uuid4().hex,
) -> Summary:
    """Does every page that an earlier run has not done. Ctrl-C ends the run within two seconds: the summary then
    says interrupted, and what was finished stays. StageError: the pipeline cannot be loaded."""
    creator = f"pero-worker {pero_worker.__version__}"
    collector = Collector(folder, options.formats, clock, creator)
    journal = Journal(folder)
    job = _Run(pipeline, folder, options, observer, clock, new_id, collector, journal)
    begun = clock.monotonic()
    try:
        job.plan(documents)
        job.recognise()
        job.finish()
    except KeyboardInterrupt:
        job.abandon()
    finally:
        journal.close()
        job.summary.seconds = clock.monotonic() - begun
    return job.summary


class _Run:
    def __init__(
        self,
        pipeline: Pipeline,
        folder: OutputFolder,
        options: RunOptions,
        observer: Observer,
        clock: Clock,
        new_id: Callable[[], str],
        collector: Collector,
        journal: Journal,
    ) -> None:
        self._pipeline = pipeline
        self._folder = folder
        self._options = options
        self._observer = observer
        self._clock = clock
        self._new_id = new_id
        self._collector = collector
        self._journal = journal
        self._stages = tuple(stage.name for stage in pipeline.stages)
        self._to_do: list[PageTask] = []
        self._open: dict[str, PlannedDocument] = {}
        self._unsettled: dict[str, int] = {}
        self._failed: set[str] = set()
        self._binder = ThreadPoolExecutor(1, "binder")
        self._bindings: list[tuple[str, Future[None]]] = []
        self.summary = Summary()

    def plan(self, documents: Sequence[SourceDocument]) -> None:
        for number, planned in enumerate(plan(tuple(documents), self._pipeline, self._options.dpi), 1):
            self._observer.opened(number, len(documents))
            if planned.error:
                self._settle(self._collector.failure(planned.pages[0], PageError.failure_class, planned.error))
                continue
            page_formats = self._collector.page_formats
            missing = [p for p in planned.pages if not self._journal.finished(p.name, p.fingerprint, page_formats)]
            self.summary.finished_before += len(planned.pages) - len(missing)
            self._to_do.extend(missing)
            self._open[planned.document.name] = planned
            self._unsettled[planned.document.name] = len(missing)
            if not missing:
                self._bind(planned)

    def recognise(self) -> None:
        devices = choose_devices(self._options.device, self._options.jobs, len(self._to_do))
        self._observer.planned(len(self._to_do), self.summary.finished_before, len(devices))
        if not self._to_do:
            return
        broker = MemoryBroker((*self._stages, OUTPUT_QUEUE))
        coordinator = MemoryCoordinator(self._pipeline.stages)
        farm = Farm(broker, coordinator, [self._process_settings(i, device) for i, device in enumerate(devices, 1)])
        try:
            waiting = iter(self._to_do)
            in_farm: dict[str, PageTask] = {}
            self._feed(broker, waiting, in_farm, len(devices))
            while in_farm:
                farm.check(self._observer.worker_died)
                delivery = broker.get((OUTPUT_QUEUE,), "collector", _POLL)
                if delivery is not None:
                    request = decode_request(delivery.body)
                    task = in_farm.pop(request.page_uuid)
                    self._settle(self._collector.collect(task, request), task)
                    broker.ack(delivery)
                for letter in broker.take_dead_letters():
                    task = in_farm.pop(decode_request(letter.body).page_uuid)
                    self._settle(self._collector.failure(task, RequestError.failure_class, letter.reason), task)
                self._feed(broker, waiting, in_farm, len(devices))
        finally:
            farm.stop()

    def finish(self) -> None:
        """Waits for the PDFs."""
        self._observer.binding(sum(not future.done() for _, future in self._bindings))
        for name, future in self._bindings:
            try:
                future.result()
            except PageError as error:
                self.summary.unbound.append((name, str(error)))
        self._binder.shutdown()

    def abandon(self) -> None:
        """Ctrl-C: PDFs not yet begun are left to the next run."""
        self.summary.interrupted = True
        self._binder.shutdown(wait=False, cancel_futures=True)

    def _feed(
        self, broker: MemoryBroker, waiting: Iterator[PageTask], in_farm: dict[str, PageTask], workers: int
    ) -> None:
        """Keeps a few pages waiting and no more: a request costs memory."""
        first = self._stages[0]
        while broker.length(first) < _PAGES_AHEAD * workers:
            task = next(waiting, None)
            if task is None:
                return
            page_id = self._new_id()
            in_farm[page_id] = task
            reference = file_reference(task.document.path, task.index, self._options.dpi)
            request = Request(
                uuid=self._new_id(),
                page_uuid=page_id,
                stages=(*self._stages, OUTPUT_QUEUE),
                results=(Payload(task.image_name, reference=reference),),
                start_time=self._clock.now(),
            )
            broker.publish(first, encode_request(request))

    def _settle(self, record: PageRecord, task: PageTask | None = None) -> None:
        self._journal.add(record)
        if record.status is PageStatus.DONE:
            self.summary.done += 1
        else:
            self.summary.failed.append(record)
            self._failed.add(record.page)
        self._observer.page_settled(record)
        if task is not None:
            name = task.document.name
            self._unsettled[name] -= 1
            if not self._unsettled[name]:
                self._bind(self._open[name])

    def _bind(self, planned: PlannedDocument) -> None:
        del self._open[planned.document.name]
        if self._collector.wants_pdf and self._collector.pdf_is_stale(planned):
            failed = frozenset(task.name for task in planned.pages if task.name in self._failed)
            future = self._binder.submit(self._collector.bind, planned, failed, self._options.dpi)
            self._bindings.append((planned.document.name, future))

    def _process_settings(self, number: int, device: str) -> ProcessSettings:
        return ProcessSettings(
            name=f"local-{number}",
            device=device,
            max_pixels=self._options.max_pixels,
            max_attempts=self._options.max_attempts,
            log_file=Path(self._folder.worker_log).absolute(),
        )
