"""The worker: takes a page, runs the stages it holds, hands the page on. It knows only the ports."""

from __future__ import annotations

import logging
import random
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import partial

from pero_worker.errors import DeviceError, RequestError, TransientError
from pero_worker.names import counted
from pero_worker.ports import Assignments, Broker, ModelStore, Reports, Suspects
from pero_worker.processes import RECYCLED, end_now
from pero_worker.request import Payload, Request, StageLog, StageStatus
from pero_worker.wire.requests import decode_waiting
from pero_worker.wire.tree import job_node
from pero_worker.work import Delivery, WorkerStatus
from pero_worker.worker.givingback import GivingBack
from pero_worker.worker.holding import Holding
from pero_worker.worker.outbox import Outbox
from pero_worker.worker.payloads import is_image
from pero_worker.worker.returns import MAX_RETURNS, Returned
from pero_worker.worker.steps import LoadedStage, PageInHand, StageRunner, attempts_of
from pero_worker.worker.suspicion import Suspicion
from pero_worker.worker.timelimit import time_limit

logger = logging.getLogger(__name__)
_LEAVE_SECONDS = 10.0
"""How long pages on their way out may take when an engine hangs and the process is about to end."""
_POLL_SECONDS = 0.25
"""How often a waiting worker checks whether it should stop."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerSettings:
    """How a worker behaves. Times are in seconds."""

    device: str = "cpu"
    """Device that engines run on: 'cpu', 'cuda:0'."""
    time_limit: float = 0.0
    """Time that a page may take in a stage that does not set a limit; 0 = no limit."""
    poll: float = 1.0
    """Time within which a worker without pages notices that it should stop."""
    idle_after: float = 0.05
    """How long after a page a worker waits for the next before it reports that it is idle."""
    first_back_off: float = 0.25
    """First wait after a server was unavailable; each further wait is longer."""
    max_back_off: float = 2.0
    """Longest wait: a server that is back is noticed within this time."""
    jitter: Callable[[], float] = lambda: random.uniform(0.5, 1.0)  # noqa: S311
    """Fraction of the back-off to wait, so that workers that lost the same server do not all return at once."""
    memory_in_use: Callable[[], int] = lambda: 0
    """Returns the bytes of device memory that this process uses."""
    end_process: Callable[[], None] = lambda: end_now(RECYCLED)
    """Called from another thread when an engine hangs; does not return."""


class Worker:
    """Serves the stages assigned to it until it is disabled or `should_stop()`."""

    def __init__(
        self,
        name: str,
        *,
        broker: Broker,
        assignments: Assignments,
        reports: Reports,
        suspects: Suspects,
        models: ModelStore,
        runner: StageRunner,
        settings: WorkerSettings,
    ) -> None:
        self.name = name
        self._broker = broker
        self._assignments = assignments
        self._reports = reports
        self._runner = runner
        self._settings = settings
        self._holding = Holding(
            name,
            assignments=assignments,
            reports=reports,
            models=models,
            clock=runner.clock,
            device=settings.device,
            time_limit=settings.time_limit,
            memory_in_use=settings.memory_in_use,
            before_loading=self._stop_listening,
            report=self._report,
        )
        self._status: WorkerStatus | None = None
        self._back_off = settings.first_back_off
        self._should_stop: Callable[[], bool] = lambda: False
        self._suspicion = Suspicion(suspects)
        self._giving_back = GivingBack(broker, set_aside=self._set_aside)
        self._outbox = Outbox(
            broker, runner.payloads, set_aside=self._set_aside, arrived=self._went_well, failed=self._not_sent
        )
        self._trouble: tuple[TransientError, WorkerStatus] | None = None
        """Why the worker should wait before it takes another page."""
        self.handled = 0
        """Messages taken since the start."""
        self.has_lost_device = False
        """Whether this process's GPU failed, so that another process must take over."""

    def run(self, should_stop: Callable[[], bool]) -> None:
        self._should_stop = should_stop
        self._report(WorkerStatus.STARTING)
        try:
            while not should_stop() and not self.has_lost_device:
                assignment = self._assignments.assignment(self.name)
                if not assignment.enabled:
                    break
                try:
                    self._holding.follow(assignment)
                except TransientError as error:
                    self._wait_after(error, WorkerStatus.CONFIGURATION_FAILED)
                    continue
                trouble, self._trouble = self._trouble, None
                if trouble is not None:
                    self._wait_after(*trouble)
                    continue
                try:
                    delivery = self._broker.get(tuple(self._holding.loaded), self.name, self._patience())
                except TransientError as error:
                    self._wait_after(error, WorkerStatus.MQ_CONNECTION_FAILED)
                    continue
                if delivery is not None:
                    self._report(WorkerStatus.PROCESSING)
                    self._handle(delivery)
                    self.handled += 1
                elif not self._holding.failed:
                    self._report(WorkerStatus.IDLE)
        finally:
            self._finish()
            self._holding.close()
            self._report(WorkerStatus.DEAD)

    def _finish(self) -> None:
        """Waits until finished pages have arrived; what was taken ahead is left to other workers."""
        if not self._outbox.is_empty:
            self._stop_listening()
            self._outbox.drain()

    @property
    def busy(self) -> bool:
        """Whether a page is in hand; may be asked from any thread."""
        return self._status is WorkerStatus.PROCESSING or not self._outbox.is_empty

    def wants(self, queue: str, payload: Payload) -> bool:
        """Whether a page waiting in `queue` needs that payload to be processed; may be asked from any thread."""
        loaded = self._holding.loaded.get(queue)
        return loaded is None or loaded.engine.needs_image or not is_image(payload)

    def release_page(self) -> None:
        """Clears the page in hand of blame; for another thread that is about to end the process."""
        self._suspicion.end(survived=False)

    def _patience(self) -> float:
        """Returns how long to wait for a page. Right after one, the next is expected at once: if none comes, the worker
        reports that it is idle."""
        return self._settings.idle_after if self._status is WorkerStatus.PROCESSING else self._settings.poll

    def _stop_listening(self) -> None:
        """Stops taking messages: a page that came while a model loads would wait for it, which may take minutes."""
        with suppress(TransientError):
            self._broker.get((), self.name, 0)

    def _handle(self, delivery: Delivery) -> None:
        try:
            request = decode_waiting(delivery.body, delivery.queue)
        except RequestError as error:
            self._settle(delivery, partial(self._set_aside, delivery, str(error)))
            return
        page = PageInHand(request=request, deaths=delivery.attempts + self._suspicion.begin(delivery, request))
        returned = self._giving_back.of(delivery)
        if returned is not None and returned.times >= MAX_RETURNS:
            self._give_up(page, delivery, returned)
            return
        try:
            if page.deaths and attempts_of(page) > self._runner.max_attempts:
                request = self._runner.give_up(page, self._holding.loaded[request.stage])
                self._log_stage(request, request.logs[-1])
            else:
                request = self._through_held_stages(page, delivery)
        except TransientError as error:
            # The note goes first: another worker may have the page in a moment.
            self._suspicion.end(survived=False)
            self._return(delivery, error, WorkerStatus.PROCESSING_FAILED)
        else:
            self._send(delivery, request)

    def _send(self, delivery: Delivery, request: Request) -> None:
        # Do not wait until it has arrived: the next page may kill the process before that, and alone is to blame.
        self._suspicion.end(survived=True)
        self._outbox.send(delivery, request)

    def _give_up(self, page: PageInHand, delivery: Delivery, returned: Returned) -> None:
        """Fails a page that was given back again and again while others went well, as that would go on forever."""
        reason = (
            f"given back {counted(returned.times, 'time')} while other pages went well, last because: {returned.reason}"
        )
        if returned.times > MAX_RETURNS:
            # It could not be handed on as failed, either.
            self._settle(delivery, partial(self._set_aside, delivery, reason))
            return
        request = self._runner.unable(page, self._holding.loaded[page.request.stage], reason)
        self._log_stage(request, request.logs[-1])
        self._send(delivery, request)

    def _settle(self, delivery: Delivery, act: Callable[[], None]) -> None:
        try:
            act()
        except TransientError as error:
            self._suspicion.end(survived=False)
            self._return(delivery, error, WorkerStatus.MQ_CONNECTION_FAILED)
        else:
            self._suspicion.end(survived=True)
            self._went_well(delivery)

    def _went_well(self, delivery: Delivery) -> None:
        self._giving_back.went_well(delivery)
        self._back_off = self._settings.first_back_off

    def _not_sent(self, delivery: Delivery, error: TransientError) -> None:
        self._return(delivery, error, WorkerStatus.MQ_CONNECTION_FAILED)

    def _return(self, delivery: Delivery, error: TransientError, status: WorkerStatus) -> None:
        self.has_lost_device |= isinstance(error, DeviceError)
        self._giving_back.give_back(delivery, error)
        self._trouble = error, status

    def _through_held_stages(self, page: PageInHand, delivery: Delivery) -> Request:
        """Takes the page from stage to stage without a trip through the broker, as long as they are held here."""
        while True:
            if self._is_cancelled(page.request):
                return self._runner.take_back(page)
            loaded = self._holding.loaded[page.request.stage]
            waiting_in = page.request.stages
            self._runner.bring(page, loaded)
            with time_limit(loaded.time_limit, partial(self._abandon_page, page, loaded, delivery)):
                page.request = self._runner.run(page, loaded)
            done = page.request.stages != waiting_in and not page.request.failed
            log = page.request.logs[-1]
            self._log_stage(page.request, log)
            if done:
                seconds = log.seconds.get("total", 0.0)
                self._reports.record_time(loaded.stage.name, seconds, page.request.stage)
            if not done or len(page.request.stages) < 2 or page.request.stage not in self._holding.loaded:
                return page.request
            page.deaths = 0

    def _is_cancelled(self, request: Request) -> bool:
        jobs = self._assignments.assignment(self.name).cancelled if request.job else frozenset()
        return bool(jobs) and job_node(request.job) in jobs

    def _abandon_page(self, page: PageInHand, loaded: LoadedStage, delivery: Delivery) -> None:
        """Counts the page as failed and ends the process, which hangs in the engine; called from the timer's thread."""
        try:
            request = self._runner.too_slow(page, loaded)
            self._log_stage(request, request.logs[-1])
            self._suspicion.end(survived=True)
            self._outbox.send_last(delivery, request, _LEAVE_SECONDS)
        finally:
            self._settings.end_process()

    def _log_stage(self, request: Request, log: StageLog) -> None:
        name = request.source or request.uuid
        if log.status == StageStatus.OK:
            logger.info("page %s: stage %s done in %.2f s", name, log.stage, log.seconds.get("total", 0.0))
            return
        reason = log.log.splitlines()[0] if log.log else ""
        logger.warning("page %s: stage %s failed, attempt %d: %s", name, log.stage, log.attempt, reason)
        self._reports.record_failure(f"page {name}, stage {log.stage}: {reason}")

    def _set_aside(self, delivery: Delivery, reason: str) -> None:
        logger.error("a message from %s is set aside: %s", delivery.queue, reason)
        self._reports.record_failure(f"a message from {delivery.queue} is set aside: {reason}")
        self._broker.set_aside(delivery, reason)

    def _wait_after(self, error: TransientError, status: WorkerStatus) -> None:
        self._report(status, str(error))
        seconds = self._back_off * self._settings.jitter()
        self._back_off = min(2 * self._back_off, self._settings.max_back_off)
        logger.warning("waiting %.1f s: %s", seconds, error)
        while seconds > 0 and not self._should_stop():
            step = min(seconds, _POLL_SECONDS)
            self._runner.clock.sleep(step)
            seconds -= step

    def _report(self, status: WorkerStatus, message: str = "") -> None:
        if message or status is not self._status:
            self._reports.report(self.name, status, message)
            self._status = status
