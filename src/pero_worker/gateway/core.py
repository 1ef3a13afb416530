"""What all routes and threads of one gateway share."""

from __future__ import annotations

import secrets
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from pero_worker.gateway.files import DataFolder
from pero_worker.gateway.keys import Key
from pero_worker.gateway.limits import OwnBuckets, RateLimiter, SharedBuckets
from pero_worker.gateway.overview import NoOverview, Watching
from pero_worker.gateway.settings import GatewaySettings
from pero_worker.gateway.store.database import Database
from pero_worker.gateway.store.keys import find_key, needs_touch, touch
from pero_worker.gateway.traces import PageTraces
from pero_worker.jobs.apart import ProcessApart

_APART_SECONDS = 120.0
_WHOLE_PDFS = 2
"""PDFs of jobs that are made at a time."""


@dataclass(slots=True, kw_only=True)
class Gateway:
    """One process's settings, database and folder; time and randomness as they are given."""

    settings: GatewaySettings
    """As it was started."""
    database: Database
    """Jobs, pages, keys and events."""
    files: DataFolder
    """Uploads and results."""
    server_secret: str
    """What keys are hashed with."""
    now: Callable[[], float] = time.time
    """Seconds since 1970."""
    random_bytes: Callable[[int], bytes] = secrets.token_bytes
    """For keys and ids."""
    trouble: Callable[[], str] = lambda: ""
    """Why pages are not being done at present."""
    watching: Watching = field(default_factory=lambda: Watching(NoOverview()))
    """What is seen of whoever does the pages."""
    apart: ProcessApart
    """Opens files that may crash it."""
    whole_pdfs: threading.BoundedSemaphore = field(default_factory=lambda: threading.BoundedSemaphore(_WHOLE_PDFS))
    """Taken by whoever makes the PDF of a job."""
    limiter: RateLimiter
    """How many requests a key may make."""
    traces: PageTraces | None = None
    """Who is told where pages' time goes; None: nobody."""
    stopping: threading.Event = field(default_factory=threading.Event)
    """Set when the process is to end."""

    def key_of(self, text: str) -> Key | None:
        """The key whose text this is; notes that it was used."""
        with self.database.read() as connection:
            key = find_key(connection, text, self.server_secret)
        now = self.now()
        if key is not None and key.active and needs_touch(key, now):
            with self.database.write() as connection:
                touch(connection, key, now)
        return key


def open_gateway(settings: GatewaySettings) -> Gateway:
    """Makes what is not there yet. OutputError: the data folder cannot be written to."""
    files = DataFolder(root=settings.data.absolute())
    files.create()
    database = Database(settings.database_url)
    database.create()
    limiter = RateLimiter(OwnBuckets() if database.is_sqlite else SharedBuckets(database))
    return Gateway(
        settings=settings,
        database=database,
        files=files,
        server_secret=files.server_secret(),
        apart=ProcessApart(time_limit=_APART_SECONDS),
        limiter=limiter,
    )
