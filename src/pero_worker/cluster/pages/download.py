"""Takes finished pages out of an output queue and writes them, each once, however often it is delivered."""

from __future__ import annotations

import threading
from array import array
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Protocol

from pero_worker.brokers.rabbitmq import RabbitBroker
from pero_worker.errors import RequestError, StageError, TransientError
from pero_worker.ports import Clock, Queues
from pero_worker.request import Request
from pero_worker.wire.requests import decode_request
from pero_worker.work import Delivery


class Layout(Protocol):
    """How results lie in the folder."""

    def write(self, request: Request, body: bytes) -> bool:
        """Writes the page's results, whole or not at all; False when they are there already. OutputError: disk full."""


@dataclass(slots=True)
class DownloadCounts:
    """What came: `failed` are (page, reason); `seconds` the time of every stage over all pages."""

    pages: int = 0
    duplicates: int = 0
    refused: int = 0
    failed: list[tuple[str, str]] = field(default_factory=list)
    seconds: dict[str, array[float]] = field(default_factory=dict)


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
) -> None:
    """Until the queue is empty, or for ever with `keep_running`, or until `stopped`.

    A page is acknowledged after it is written: what a crash leaves is delivered again and recognised.
    """
    while not stopped.is_set():
        try:
            if not keep_running and not _waits(broker, queue):
                return
            delivery = broker.get((queue,), f"download-{queue}", 1.0)
        except TransientError:
            clock.sleep(0.5)
            continue
        if delivery is not None:
            _take(broker, delivery, layout, downloaded, on_page)


def messages_in(broker: Queues, queue: str) -> int:
    """How many wait there. StageError: no such queue."""
    state = broker.state(queue)
    if state is None:
        raise StageError(f"there is no queue {queue!r}: see pero-worker queues")
    return state.messages


def _waits(broker: RabbitBroker, queue: str) -> bool:
    """Whether something is in the queue, or on its way from it to us."""
    state = broker.state(queue)
    return broker.has_arrivals or (state is not None and state.messages > 0)


def _take(
    broker: RabbitBroker,
    delivery: Delivery,
    layout: Layout,
    downloaded: DownloadCounts,
    on_page: Callable[[Request], object],
) -> None:
    try:
        request = decode_request(delivery.body)
        fresh = layout.write(request, delivery.body)
    except RequestError as error:
        downloaded.refused += 1
        with suppress(TransientError):  # It will come again.
            broker.set_aside(delivery, str(error))
        return
    except BaseException:
        broker.give_back(delivery)
        raise
    if fresh:
        downloaded.pages += 1
        if request.failed:
            last = request.logs[-1]
            downloaded.failed.append(
                (request.source or request.uuid, f"{last.stage}: {(last.log.strip() or 'failed').splitlines()[0]}")
            )
        for log in request.logs:
            seconds = (log.end - log.start).total_seconds()
            downloaded.seconds.setdefault(log.stage, array("d")).append(seconds)
    else:
        downloaded.duplicates += 1
    on_page(request)
    with suppress(TransientError):  # It will come again, and is known then.
        broker.ack(delivery)
