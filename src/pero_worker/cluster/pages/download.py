"""Takes finished pages out of an output queue and writes them, each once, however often it is delivered."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Protocol

from pero_worker.brokers.rabbitmq import RabbitBroker
from pero_worker.cluster.pages.fetching import FetchAhead
from pero_worker.errors import PageError, RequestError, TransientError
from pero_worker.jobs.collect import NOT_PROCESSED
from pero_worker.ports import Clock, Payloads
from pero_worker.request import Request
from pero_worker.text import one_line
from pero_worker.wire.requests import decode_request, encode_request
from pero_worker.work import Delivery
from pero_worker.worker.inline import InlinePayloads

_GROUP = 64
"""Pages that are written to the disk together."""
_MOMENT_SECONDS = 0.02
"""When no page more comes for so long, those in hand are written to the disk."""
_PATIENCE_SECONDS = 600.0
"""A download that is to end by itself waits so long for RabbitMQ to come back."""
_FAILURES_KEPT = 20
_STAGES_KEPT = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class Written:
    """A page that was not here before."""

    failure: str = ""
    """Why it failed."""
    cancelled: bool = False
    """Whether it was not read because its job was cancelled; then that is its failure."""


class Layout(Protocol):
    """How results lie in the folder."""

    def write(self, request: Request, body: bytes) -> Written | None:
        """Writes the page's results, whole or not at all; None when they are there already. PageError: there is no
        place for them; OutputError: disk full."""

    def seal(self) -> Callable[[], None]:
        """Ends the group of what was written. It survives a power cut when what is returned has been called, which
        another thread may do while the next group is written; that is sealed afterwards. OutputError."""


@dataclass(slots=True, kw_only=True)
class StageSeconds:
    """What a stage took over all pages."""

    runs: int = 0
    """How often it ran."""
    total: float = 0.0
    """Seconds of all runs together."""


@dataclass(slots=True, kw_only=True)
class DownloadCounts:
    """What came."""

    pages: int = 0
    """That were written."""
    duplicates: int = 0
    """Pages that had come before."""
    refused: int = 0
    """Messages that were set aside."""
    failed: int = 0
    """Pages that had failed."""
    cancelled: int = 0
    """Pages that were not read because their job was cancelled."""
    failures: list[tuple[str, str]] = field(default_factory=list)
    """The first of these, each with the reason."""
    stages: dict[str, StageSeconds] = field(default_factory=dict)
    """What each stage took."""

    def add(self, request: Request, written: Written) -> None:
        """Counts a page that was not here before."""
        self.pages += 1
        if written.cancelled:
            self.cancelled += 1
        elif written.failure:
            self.failed += 1
            if len(self.failures) < _FAILURES_KEPT:
                self.failures.append((request.source or request.uuid, written.failure))
        for log in request.logs:
            if log.stage in self.stages or len(self.stages) < _STAGES_KEPT:
                seconds = self.stages.setdefault(log.stage, StageSeconds())
                seconds.runs += 1
                seconds.total += (log.end - log.start).total_seconds()


def failure_of(request: Request) -> str:
    """Why the page failed, in a line; '' when it did not."""
    if not request.logs:
        return NOT_PROCESSED
    last = request.logs[-1]
    return one_line(f"{last.stage}: {(last.log.strip() or 'failed').splitlines()[0]}") if request.failed else ""


def download(
    broker: RabbitBroker,
    queue: str,
    layout: Layout,
    clock: Clock,
    *,
    keep_running: bool,
    stopped: threading.Event,
    downloaded: DownloadCounts,
    on_page: Callable[[Request], object] = lambda _request: None,
    warn: Callable[[str], object] = lambda _text: None,
    keep_failed: bool = False,
    payloads: Payloads | None = None,
) -> None:
    """Until the queue is empty, or for ever with `keep_running`, or until `stopped`.

    A page is acknowledged after it is on the disk: what a crash leaves is delivered again and recognised.
    `keep_failed`: messages of pages that failed go to the dead letters, so that they can be tried again.
    `warn` is told, once, when RabbitMQ or the payload store is away. TransientError: it does not come back, without
    `keep_running`.
    """
    _Download(broker, payloads or InlinePayloads(), queue, layout, downloaded, on_page, keep_failed).run(
        clock, keep_running, stopped, warn
    )


class _Download:
    def __init__(
        self,
        broker: RabbitBroker,
        payloads: Payloads,
        queue: str,
        layout: Layout,
        downloaded: DownloadCounts,
        on_page: Callable[[Request], object],
        keep_failed: bool,
    ) -> None:
        self._broker = broker
        self._payloads = payloads
        self._queue = queue
        self._layout = layout
        self._downloaded = downloaded
        self._on_page = on_page
        self._keep_failed = keep_failed
        self._held: list[tuple[Delivery, Request, Written | None]] = []
        self._ahead = FetchAhead(broker)
        self._disk = ThreadPoolExecutor(1, "disk")
        self._on_way_to_disk: tuple[list[tuple[Delivery, Request, Written | None]], Future[None]] | None = None

    def run(self, clock: Clock, keep_running: bool, stopped: threading.Event, warn: Callable[[str], object]) -> None:
        away_since: float | None = None
        try:
            while not stopped.is_set():
                try:
                    if not self._step() and not keep_running and not self._waits():
                        return
                except TransientError as error:
                    self._commit()
                    if away_since is None:
                        away_since = clock.monotonic()
                        warn(f"{error}; going on when that has changed")
                    if not keep_running and clock.monotonic() - away_since > _PATIENCE_SECONDS:
                        raise
                    clock.sleep(0.5)
                else:
                    away_since = None
        finally:
            try:
                self._commit()
            finally:
                self._disk.shutdown()

    def _step(self) -> bool:
        """Takes one page, if there is one; whether there was."""
        wait = _MOMENT_SECONDS if self._held or self._on_way_to_disk else 1.0
        delivery = self._broker.get((self._queue,), f"download-{self._queue}"[:100], wait)
        if delivery is not None:
            self._take(delivery)
        if len(self._held) >= self._ahead.pages:
            self._commit()  # No more come before these are acknowledged.
        elif len(self._held) >= _GROUP or (delivery is None and self._held):
            self._begin_commit()
        elif delivery is None:
            self._end_commit()
        return delivery is not None

    def _waits(self) -> bool:
        """Whether something is in the queue, or on its way from it to us."""
        state = self._broker.state(self._queue)
        return self._broker.has_arrivals or (state is not None and state.messages > 0)

    def _take(self, delivery: Delivery) -> None:
        self._ahead.saw(delivery.weight)
        try:
            came = decode_request(delivery.body)
            # One that was here before may have lost its payloads since: it is known by its id.
            request = self._payloads.whole(came)
            written = self._layout.write(request, delivery.body if request is came else encode_request(request))
        except (RequestError, PageError) as error:
            with suppress(TransientError):  # It will come again.
                self._broker.set_aside(delivery, str(error))
                self._downloaded.refused += 1
            return
        except BaseException:
            self._broker.give_back(delivery)
            raise
        if self._is_kept(request):
            self._commit()
            self._finish(delivery, request, written)
        else:
            self._held.append((replace(delivery, body=b""), request.with_results(()), written))
        self._on_page(request)

    def _is_kept(self, request: Request) -> bool:
        """Whether the message is kept: not that of a cancelled page, which holds nothing to try again."""
        return self._keep_failed and request.failed and not request.cancelled

    def _commit(self) -> None:
        self._begin_commit()
        self._end_commit()

    def _begin_commit(self) -> None:
        """What is held goes to the disk, while the next pages are written."""
        self._end_commit()
        held, self._held = self._held, []
        try:
            put_in_place = self._layout.seal()
        except BaseException:
            self._give_back(held)
            raise
        self._on_way_to_disk = held, self._disk.submit(put_in_place)

    def _end_commit(self) -> None:
        """Waits for what is on its way to the disk."""
        if self._on_way_to_disk is None:
            return
        (held, in_place), self._on_way_to_disk = self._on_way_to_disk, None
        try:
            in_place.result()
        except BaseException:
            self._give_back(held)
            raise
        for delivery, request, written in held:
            self._finish(delivery, request, written)

    def _give_back(self, held: list[tuple[Delivery, Request, Written | None]]) -> None:
        for delivery, *_ in held:
            self._broker.give_back(delivery)

    def _finish(self, delivery: Delivery, request: Request, written: Written | None) -> None:
        """The page is on the disk."""
        if written is not None:
            self._downloaded.add(request, written)
        else:
            self._downloaded.duplicates += 1
        with suppress(TransientError):  # It will come again, and is known then.
            if self._is_kept(request):
                self._broker.set_aside(delivery, failure_of(request))
            else:
                self._broker.ack(delivery)
                self._payloads.release(request.references)
