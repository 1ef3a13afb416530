"""The payloads of a cluster: which travel as references, where they are kept, and when they are fetched and removed."""

from __future__ import annotations

import hashlib
import logging
import threading
from collections.abc import Callable, Iterable
from dataclasses import replace
from functools import partial
from uuid import uuid4

from pero_worker.cluster.payloads.fetched import FetchedAhead
from pero_worker.cluster.registry.payloads import PayloadSettings
from pero_worker.errors import NoFileError, PageError, RequestError, StageError, StoreAwayError, TransientError
from pero_worker.ports import Clock
from pero_worker.request import Payload, Request
from pero_worker.stores.location import StoreAccess
from pero_worker.stores.objects import ObjectStore
from pero_worker.wire.references import HOUR_FORM, SCHEME, PayloadReference, parse_reference, store_mark
from pero_worker.wire.requests import decode_request
from pero_worker.worker.helpers import Helpers

logger = logging.getLogger(__name__)
_THREADS = 4
_LEAVE_SECONDS = 3.0
"""How long pending removals may take when a program ends; the rest are removed once they are old."""
_MARK = SCHEME.encode()


class PayloadDesk:
    """`ports.Payloads` of a cluster. Threads may share it."""

    def __init__(
        self,
        access: StoreAccess,
        clock: Clock,
        *,
        look_up: Callable[[], PayloadSettings],
        wants: Callable[[str, Payload], bool] = lambda _queue, _payload: True,
        new_name: Callable[[], str] = lambda: uuid4().hex,
    ) -> None:
        """`look_up` reads the settings afresh; `wants` says whether the consumer of a queue will need a given
        payload."""
        self.settings = PayloadSettings()
        """The latest settings."""
        self.wants = wants
        self._access = access
        self._clock = clock
        self._look_up = look_up
        self._new_name = new_name
        self._stores: dict[str, ObjectStore] = {}
        self._lock = threading.Lock()
        self._helpers = Helpers("payloads", _THREADS)
        self._ahead = FetchedAhead(self._fetch, self._helpers)

    def told(self, settings: PayloadSettings) -> None:
        """Uses these settings from now on."""
        self.settings = settings

    # -- contents --------------------------------------------------------------------------------------------------

    def bring(self, payload: Payload) -> Payload:
        if not payload.reference.startswith(SCHEME):
            return payload
        reference = parse_reference(payload.reference)
        if reference is None:
            raise PageError(f"the reference to {payload.name!r} is none that can be followed", permanent=True)
        found = self._ahead.take(reference)
        try:
            content = found if found is not None else self._fetch(reference)
        except NoFileError as error:
            raise PageError(
                f"{payload.name!r} is not in the payload store any more ({reference.key}): send the page again",
                permanent=True,
            ) from error
        if not reference.fits(content):
            raise PageError(
                f"{payload.name!r} in the payload store ({reference.key}) is not what was put there: its length or "
                "SHA-256 differs; send the page again",
                permanent=True,
            )
        return replace(payload, content=content, reference="")

    def whole(self, request: Request) -> Request:
        """Returns the request with all contents. If some cannot be fetched, the page has failed and keeps the
        others."""
        if not any(payload.reference for payload in request.results):
            return request
        brought, problem = [], ""
        for payload in request.results:
            try:
                brought.append(self.bring(payload))
            except PageError as error:
                problem = problem or str(error)
        results = tuple(brought)
        return request.spoilt(results, problem) if problem else request.with_results(results)

    def pack(self, request: Request, queue: str) -> Request:
        settings = self.settings
        if settings.takes_references(request, queue):
            results = tuple(self._put(payload, settings) for payload in request.results)
            return replace(request, results=results)
        return request.with_results(tuple(self.bring(payload) for payload in request.results))

    def is_packed(self, request: Request, queue: str) -> bool:
        settings = self.settings
        if settings.takes_references(request, queue):
            return not any(_is_large(payload, settings) for payload in request.results)
        return not any(payload.reference.startswith(SCHEME) for payload in request.results)

    def expect(self, queue: str, body: bytes) -> int:
        """Starts to fetch what a message that will soon be processed refers to, and returns its size in bytes. Never
        waits."""
        if _MARK not in body:
            return 0
        try:
            request = decode_request(body)
        except RequestError:
            return 0
        beside = 0
        for payload in request.results:
            reference = parse_reference(payload.reference)
            if reference is not None and self.wants(queue, payload):
                beside += reference.size
                self._ahead.expect(reference)
        return beside

    def stores(self) -> list[ObjectStore]:
        """Returns all stores in the settings."""
        return [self._store(url) for url in self.settings.stores.values()]

    def release(self, references: Iterable[str]) -> None:
        """Removes payloads that are no longer needed, in the background; any that remain are removed once they are
        old."""
        for text in references:
            reference = parse_reference(text)
            if reference is not None:
                self._helpers.do(partial(self._remove, reference))

    def close(self) -> None:
        if not self._helpers.wait(_LEAVE_SECONDS):
            logger.warning("some payloads are not removed yet: that is done when they are old")
        with self._lock:
            stores = list(self._stores.values())
        for store in stores:
            store.close()

    # -- the inside ------------------------------------------------------------------------------------------------

    def _put(self, payload: Payload, settings: PayloadSettings) -> Payload:
        if not _is_large(payload, settings):
            return payload
        content = payload.content
        reference = PayloadReference(
            store=store_mark(settings.url),
            key=f"{self._clock.now().strftime(HOUR_FORM)}/{self._new_name()}",
            size=len(content),
            digest=hashlib.sha256(content).hexdigest(),
        )
        self._store(settings.url).put(reference.key, content)
        return replace(payload, content=b"", reference=str(reference))

    def _fetch(self, reference: PayloadReference) -> bytes:
        return self._store_of(reference).get(reference.key, reference.size)

    def _remove(self, reference: PayloadReference) -> None:
        try:
            self._store_of(reference).remove(reference.key)
        except (TransientError, PageError) as error:
            logger.info("%s is removed when it is old: %s", reference.key, error)

    def _store_of(self, reference: PayloadReference) -> ObjectStore:
        url = self.settings.stores.get(reference.store)
        if url is None:
            # It may only just have been registered.
            self.told(self._look_up())
            url = self.settings.stores.get(reference.store)
        if url is None:
            raise PageError(
                f"{reference.key} lies in a payload store ({reference.store}) that this cluster does not name: see "
                "pero-worker payloads show",
                permanent=True,
            )
        return self._store(url)

    def _store(self, url: str) -> ObjectStore:
        with self._lock:
            if url not in self._stores:
                try:
                    self._stores[url] = ObjectStore(url, self._access)
                except StageError as error:
                    raise StoreAwayError(f"the payload store cannot be used: {error}") from error
            return self._stores[url]


def _is_large(payload: Payload, settings: PayloadSettings) -> bool:
    return not payload.reference and len(payload.content) >= max(settings.min_bytes, 1)
