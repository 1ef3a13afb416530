"""A RabbitMQ broker that traces each page: a header next to upstream's message says where the page's trace is.

While tracing is off, nothing of this is used.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from secrets import token_hex

from pero_worker.brokers.access import BrokerAccess
from pero_worker.brokers.ahead import Ahead
from pero_worker.brokers.rabbitmq import RabbitBroker
from pero_worker.brokers.window import Done
from pero_worker.clock import SystemClock
from pero_worker.errors import PeroWorkerError, RequestError
from pero_worker.ports import Clock
from pero_worker.request import Request
from pero_worker.tracing.spans import Kind, Place, Span, SpanSink, page_attributes, place_in, stage_spans, trace_of
from pero_worker.wire.queues import LOG_QUEUE
from pero_worker.wire.requests import decode_request
from pero_worker.work import Delivery

_MAX_IN_HAND = 10_000
"""Most messages that are remembered: those of lost connections are never settled."""


@dataclass(slots=True, kw_only=True)
class _InHand:
    taken: datetime
    place: Place | None = None
    """The place in the trace up to which the page's spans are reported; None: nothing yet."""
    logs: int = 0
    """Number of the request's logs that have been reported."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Leaving:
    place: Place
    parent: str
    queue: str
    start: datetime
    request: Request


class TracedBroker(RabbitBroker):
    """Makes spans from the logs that a page brings back from its worker, which knows nothing about tracing."""

    def __init__(
        self,
        access: BrokerAccess,
        sink: SpanSink,
        *,
        prefetch: int = 1,
        ahead: Ahead | None = None,
        expect: Callable[[str, bytes], int] = lambda _queue, _body: 0,
        clock: Clock | None = None,
        new_id: Callable[[], str] = lambda: token_hex(8),
    ) -> None:
        self._sink = sink
        self._clock = clock or SystemClock()
        self._new_id = new_id
        self._in_hand: OrderedDict[int, _InHand] = OrderedDict()
        super().__init__(access, prefetch=prefetch, ahead=ahead, expect=expect)

    def get(self, queues: Sequence[str], consumer: str, timeout: float) -> Delivery | None:
        delivery = super().get(queues, consumer, timeout)
        if delivery is not None:
            self._in_hand[delivery.tag] = _InHand(taken=self._clock.now())
            if len(self._in_hand) > _MAX_IN_HAND:
                self._in_hand.popitem(last=False)
        return delivery

    def publish(self, queue: str, body: bytes, priority: int = 0, traceparent: str = "") -> None:
        request = _request_in(body) if queue != LOG_QUEUE else None
        if request is None:
            super().publish(queue, body, priority, traceparent)
            return
        leaving = self._leave(request, queue, place_in(traceparent))
        try:
            super().publish(queue, body, priority, leaving.place.traceparent)
        except PeroWorkerError as error:
            self._tell_sent(leaving, error)
            raise
        self._tell_sent(leaving, None)

    def hand_on(self, delivery: Delivery, queue: str, body: bytes, priority: int = 0) -> None:
        leaving = self._hand_on(delivery, queue, body)
        if leaving is None:
            super().hand_on(delivery, queue, body, priority)
            return
        try:
            super().hand_on(_at(delivery, leaving.place), queue, body, priority)
        except PeroWorkerError as error:
            self._tell_sent(leaving, error)
            raise
        self._tell_sent(leaving, None)
        self._in_hand.pop(delivery.tag, None)

    def hand_on_soon(self, delivery: Delivery, queue: str, body: bytes, priority: int, done: Done) -> None:
        leaving = self._hand_on(delivery, queue, body)
        if leaving is None:
            super().hand_on_soon(delivery, queue, body, priority, done)
            return

        def settled(error: PeroWorkerError | None) -> None:
            self._tell_sent(leaving, error)
            if error is None:
                self._in_hand.pop(delivery.tag, None)
            done(error)

        super().hand_on_soon(_at(delivery, leaving.place), queue, body, priority, settled)

    def ack(self, delivery: Delivery) -> None:
        """Acknowledges a result that is taken and not handed on, and reports its receipt."""
        super().ack(delivery)
        known, place = self._in_hand.pop(delivery.tag, None), place_in(delivery.traceparent)
        request = _request_in(delivery.body) if place is None else None
        if known is None or (place is None and request is None):
            return
        own = self._next(place, request)
        if own.sampled:
            self._sink.tell(
                Span(
                    name=f"receive {delivery.queue}",
                    place=own,
                    parent=place.span if place else "",
                    kind=Kind.CONSUMER,
                    start=known.taken,
                    end=max(known.taken, self._clock.now()),
                    attributes=_messaging("receive", delivery.queue),
                )
            )

    def give_back(self, delivery: Delivery) -> None:
        self._in_hand.pop(delivery.tag, None)
        super().give_back(delivery)

    def set_aside(self, delivery: Delivery, reason: str) -> None:
        super().set_aside(delivery, reason)
        self._in_hand.pop(delivery.tag, None)

    def close(self) -> None:
        super().close()
        self._sink.close()

    def _next(self, before: Place | None, request: Request | None) -> Place:
        """Returns the place of a new span: after `before`, or the first one in its page's trace."""
        if before is not None:
            return replace(before, span=self._new_id())
        trace = trace_of(request.page_uuid if request else "")
        return Place(trace=trace, span=self._new_id(), sampled=self._sink.keeps(trace))

    def _hand_on(self, delivery: Delivery, queue: str, body: bytes) -> _Leaving | None:
        """Reports what was done to the page; None if the message is not a page."""
        request = _request_in(body)
        if request is None:
            return None
        known = self._in_hand.setdefault(delivery.tag, _InHand(taken=self._clock.now()))
        if known.place is None:
            came = _request_in(delivery.body)
            known.logs = len(came.logs) if came else len(request.logs)
        before = known.place or place_in(delivery.traceparent)
        start = before or self._next(None, request)
        spans, place = stage_spans(request, known.logs, start, lost=before is None, new_id=self._new_id)
        if spans:
            known.place, known.logs = place, len(request.logs)
        if place.sampled:
            for span in spans:
                self._sink.tell(span)
        return self._leave(request, queue, place if spans or before else None)

    def _leave(self, request: Request, queue: str, before: Place | None) -> _Leaving:
        place = self._next(before, request)
        parent = before.span if before else ""
        return _Leaving(place=place, parent=parent, queue=queue, start=self._clock.now(), request=request)

    def _tell_sent(self, leaving: _Leaving, error: PeroWorkerError | None) -> None:
        if not leaving.place.sampled:
            return
        self._sink.tell(
            Span(
                name=f"send {leaving.queue}",
                place=leaving.place,
                parent=leaving.parent,
                kind=Kind.PRODUCER,
                start=leaving.start,
                end=max(leaving.start, self._clock.now()),
                attributes={**_messaging("send", leaving.queue), **page_attributes(leaving.request)},
                error=str(error) if error else "",
            )
        )


def _at(delivery: Delivery, place: Place) -> Delivery:
    return replace(delivery, traceparent=place.traceparent)


def _messaging(operation: str, queue: str) -> dict[str, str | int | float]:
    return {
        "messaging.system": "rabbitmq",
        "messaging.operation.type": operation,
        "messaging.destination.name": queue,
    }


def _request_in(body: bytes) -> Request | None:
    """Returns the page in a message; None if it is not a page, or if its contents are not kept."""
    try:
        return decode_request(body) if body else None
    except RequestError:
        return None
