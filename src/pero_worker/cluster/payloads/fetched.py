"""Contents that were fetched before somebody asks for them: beside the engine, within a bound of bytes."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future

from pero_worker.wire.references import PayloadReference
from pero_worker.worker.helpers import Helpers

MOST_BYTES = 64_000_000
"""Of contents that nobody has asked for yet."""


class FetchedAhead:
    """From any thread."""

    def __init__(self, fetch: Callable[[PayloadReference], bytes], helpers: Helpers) -> None:
        self._fetch = fetch
        self._helpers = helpers
        self._lock = threading.Lock()
        self._found: dict[PayloadReference, Future[bytes]] = {}
        """The oldest first."""
        self._bytes = 0

    def expect(self, reference: PayloadReference) -> None:
        """Somebody will ask for it soon. What there is no room for is fetched when they do."""
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
        """Waits for it when it is on its way; None: it was not expected, or could not be fetched then."""
        with self._lock:
            future = self._found.pop(reference, None)
            if future is None:
                return None
            self._bytes -= reference.size
        return future.result() if future.exception() is None else None

    def _make_room(self, size: int) -> None:
        """What was expected and came to nothing gives way: its message has gone to another worker."""
        for reference, future in list(self._found.items()):
            if self._bytes + size <= MOST_BYTES:
                return
            if future.done():
                del self._found[reference]
                self._bytes -= reference.size

    def _bring(self, reference: PayloadReference, future: Future[bytes]) -> None:
        try:
            future.set_result(self._fetch(reference))
        except Exception as error:  # whoever asks fetches it again, and hears of it then
            future.set_exception(error)
