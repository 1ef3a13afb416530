"""What all routes and threads of a gateway share."""

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
"""How many PDFs of whole jobs are made at a time."""


@dataclass(slots=True, kw_only=True)
class Gateway:
    """One process's settings, database and folder; time and randomness are passed in."""

    settings: GatewaySettings
    """The settings that the process was started with."""
    database: Database
    """The database of jobs, pages, keys and events."""
    files: DataFolder
    """The folder of uploads and results."""
    server_secret: str
    """The secret that keys are hashed with."""
    now: Callable[[], float] = time.time
    """Returns the time in seconds since 1970."""
    random_bytes: Callable[[int], bytes] = secrets.token_bytes
    """The source of randomness for keys and ids."""
    trouble: Callable[[], str] = lambda: ""
    """Returns why pages are not being processed at present, or ''."""
    watching: Watching = field(default_factory=lambda: Watching(NoOverview()))
    """The view of whoever processes the pages."""
    apart: ProcessApart
    """The separate process that opens files which may crash it."""
    whole_pdfs: threading.BoundedSemaphore = field(default_factory=lambda: threading.BoundedSemaphore(_WHOLE_PDFS))
    """Held while the PDF of a whole job is made."""
    limiter: RateLimiter
    """Limits how many requests each key may make."""
    traces: PageTraces | None = None
    """Records where the pages' time goes; None if nobody wants to know."""
    stopping: threading.Event = field(default_factory=threading.Event)
    """Set when the process should end."""

    def key_of(self, text: str) -> Key | None:
        """Returns the key with this text, if there is one, and records that it was used."""
        with self.database.read() as connection:
            key = find_key(connection, text, self.server_secret)
        now = self.now()
        if key is not None and key.active and needs_touch(key, now):
            with self.database.write() as connection:
                touch(connection, key, now)
        return key


def open_gateway(settings: GatewaySettings) -> Gateway:
    """Opens a gateway, creating what does not exist yet; raises `OutputError` if the data folder cannot be written
    to."""
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
