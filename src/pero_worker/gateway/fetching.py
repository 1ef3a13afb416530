"""The thread that fetches scans whose addresses clients gave us."""

from __future__ import annotations

import hashlib
import logging
from pathlib import Path

from sqlalchemy import RowMapping, select

from pero_worker.gateway.core import Gateway
from pero_worker.gateway.endings import failure_ending
from pero_worker.gateway.outbound import Outbound, OutboundError
from pero_worker.gateway.states import Failure, PageState
from pero_worker.gateway.store.jobs import accept_fetched, finish_page
from pero_worker.gateway.store.schema import pages

logger = logging.getLogger(__name__)
POLL_SECONDS = 1.0
_AT_ONCE = 20


class Fetcher:
    """Of two gateways both may fetch a scan; the first keeps it."""

    def __init__(self, gateway: Gateway, outbound: Outbound) -> None:
        self._gateway = gateway
        self._outbound = outbound

    def fetch_some(self) -> bool:
        """Whether there was something to fetch."""
        query = (
            select(pages)
            .where(
                pages.c.state == PageState.WAITING.value, pages.c.url.is_not(None), pages.c.image_uploaded.is_(False)
            )
            .order_by(pages.c.number)
            .limit(_AT_ONCE)
        )
        with self._gateway.database.read() as connection:
            found = connection.execute(query).mappings().all()
        for page in found:
            if self._gateway.stopping.is_set():
                break
            self._fetch(page)
        return bool(found)

    def _fetch(self, page: RowMapping) -> None:
        files = self._gateway.files
        with files.unfinished() as path:
            try:
                size = self._outbound.fetch(page["url"], path, self._gateway.settings.max_upload)
            except OutboundError as error:
                ending = failure_ending(page["id"], Failure.NOT_FOUND, f"the scan could not be fetched: {error}")
                with self._gateway.database.write() as connection:
                    finish_page(connection, ending.end, self._gateway.now())
                return
            digest = _digest_of(path)
            with self._gateway.database.write() as connection:
                if accept_fetched(connection, page["id"], size, digest, self._gateway.now()):
                    files.place(path, files.image(page["job"], page["id"]))


def _digest_of(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
