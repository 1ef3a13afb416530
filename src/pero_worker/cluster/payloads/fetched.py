"""Payloads fetched before they are needed, while the engine works, up to a limit in bytes."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future

from pero_worker.wire.references import PayloadReference
from pero_worker.worker.helpers import Helpers

MOST_BYTES = 64_000_000
"""Limit for contents that nobody has asked for yet."""


class FetchedAhead:
    """Fetches payloads ahead of their use. Threads may share it."""

    def __init__(self, fetch: Callable[[PayloadReference], bytes], helpers: Helpers) -> None:
        self._fetch = fetch
        self._helpers = helpers
        self._lock = threading.Lock()
        self._found: dict[PayloadReference, Future[bytes]] = {}
        """The oldest first."""
        self._bytes = 0

    def expect(self, reference: PayloadReference) -> None:
        """Starts to fetch what will soon be needed. If there is no room for it, it is fetched when it is needed."""
        future: Future[bytes] = Future()
        with self._lock:
            if reference in self._found:
                return
            self._make_room(reference.size)
            if self._bytes + reference.size > MOST_BYTES:
                return
            self._found[reference] = future
            self._bytes += reference.size
        self._helpers.do(lambda: self._bring(reference, future))

    def take(self, reference: PayloadReference) -> bytes | None:
        """Returns the content, and waits for it if it is on its way; None: it was not expected, or could not be
        fetched."""
        with self._lock:
            future = self._found.pop(reference, None)
            if future is None:
                return None
            self._bytes -= reference.size
        return future.result() if future.exception() is None else None

    def _make_room(self, size: int) -> None:
        """Drops contents that were fetched and never used, because their message went to another worker."""
        for reference, future in list(self._found.items()):
            if self._bytes + size <= MOST_BYTES:
                return
            if future.done():
                del self._found[reference]
                self._bytes -= reference.size

    def _bring(self, reference: PayloadReference, future: Future[bytes]) -> None:
        try:
            future.set_result(self._fetch(reference))
        except Exception as error:  # the page that needs it fetches it again, and sees the error then
            future.set_exception(error)
