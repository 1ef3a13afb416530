"""Runs a gateway from start to end: database, workers, web server."""

from __future__ import annotations

import fcntl
import logging
import socket
import threading
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

import uvicorn

from pero_worker.clock import SystemClock
from pero_worker.errors import UsageError
from pero_worker.gateway import farm_events, fetching, housekeeping, web, webhooks
from pero_worker.gateway.app import make_app
from pero_worker.gateway.backend import PageBackend
from pero_worker.gateway.background import Background
from pero_worker.gateway.core import Gateway, open_gateway
from pero_worker.gateway.dispatcher import Dispatcher
from pero_worker.gateway.documents import DocumentReader, Library
from pero_worker.gateway.farm_events import FarmWatch
from pero_worker.gateway.fetching import PageFetcher
from pero_worker.gateway.housekeeping import Housekeeper
from pero_worker.gateway.outbound import Outbound
from pero_worker.gateway.overview import NoOverview, Overview, Watching
from pero_worker.gateway.patience import patient_protocol
from pero_worker.gateway.settings import GatewaySettings
from pero_worker.gateway.traces import open_traces
from pero_worker.gateway.webhooks import WebhookSender

logger = logging.getLogger(__name__)
_GRACE_SECONDS = 5


def serve(
    settings: GatewaySettings,
    backend: PageBackend,
    *,
    overview: Overview | None = None,
    default_engine: bool = True,
    listening: Callable[[str], None] = lambda url: None,
) -> None:
    """Serves until SIGTERM or Ctrl-C. `listening` is called with the address once the gateway answers.

    Raises `UsageError` if the port is taken or another gateway uses the SQLite database, and `StageError` if a pipeline
    is unusable.
    """
    with _alone(settings), _listen(settings) as listener:
        gateway = open_gateway(settings)
        gateway.watching, gateway.traces = Watching(overview or NoOverview()), open_traces()
        instance = str(uuid.uuid4())
        dispatcher = Dispatcher(gateway, backend, SystemClock(), instance, default_engine=default_engine)
        outbound = Outbound(allowed_hosts=settings.allowed_hosts)
        stopping = gateway.stopping
        housekeeper, deliver = Housekeeper(gateway), WebhookSender(gateway, outbound).deliver_next
        library = Library(settings)
        fetcher, documents = PageFetcher(gateway, outbound, library), DocumentReader(gateway, library)
        helpers = (
            Background("housekeeper", housekeeper.tidy, stopping, pause=housekeeping.ROUND_SECONDS, patience=10),
            Background("deadlines", housekeeper.end_late_jobs, stopping, pause=housekeeping.DEADLINE_SECONDS),
            Background("webhooks", deliver, stopping, pause=webhooks.POLL_SECONDS),
            Background("fetcher", fetcher.fetch_some, stopping, pause=fetching.POLL_SECONDS),
            Background("farm", FarmWatch(gateway, instance).look, stopping, pause=farm_events.POLL_SECONDS),
            Background("documents", documents.read_some, stopping, pause=fetching.POLL_SECONDS),
        )
        try:
            dispatcher.start()
            for helper in helpers:
                helper.start()
            _run(gateway, listener, listening)
        finally:
            dispatcher.stop()
            for helper in helpers:
                helper.stop()
            fetcher.close()
            library.close()
            gateway.apart.close()
            gateway.database.close()
            if gateway.traces is not None:
                gateway.traces.close()


def _run(gateway: Gateway, listener: socket.socket, listening: Callable[[str], None]) -> None:
    settings = gateway.settings
    config = uvicorn.Config(
        make_app(gateway),
        http=patient_protocol(settings.client_timeout),
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=bool(settings.trusted_proxies),
        forwarded_allow_ips=settings.trusted_proxies or None,
        timeout_graceful_shutdown=_GRACE_SECONDS,
        ssl_certfile=settings.certificate,
        ssl_keyfile=settings.private_key,
    )
    server = _Server(config, gateway.stopping)
    host, port = listener.getsockname()[:2]
    shown = f"[{host}]" if ":" in host else host
    threading.Thread(target=web.prepare, name="pages", daemon=True).start()
    server.announce = lambda: listening(f"{'https' if settings.certificate else 'http'}://{shown}:{port}")
    server.run([listener])


class _Server(uvicorn.Server):
    """Announces when it listens, and tells waiting streams when it stops."""

    def __init__(self, config: uvicorn.Config, stopping: threading.Event) -> None:
        super().__init__(config)
        self._stopping = stopping
        self.announce: Callable[[], None] = lambda: None

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.announce()

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        self._stopping.set()
        super().handle_exit(sig, frame)
        self._captured_signals.clear()  # Otherwise the signal is raised again at the end, before we have signed off.


@contextmanager
def _alone(settings: GatewaySettings) -> Iterator[None]:
    """Ensures that a SQLite database has only one gateway: several could not tell each other what they do."""
    if not settings.uses_sqlite:
        yield
        return
    try:
        settings.data.mkdir(parents=True, exist_ok=True)
        lock = (settings.data / "lock").open("w")
    except OSError as error:
        raise UsageError(f"cannot write to the data folder {settings.data}: {error.strerror}") from error
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise UsageError(
                f"another gateway uses {settings.data}; for two of them give both a PostgreSQL database (--database)"
            ) from None
        yield


@contextmanager
def _listen(settings: GatewaySettings) -> Iterator[socket.socket]:
    try:
        family = socket.getaddrinfo(settings.host, settings.port, type=socket.SOCK_STREAM)[0][0]
        listener = socket.create_server((settings.host, settings.port), family=family, backlog=2048, reuse_port=False)
    except (OSError, OverflowError) as error:
        raise UsageError(f"cannot listen on {settings.host}, port {settings.port}: {error}") from error
    with listener:
        yield listener
