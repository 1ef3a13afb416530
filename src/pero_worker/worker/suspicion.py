"""The note on a page that may have killed a worker: it begins and ends with the engine's work on the page."""

from __future__ import annotations

import hashlib
import logging

from pero_worker.errors import TransientError
from pero_worker.ports import Suspects
from pero_worker.request import Request
from pero_worker.work import Delivery

logger = logging.getLogger(__name__)


class Suspicion:
    """Of one worker, which has one page in its engine at a time."""

    def __init__(self, suspects: Suspects) -> None:
        self._suspects = suspects
        self._page = ""

    def begin(self, delivery: Delivery, request: Request) -> int:
        """How many workers died on the page, as far as is known."""
        if not delivery.redelivered:
            return 0
        self._page = _key(request)
        try:
            return self._suspects.begin_suspect(self._page)
        except TransientError as error:
            logger.warning("it is not known how many workers died on this page: %s", error)
            return 0

    def end(self, *, survived: bool) -> None:
        """`survived`: the page's work is done; else it was broken off through no fault of the page. From any thread."""
        page, self._page = self._page, ""
        if page:
            self._suspects.end_suspect(page, survived=survived)


def _key(request: Request) -> str:
    """Names a page in a stage, for a node in ZooKeeper: whatever ids came over the wire."""
    return hashlib.sha256("\0".join((request.uuid, request.page_uuid, request.stage)).encode()).hexdigest()[:32]
