"""Opening a ZooKeeper session, with kazoo's errors turned into ours."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, TypeVar

from kazoo.client import KazooClient
from kazoo.exceptions import (
    AuthFailedError,
    ConnectionClosedError,
    ConnectionLoss,
    KazooException,
    NoAuthError,
    OperationTimeoutError,
    SessionExpiredError,
)
from kazoo.handlers.threading import KazooTimeoutError
from kazoo.retry import KazooRetry

from pero_worker.errors import TransientError, UsageError
from pero_worker.wire.servers import ZOOKEEPER_PORT, parse_server

# What goes wrong with a session is told once, by us.
logging.getLogger("kazoo").setLevel(logging.CRITICAL)

T = TypeVar("T")
AWAY = (ConnectionLoss, ConnectionClosedError, SessionExpiredError, OperationTimeoutError, KazooTimeoutError)


@dataclass(frozen=True, slots=True)
class ZooKeeperAccess:
    """`servers` as HOST, HOST:PORT; `/path` after the last one is a root that the whole farm lies in.

    `ca_cert`: PEM file of the authority that signed the servers' certificates; '' = no TLS.
    """

    servers: tuple[str, ...] = ("127.0.0.1:2181",)
    user: str = ""
    password: str = field(default="", repr=False)
    ca_cert: str = ""
    session_timeout: float = 10.0
    patience: float = 10.0
    """Seconds to wait for the first connection, and for an answer."""

    @property
    def hosts(self) -> str:
        """As kazoo wants them. UsageError: no server, or none that can be."""
        joined = ",".join(self.servers)
        addresses, _, root = joined.partition("/")
        if "," in root:
            raise UsageError(f"{joined}: a root like /archive stands after the last server")
        servers = [str(parse_server(part).with_port(ZOOKEEPER_PORT)) for part in addresses.split(",") if part.strip()]
        if not servers:
            raise UsageError("name a ZooKeeper server: -z HOST[:PORT]")
        return ",".join(servers) + (f"/{root}" if root else "")


def connect(access: ZooKeeperAccess) -> KazooClient:
    """A started client, which reconnects by itself with growing pauses. TransientError: no server answers."""
    retry = KazooRetry(max_tries=-1, delay=0.2, backoff=2, max_jitter=0.5, max_delay=5)
    sasl = {"mechanism": "DIGEST-MD5", "username": access.user, "password": access.password} if access.user else None
    client = KazooClient(
        access.hosts,
        timeout=access.session_timeout,
        connection_retry=retry,
        command_retry=KazooRetry(max_tries=3, delay=0.1, backoff=2, max_delay=2),
        sasl_options=sasl,
        use_ssl=bool(access.ca_cert),
        ca=access.ca_cert or None,
        verify_certs=bool(access.ca_cert),
    )
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "No chroot path exists")
            client.start(timeout=access.patience)
        if client.chroot:
            client.ensure_path("/")
    except (KazooTimeoutError, KazooException) as error:
        _stop(client)
        hint = ", or user or password is wrong" if access.user else ""
        raise TransientError(
            f"no ZooKeeper at {access.hosts} ({type(error).__name__}{hint}): start it (pero-worker up), "
            "or say where it is with -z HOST[:PORT]"
        ) from error
    return client


@contextmanager
def session(access: ZooKeeperAccess) -> Iterator[KazooClient]:
    client = connect(access)
    try:
        yield client
    finally:
        _stop(client)


def _stop(client: Any) -> None:
    try:
        client.stop()
    except Exception as error:  # kazoo raises of its own accord when it never was connected
        logging.getLogger(__name__).debug("stopping ZooKeeper's client: %s", error)
    try:
        client.close()
    except Exception as error:
        logging.getLogger(__name__).debug("closing ZooKeeper's client: %s", error)


def asked(client: Any, question: Callable[[], T], patience: float = 10.0) -> T:
    """What `question`, one of kazoo's asynchronous calls, comes to. kazoo's own exceptions pass, except
    TransientError: ZooKeeper is away, or does not answer in `patience` seconds."""
    if not client.connected:
        raise TransientError("the connection to ZooKeeper is lost")
    pending: Any = question()
    try:
        answer: T = pending.get(timeout=patience)
    except AWAY as error:
        raise TransientError(f"ZooKeeper does not answer ({type(error).__name__})") from error
    except (NoAuthError, AuthFailedError) as error:
        raise TransientError("ZooKeeper refuses this user: check user and password") from error
    return answer
