"""The note on a page that may have killed a worker: it lasts as long as the work on the page."""

from __future__ import annotations

import hashlib
import logging

from pero_worker.errors import TransientError
from pero_worker.ports import Suspects
from pero_worker.request import Request
from pero_worker.work import Delivery

logger = logging.getLogger(__name__)


class Suspicion:
    """Keeps the note for one worker, which has one page in its engine at a time."""

    def __init__(self, suspects: Suspects) -> None:
        self._suspects = suspects
        self._page = ""

    def begin(self, delivery: Delivery, request: Request) -> int:
        """Makes the note, and returns how many workers are known to have died on the page."""
        if not delivery.redelivered:
            return 0
        self._page = _key(request)
        try:
            return self._suspects.begin_suspect(self._page)
        except TransientError as error:
            logger.warning("it is not known how many workers died on this page: %s", error)
            return 0

    def end(self, *, survived: bool) -> None:
        """Ends the note. `survived`: the work on the page is done; if not, it was broken off through no fault of the
        page. May be called from any thread."""
        page, self._page = self._page, ""
        if page:
            self._suspects.end_suspect(page, survived=survived)


def _key(request: Request) -> str:
    """Returns a name for a page in a stage that is valid for a ZooKeeper node, whatever ids came over the wire."""
    return hashlib.sha256("\0".join((request.uuid, request.page_uuid, request.stage)).encode()).hexdigest()[:32]
