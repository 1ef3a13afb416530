"""One page through one stage: the only place where an engine meets a request."""

from __future__ import annotations

import traceback
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

import pero_worker
from pero_worker.errors import PageError, TransientError
from pero_worker.names import counted
from pero_worker.ports import Clock, Engine, Payloads
from pero_worker.request import Payload, Request, StageLog, StageStatus
from pero_worker.stage import Stage
from pero_worker.work import EngineInput
from pero_worker.worker.energy import EnergyMeter, NoMeter
from pero_worker.worker.inline import InlinePayloads
from pero_worker.worker.payloads import ImageReader, is_image, parts_of, size_of, with_results

if TYPE_CHECKING:
    from pero_worker.inputs.images import PageScan


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadedStage:
    """A stage that this worker holds ready."""

    stage: Stage
    """The stage, as it was loaded."""
    engine: Engine
    """The engine, ready to work."""
    time_limit: float = 0.0
    """Seconds that a page may take; 0 = no limit."""


@dataclass(slots=True, kw_only=True)
class PageInHand:
    """A request while a worker has it."""

    request: Request
    """The request, as its last stage left it."""
    deaths: int = 0
    """Workers that died on it without reporting anything."""
    scan: PageScan | None = field(default=None, repr=False)
    """The decoded image, kept from stage to stage."""
    brought: dict[str, Payload] = field(default_factory=dict, repr=False)
    """Payloads that were fetched, by reference."""
    problem: PageError | None = None
    """Why a payload could not be fetched."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Moment:
    """When something began."""

    time: datetime
    """Date and time."""
    monotonic: float
    """Seconds on the clock that cannot be set."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StageRunner:
    """Runs stages on pages."""

    host: str
    """The worker's name, for the log of each page."""
    images: ImageReader
    """Decodes a page's image, once for all its stages."""
    clock: Clock
    """Times each phase."""
    max_attempts: int = 3
    """Attempts at a page in one stage before it is given up."""
    rotate: bool = True
    """Whether pages that lie sideways or upside down are turned for the engine."""
    energy: EnergyMeter = field(default_factory=NoMeter)
    """Measures the energy that a page takes."""
    payloads: Payloads = field(default_factory=InlinePayloads)
    """Where to find contents that did not come with the message."""

    def bring(self, page: PageInHand, loaded: LoadedStage) -> None:
        """Fetches what the stage needs of the page, so that `run` need not and no engine time is lost. Raises
        `TransientError` if something is unavailable."""
        for payload in page.request.results:
            if not payload.reference or payload.reference in page.brought or not needs(loaded, page, payload):
                continue
            try:
                page.brought[payload.reference] = self.payloads.bring(payload)
            except PageError as error:
                page.problem = error
                return

    def run(self, page: PageInHand, loaded: LoadedStage) -> Request:
        """Returns the request after its stage: advanced, to be retried, or given up. Lets `TransientError` through."""
        start, counters = self._moment(), self.energy.begin()
        try:
            results, seconds = self._process(page, loaded.engine)
        except TransientError:
            raise
        except PageError as error:
            used = self.energy.joules_since(counters)
            return self._after_failure(page, loaded, start, str(error), permanent=error.permanent, energy=used)
        except MemoryError:
            return self._after_failure(page, loaded, start, "out of memory on this page", permanent=True)
        except Exception as error:  # an engine is a plugin: whatever it raises is this page's failure
            text = f"{loaded.engine.description} raised {type(error).__name__}: {error}\n{traceback.format_exc()}"
            return self._after_failure(page, loaded, start, text, energy=self.energy.joules_since(counters))
        total = self.clock.monotonic() - start.monotonic
        used = self.energy.joules_since(counters)
        log = self._log(loaded, start, attempts_of(page), seconds={**seconds, "total": total}, energy=used)
        return page.request.advanced(results, log)

    def give_up(self, page: PageInHand, loaded: LoadedStage) -> Request:
        """Returns the request, failed without another attempt because its worker died trying it."""
        attempts = attempts_of(page) - 1
        tried, died = counted(attempts, "attempt"), counted(page.deaths, "time")
        reason = f"given up after {tried}: the worker process died on this page {died}"
        return page.request.given_up(self._log(loaded, self._moment(), attempts, failure=reason))

    def unable(self, page: PageInHand, loaded: LoadedStage, reason: str) -> Request:
        """Returns the request, failed without another attempt for `reason`."""
        return page.request.given_up(self._log(loaded, self._moment(), attempts_of(page), failure=reason))

    def take_back(self, page: PageInHand) -> Request:
        """Returns the request, not processed because its job was cancelled."""
        return page.request.taken_back(self.host, self.clock.now())

    def too_slow(self, page: PageInHand, loaded: LoadedStage) -> Request:
        """Returns the request after an attempt that took longer than the stage allows."""
        reason = f"the page took longer than {loaded.time_limit:g} s, the time limit of stage {loaded.stage.name}"
        return self._after_failure(page, loaded, self._moment(), reason)

    def _moment(self) -> _Moment:
        return _Moment(time=self.clock.now(), monotonic=self.clock.monotonic())

    def _process(self, page: PageInHand, engine: Engine) -> tuple[tuple[Payload, ...], Mapping[str, float]]:
        # Imported here, as below: without page readers, a worker waiting for its first page takes half the memory.
        from pero_worker.formats import pagexml  # noqa: PLC0415

        if page.problem is not None:
            raise page.problem
        parts = parts_of(page.brought.get(payload.reference, payload) for payload in page.request.results)
        seconds: dict[str, float] = {}
        if engine.needs_image and page.scan is None:
            begun = self.clock.monotonic()
            page.scan = self.images.read(parts.image)
            seconds["read"] = self.clock.monotonic() - begun
        work = EngineInput(
            name=parts.image.name,
            size=size_of(parts.image),
            page=pagexml.read(parts.page.content) if parts.page else None,
            logits=parts.logits.content if parts.logits else None,
        )
        if engine.needs_image and page.scan is not None:
            from pero_worker.worker.upright import process_upright  # noqa: PLC0415

            output = process_upright(engine, work, page.scan, max_pixels=self.images.max_pixels, rotate=self.rotate)
        else:
            output = engine.process(work)
        seconds.update(output.seconds)
        begun = self.clock.monotonic()
        xml = None
        if output.page is not None:
            creator = f"pero-worker {pero_worker.__version__}, {engine.description}"
            xml = pagexml.write(output.page, created=self.clock.now(), creator=creator)
        seconds["write"] = self.clock.monotonic() - begun
        return with_results(page.request.results, xml, output.logits), seconds

    def _after_failure(
        self,
        page: PageInHand,
        loaded: LoadedStage,
        start: _Moment,
        reason: str,
        *,
        permanent: bool = False,
        energy: float | None = None,
    ) -> Request:
        attempt = attempts_of(page)
        # A failure without a reason is still a failure.
        reason = reason.strip() or f"{loaded.engine.description} failed and gave no reason"
        log = self._log(loaded, start, attempt, failure=reason, energy=energy)
        if permanent or attempt >= self.max_attempts:
            return page.request.given_up(log)
        return page.request.to_be_retried(log)

    def _log(
        self,
        loaded: LoadedStage,
        start: _Moment,
        attempt: int,
        *,
        failure: str = "",
        seconds: Mapping[str, float] | None = None,
        energy: float | None = None,
    ) -> StageLog:
        return StageLog(
            host_id=self.host,
            stage=loaded.stage.name,
            start=start.time,
            # Not `clock.now()`: the clock may be set while a page is in hand.
            end=start.time + timedelta(seconds=self.clock.monotonic() - start.monotonic),
            status=StageStatus.FAILED if failure else StageStatus.OK,
            log=failure,
            version=loaded.stage.version,
            engine=loaded.engine.description,
            failure_class=PageError.failure_class if failure else "",
            attempt=attempt,
            seconds=seconds or {},
            energy_joules=energy,
        )


def needs(loaded: LoadedStage, page: PageInHand, payload: Payload) -> bool:
    """Whether the stage needs the payload's content."""
    return not is_image(payload) or (loaded.engine.needs_image and page.scan is None)


def attempts_of(page: PageInHand) -> int:
    """Returns the number of the current attempt at the page's stage, from 1."""
    return page.deaths + page.request.failed_attempts + 1
