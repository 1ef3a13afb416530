"""Takes a job's pages back: those still waiting come out of their output queues as cancelled, each once."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from datetime import datetime

from pero_worker.brokers.rabbitmq import RabbitBroker
from pero_worker.cluster.opening import Cluster
from pero_worker.cluster.pages.route import processes
from pero_worker.cluster.registry.stages import stage_names
from pero_worker.coordinators.cancelled import mark_cancelled
from pero_worker.errors import PageError, RequestError
from pero_worker.ports import Clock
from pero_worker.wire.requests import decode_request, encode_request
from pero_worker.work import Delivery

_OTHERS_HELD = 100
"""How many pages of other jobs are held, for a moment, to look at those behind them."""
_OTHERS_BYTES = 64_000_000
_HOST = "pero-worker cancel"


def cancel_job(
    cluster: Cluster, job: str, clock: Clock, on_page: Callable[[], object] = lambda: None
) -> tuple[int, bool]:
    """Marks the job as cancelled, which workers and senders heed at once, and takes its pages out of all queues.

    Returns how many were taken, and whether the queues were searched to their ends: pages that wait behind many pages
    of other jobs are left to the workers.
    """
    mark_cancelled(cluster.zookeeper, job)
    taken, whole = 0, True
    for stage in (name for name in stage_names(cluster.zookeeper) if processes(cluster.zookeeper, name)):
        of_stage, through = _sweep(cluster.broker, stage, job, clock, on_page)
        taken, whole = taken + of_stage, whole and through
    return taken, whole


def _sweep(broker: RabbitBroker, stage: str, job: str, clock: Clock, on_page: Callable[[], object]) -> tuple[int, bool]:
    others: list[Delivery] = []
    held_bytes, taken = 0, 0
    try:
        while broker.state(stage) is not None and (found := broker.take(stage)) is not None:
            delivery, _ = found
            if _take_back(broker, delivery, job, clock.now()):
                taken += 1
                on_page()
                continue
            others.append(replace(delivery, body=b""))
            held_bytes += len(delivery.body)
            if len(others) >= _OTHERS_HELD or held_bytes >= _OTHERS_BYTES:
                return taken, False
        return taken, True
    finally:
        _give_back(broker, others)


def _take_back(broker: RabbitBroker, delivery: Delivery, job: str, now: datetime) -> bool:
    """Returns whether the message was a page of the job, which is then sent to its output queue as cancelled."""
    try:
        request = decode_request(delivery.body)
    except (RequestError, PageError):
        return False
    if request.job != job or len(request.stages) < 2:
        return False
    cancelled = request.taken_back(_HOST, now)
    try:
        broker.hand_on(delivery, cancelled.destination, encode_request(cancelled), request.priority)
    except RequestError as error:  # Its output queue is gone.
        broker.set_aside(delivery, str(error))
    return True


def _give_back(broker: RabbitBroker, deliveries: Iterable[Delivery]) -> None:
    """Returns pages to their queues. Each goes to the head, so the oldest goes last to keep the order."""
    for delivery in reversed(list(deliveries)):
        broker.give_back(delivery)
