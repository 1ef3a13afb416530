"""Fetches scans from addresses given by clients or documents."""

from __future__ import annotations

import hashlib
import logging
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from shutil import copyfile

from sqlalchemy import RowMapping, func, select

from pero_worker.errors import OutputError, PageError
from pero_worker.gateway.core import Gateway
from pero_worker.gateway.documents import Library
from pero_worker.gateway.endings import failure_ending
from pero_worker.gateway.outbound import Outbound, OutboundError
from pero_worker.gateway.states import Failure, PageState
from pero_worker.gateway.store.filling import accept_fetched
from pero_worker.gateway.store.progress import finish_page
from pero_worker.gateway.store.schema import pages

logger = logging.getLogger(__name__)
POLL_SECONDS = 1.0
_AT_ONCE = 20
_AT_A_TIME = 4


class PageFetcher:
    """Fetches scans. Two gateways may both fetch a scan; the first one keeps it."""

    def __init__(self, gateway: Gateway, outbound: Outbound, library: Library) -> None:
        self._gateway = gateway
        self._outbound = outbound
        self._library = library
        self._threads = ThreadPoolExecutor(_AT_A_TIME, thread_name_prefix="fetcher")

    def fetch_some(self) -> bool:
        """Fetches some scans, and returns whether there were any to fetch."""
        to_fetch = (
            (pages.c.state == PageState.WAITING.value) & pages.c.url.is_not(None) & pages.c.image_uploaded.is_(False)
        )
        # One page of each job, so that a job with thousands does not hold up the others.
        first = select(func.min(pages.c.number)).where(to_fetch).group_by(pages.c.job).limit(_AT_ONCE)
        with self._gateway.database.read() as connection:
            numbers = connection.execute(first).scalars().all()
            found = connection.execute(select(pages).where(pages.c.number.in_(numbers))).mappings().all()
        for done in [self._threads.submit(self._fetch, page) for page in found]:
            done.result()
        return bool(found)

    def close(self) -> None:
        """Stops fetching without waiting for fetches in progress."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    def _fetch(self, page: RowMapping) -> None:
        if self._gateway.stopping.is_set():
            return
        files = self._gateway.files
        with files.unfinished() as path:
            try:
                size = self._bring(page, path)
            except (OutboundError, PageError) as error:
                ending = failure_ending(page["id"], Failure.NOT_FOUND, f"the scan could not be fetched: {error}")
                with self._gateway.database.write() as connection:
                    finish_page(connection, ending.end, self._gateway.now())
                return
            digest = _digest_of(path)
            with self._gateway.database.write() as connection:
                if accept_fetched(connection, page["id"], size, digest, self._gateway.now()):
                    files.place(path, files.image(page["job"], page["id"]))

    def _bring(self, page: RowMapping, path: Path) -> int:
        if page["picture"] is None:
            return self._outbound.fetch(page["url"], path, self._gateway.settings.max_upload)
        try:
            copyfile(self._library.picture(page["picture"]), path)
            return path.stat().st_size
        except OSError as error:
            raise OutputError(f"cannot store a scan: {error.strerror}") from error


def _digest_of(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
