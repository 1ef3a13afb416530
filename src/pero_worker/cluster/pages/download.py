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
"""Pages that are committed to disk together."""
_MOMENT_SECONDS = 0.02
"""If no further page comes within this time, those held are committed to disk."""
_PATIENCE_SECONDS = 600.0
"""How long a download that is to end by itself waits for RabbitMQ to come back."""
_FAILURES_KEPT = 20
_STAGES_KEPT = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class Written:
    """A page that had not been written before."""

    failure: str = ""
    """Why the page failed; '' if it did not."""
    cancelled: bool = False
    """Whether it was not processed because its job was cancelled; that is then its failure."""


class Layout(Protocol):
    """How results are laid out in the output folder."""

    def write(self, request: Request, body: bytes) -> Written | None:
        """Writes the page's results, all of them or none; returns None if they are already there. Raises `PageError` if
        there is no place for them, `OutputError` if they cannot be written, for example because the disk is full."""

    def seal(self) -> Callable[[], None]:
        """Closes the current group of written pages. They survive a power cut once the returned function has run, which
        another thread may call while the next group is written; that group is sealed afterwards. Raises
        `OutputError`."""


@dataclass(slots=True, kw_only=True)
class StageSeconds:
    """Time a stage took over all pages."""

    runs: int = 0
    """How often it ran."""
    total: float = 0.0
    """Total duration of all runs, in seconds."""


@dataclass(slots=True, kw_only=True)
class DownloadCounts:
    """What was downloaded."""

    pages: int = 0
    """Pages that were written."""
    duplicates: int = 0
    """Pages that had been written before."""
    refused: int = 0
    """Messages that were set aside."""
    failed: int = 0
    """Pages that had failed."""
    cancelled: int = 0
    """Pages that were not processed because their job was cancelled."""
    failures: list[tuple[str, str]] = field(default_factory=list)
    """The first failed pages, each with the reason."""
    stages: dict[str, StageSeconds] = field(default_factory=dict)
    """Time each stage took."""

    def add(self, request: Request, written: Written) -> None:
        """Counts a page that had not been written before."""
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
    """Returns why the page failed, in one line; '' if it did not."""
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
    """Downloads until the queue is empty, or until `stopped`; with `keep_running`, only until `stopped`.

    A page is acknowledged once it is on disk, so whatever a crash leaves is delivered again and recognised. With
    `keep_failed`, messages of failed pages go to the dead letters, where they can be retried. `warn` is called once
    when RabbitMQ or the payload store goes away. Raises `TransientError` if it does not come back, unless
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
        """Takes one page, if there is one; returns whether there was."""
        wait = _MOMENT_SECONDS if self._held or self._on_way_to_disk else 1.0
        delivery = self._broker.get((self._queue,), f"download-{self._queue}"[:100], wait)
        if delivery is not None:
            self._take(delivery)
        if len(self._held) >= self._ahead.pages:
            self._commit()  # No more pages come until these are acknowledged.
        elif len(self._held) >= _GROUP or (delivery is None and self._held):
            self._begin_commit()
        elif delivery is None:
            self._end_commit()
        return delivery is not None

    def _waits(self) -> bool:
        """Returns whether a message is in the queue, or on its way here."""
        state = self._broker.state(self._queue)
        return self._broker.has_arrivals or (state is not None and state.messages > 0)

    def _take(self, delivery: Delivery) -> None:
        self._ahead.saw(delivery.weight)
        try:
            came = decode_request(delivery.body)
            # A duplicate may have lost its payloads since; it is still recognised by its id.
            request = self._payloads.whole(came)
            written = self._layout.write(request, delivery.body if request is came else encode_request(request))
        except (RequestError, PageError) as error:
            with suppress(TransientError):  # It will be delivered again.
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
        """Returns whether the message of a failed page is kept; a cancelled page holds nothing to retry."""
        return self._keep_failed and request.failed and not request.cancelled

    def _commit(self) -> None:
        self._begin_commit()
        self._end_commit()

    def _begin_commit(self) -> None:
        """Starts to commit the held pages to disk, while the next ones are written."""
        self._end_commit()
        held, self._held = self._held, []
        try:
            put_in_place = self._layout.seal()
        except BaseException:
            self._give_back(held)
            raise
        self._on_way_to_disk = held, self._disk.submit(put_in_place)

    def _end_commit(self) -> None:
        """Waits for the commit in progress, and acknowledges its pages."""
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
        """Counts and acknowledges a page that is on disk."""
        if written is not None:
            self._downloaded.add(request, written)
        else:
            self._downloaded.duplicates += 1
        with suppress(TransientError):  # It will be delivered again, and recognised.
            if self._is_kept(request):
                self._broker.set_aside(delivery, failure_of(request))
            else:
                self._broker.ack(delivery)
                self._payloads.release(request.references)
