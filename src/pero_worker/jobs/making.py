"""Makes files of whole documents one after another, while other pages are still on their way."""

from __future__ import annotations

from collections import deque
from collections.abc import Set
from concurrent.futures import Future, ThreadPoolExecutor

from pero_worker.errors import PageError
from pero_worker.formats import DocumentFormat
from pero_worker.jobs.collect import Collector
from pero_worker.jobs.plan import OpenedDocument

_MAX_WAITING = 100
"""Most files that may wait; more of them hold up the pages."""


class DocumentMaking:
    """The files to be made, oldest first; its length is the number not yet taken."""

    def __init__(self, collector: Collector, dpi: int) -> None:
        """`dpi`: resolution of images that do not state their own."""
        self._collector = collector
        self._dpi = dpi
        self._thread = ThreadPoolExecutor(1, "documents")
        self._waiting: deque[tuple[str, str, Future[None]]] = deque()

    def __len__(self) -> int:
        return len(self._waiting)

    @property
    def has_one_made(self) -> bool:
        """Whether `take` returns at once."""
        return bool(self._waiting) and self._waiting[0][2].done()

    @property
    def is_full(self) -> bool:
        """Whether so many are waiting that pages should wait too."""
        return len(self._waiting) > _MAX_WAITING

    def begin(self, planned: OpenedDocument, wanted: DocumentFormat, failed: Set[str]) -> None:
        """Queues a file to be made; `failed`: names of the pages that it has to do without."""
        future = self._thread.submit(self._collector.make_document, planned, wanted, failed, self._dpi)
        self._waiting.append((planned.document.name, wanted.name, future))

    def take(self) -> tuple[str, str, str] | None:
        """Waits for the oldest file; returns document, format and reason if it could not be made."""
        name, wanted, future = self._waiting.popleft()
        try:
            future.result()
        except PageError as error:
            return name, wanted, str(error)
        return None

    def abandon(self, *, wait: bool) -> None:
        """Leaves what has not been started to the next run; `wait`: waits for the file in hand."""
        self._thread.shutdown(wait=wait, cancel_futures=True)

    def close(self) -> None:
        """Ends the thread; to be called after the last file is taken."""
        self._thread.shutdown()
