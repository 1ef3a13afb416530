"""Finished pages on their way out while the worker has others in hand.

A page that cannot go where it should goes to the output queue as failed, without the new results if those are what is
too large; if even that is impossible, it is set aside whole.
"""

from __future__ import annotations

import logging
import queue
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from functools import partial

from pero_worker.errors import NoQueueError, PageError, PeroWorkerError, RequestError, TransientError
from pero_worker.ports import Broker, Payloads
from pero_worker.request import Request
from pero_worker.wire.requests import decode_request, encode_request
from pero_worker.work import Delivery
from pero_worker.worker.helpers import Helpers

_PACKING = 4
"""Pages packed at the same time; any other waits."""
logger = logging.getLogger(__name__)


class Outbox:
    """Sends the finished pages of one worker. Pages that arrive are settled in the broker's thread; failures are
    handled in a thread of the outbox, or in the caller's if the broker reports them at once."""

    def __init__(
        self,
        broker: Broker,
        payloads: Payloads,
        *,
        set_aside: Callable[[Delivery, str], None],
        arrived: Callable[[Delivery], None],
        failed: Callable[[Delivery, TransientError], None],
    ) -> None:
        """`set_aside` moves a message to the dead letters; `arrived` is called with each page that is settled, from any
        thread; `failed` with each that was not and is still in hand."""
        self._broker = broker
        self._payloads = payloads
        self._set_aside = set_aside
        self._arrived = arrived
        self._failed = failed
        self._changed = threading.Condition(threading.Lock())
        self._on_way = 0
        self._packing = 0
        self._packers = Helpers("packing", _PACKING)
        self._troubles: queue.SimpleQueue[tuple[Delivery, Request, PeroWorkerError]] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None

    @property
    def is_empty(self) -> bool:
        """Whether no page is on its way; may be asked from any thread."""
        return not self._on_way

    def send(self, delivery: Delivery, request: Request) -> None:
        """Hands the page on; returns before it has arrived."""
        is_packed = self._payloads.is_packed(request, request.destination)
        with self._changed:
            self._on_way += 1
            if not is_packed:
                self._changed.wait_for(lambda: self._packing < _PACKING)
                self._packing += 1
        if is_packed:
            self._begin(delivery, request)
        else:
            self._packers.do(partial(self._pack, delivery, request))

    def _pack(self, delivery: Delivery, request: Request) -> None:
        """Runs in a thread of its own, so that the next page need not wait for the store."""
        try:
            packed = self._payloads.pack(request, request.destination)
        except (TransientError, PageError) as error:
            self._see_to(delivery, request, error)
        except Exception as error:  # whatever it is, the page is given back
            logger.exception("page %s cannot be handed on", request.source or request.uuid)
            self._see_to(delivery, request, TransientError(f"{type(error).__name__}: {error}"))
        else:
            self._begin(delivery, packed)
        finally:
            with self._changed:
                self._packing -= 1
                self._changed.notify_all()

    def _begin(self, delivery: Delivery, request: Request) -> None:
        body = encode_request(request)
        try:
            self._broker.hand_on_soon(
                delivery, request.destination, body, request.priority, partial(self._told, delivery, request)
            )
        except (RequestError, TransientError) as error:
            self._see_to(delivery, request, error)

    def send_last(self, delivery: Delivery, request: Request, timeout: float) -> None:
        """Hands on the last page before the process ends. Returns when it has arrived, and so have those on their way
        if they do within `timeout` seconds."""
        self.drain(timeout)
        with self._changed:
            self._on_way += 1
        try:
            refusal = self._refusal(delivery, request)
        except TransientError as error:
            self._see_to(delivery, request, error)
        else:
            if refusal:
                self._see_to(delivery, request, RequestError(refusal))
            else:
                self._arrived(delivery)
                self._leave()

    def drain(self, timeout: float | None = None) -> bool:
        """Waits up to `timeout` seconds until no page is on its way; returns whether that is so."""
        with self._changed:
            return self._changed.wait_for(lambda: not self._on_way, timeout)

    def _told(self, delivery: Delivery, request: Request, error: PeroWorkerError | None) -> None:
        """Takes the broker's answer; runs in the broker's thread, which must not wait."""
        if error is None:
            self._arrived(delivery)
            self._leave()
            return
        with self._changed:
            if self._thread is None:
                self._thread = threading.Thread(target=self._see_to_all, name="outbox", daemon=True)
                self._thread.start()
        self._troubles.put((delivery, request, error))

    def _leave(self) -> None:
        with self._changed:
            self._on_way -= 1
            if not self._on_way:
                self._changed.notify_all()

    def _see_to_all(self) -> None:
        while True:
            self._see_to(*self._troubles.get())

    def _see_to(self, delivery: Delivery, request: Request, error: PeroWorkerError) -> None:
        try:
            if isinstance(error, TransientError):
                raise error
            # This also creates a queue that should exist, for which the broker's thread has no time.
            refusal = self._refusal(delivery, request) if isinstance(error, NoQueueError) else str(error)
            if refusal:
                logger.error("page %s: %s", request.source or request.uuid, refusal)
                self._as_failed(delivery, request, refusal)
        except TransientError as trouble:
            self._failed(delivery, trouble)
        except Exception as trouble:  # whatever it is, the page is given back
            logger.exception("page %s cannot be handed on", request.source or request.uuid)
            self._failed(delivery, TransientError(f"{type(trouble).__name__}: {trouble}"))
        else:
            self._arrived(delivery)
        finally:
            self._leave()

    def _as_failed(self, delivery: Delivery, request: Request, refusal: str) -> None:
        refusal = self._refusal(delivery, request.undelivered(refusal))
        if refusal:
            without_new_results = replace(request, results=decode_request(delivery.body).results)
            refusal = self._refusal(delivery, without_new_results.undelivered(refusal))
        if refusal:
            self._set_aside(delivery, refusal)

    def _refusal(self, delivery: Delivery, request: Request) -> str:
        """Hands the request on. Returns why the broker refuses it, or '' if it was handed on."""
        packed = self._packed(request)
        try:
            self._broker.hand_on(delivery, packed.destination, encode_request(packed), packed.priority)
        except RequestError as error:
            return str(error)
        return ""

    def _packed(self, request: Request) -> Request:
        """Packs the request, leaving out what the payload store has lost."""
        queue = request.destination
        try:
            return self._payloads.pack(request, queue)
        except PageError as error:
            found = []
            for payload in request.results:
                with suppress(PageError):
                    found.append(self._payloads.bring(payload))
            return self._payloads.pack(request.spoilt(tuple(found), str(error)), queue)
