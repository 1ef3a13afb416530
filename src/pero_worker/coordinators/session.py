"""Opens ZooKeeper sessions, with kazoo's errors turned into ours."""

from __future__ import annotations

import logging
import socket
import ssl
import threading
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar

from kazoo.client import KazooClient
from kazoo.exceptions import (
    AuthFailedError,
    ConnectionClosedError,
    ConnectionLoss,
    KazooException,
    NoAuthError,
    NoNodeError,
    OperationTimeoutError,
    SessionClosedRequireSaslError,
    SessionExpiredError,
)
from kazoo.handlers.threading import KazooTimeoutError, SequentialThreadingHandler
from kazoo.protocol.connection import ConnectionDropped
from kazoo.retry import KazooRetry
from kazoo.security import make_acl

from pero_worker.coordinators.access import ZooKeeperAccess
from pero_worker.errors import TransientError
from pero_worker.wire.servers import parse_server

# Problems with a session are logged once, by us.
logging.getLogger("kazoo").setLevel(logging.CRITICAL)

T = TypeVar("T")
_ANSWER_TIMEOUT_SECONDS = 10.0
_CLOSE_TIMEOUT_SECONDS = 2.0
_HANDSHAKE_TIMEOUT_SECONDS = 3.0
"""Seconds for a server to accept a connection and to shake hands."""
CONNECTION_ERRORS = (
    ConnectionLoss,
    ConnectionClosedError,
    SessionExpiredError,
    OperationTimeoutError,
    KazooTimeoutError,
)
LOGIN_ERRORS = (NoAuthError, AuthFailedError)
_REFUSAL = "ZooKeeper refuses this user: check user and password, and whose the nodes are (pero-worker servers protect)"


def connect(access: ZooKeeperAccess) -> KazooClient:
    """Returns a started client, which reconnects by itself with growing pauses.

    Raises `TransientError` if no server answers.
    """
    retry = KazooRetry(max_tries=-1, delay=0.2, backoff=2, max_jitter=0.5, max_delay=2)
    sasl = {"mechanism": "DIGEST-MD5", "username": access.user, "password": access.password} if access.user else None
    _look_up(access)
    handler = _Handler()
    client = KazooClient(
        access.hosts,
        timeout=access.session_timeout,
        handler=handler,
        connection_retry=retry,
        command_retry=KazooRetry(max_tries=3, delay=0.1, backoff=2, max_delay=2),
        sasl_options=sasl,
        default_acl=[make_acl("sasl", access.user, all=True)] if access.user and not access.open_nodes else None,
        use_ssl=bool(access.ca_cert),
        ca=access.ca_cert or None,
        verify_certs=bool(access.ca_cert),
        check_hostname=bool(access.ca_cert),
    )
    _log_in_patiently(client, handler)
    _shake_hands_briefly(client)
    _outlive_nonsense(client, handler)
    deadline = time.monotonic() + access.patience
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "No chroot path exists")
            client.start(timeout=access.patience)
            _wait_for_login(client, handler, deadline)
        if client.chroot:
            client.ensure_path("/")
    except (KazooTimeoutError, KazooException) as error:
        _stop(client)
        if isinstance(handler.problem or error, AuthFailedError | SessionClosedRequireSaslError):
            wrong = "user or password is wrong" if access.user else "it wants a user and a password"
            raise TransientError(f"ZooKeeper at {access.hosts} refuses us: {wrong}") from error
        if isinstance(handler.problem, ssl.SSLError):
            raise TransientError(
                f"no safe connection to ZooKeeper at {access.hosts}: {handler.problem}; check the CA certificate, "
                "and that the server's is for this name"
            ) from error
        raise TransientError(
            f"no ZooKeeper at {access.hosts} ({handler.problem or 'no answer'}): start it (pero-worker up), "
            "or say where it is with -z HOST[:PORT]"
        ) from error
    return client


def _look_up(access: ZooKeeperAccess) -> None:
    """Resolves the servers' names, since kazoo waits silently for one that cannot be resolved.

    Raises `TransientError` if no server has an address.
    """
    names = [parse_server(part).host for part in access.hosts.partition("/")[0].split(",")]
    for name in names:
        try:
            socket.getaddrinfo(name, None)
        except (OSError, UnicodeError) as error:
            reason = getattr(error, "strerror", None) or str(error)
        else:
            return
    raise TransientError(f"ZooKeeper at {access.hosts} cannot be found ({reason}): correct the name after -z")


class _Handler(SequentialThreadingHandler):  # type: ignore[misc]
    """Connects in place of kazoo, which would also trust the system's authorities and leave failed sockets open.

    `problem`: why the last attempt failed, which kazoo only logs.
    """

    def __init__(self) -> None:
        super().__init__()
        self.problem: Exception | None = None

    def create_connection(
        self, address: tuple[str, int], hostname: str, timeout: float, use_ssl: bool, ca: str | None, **_: object
    ) -> socket.socket:
        try:
            connection = socket.create_connection(address, min(timeout, _HANDSHAKE_TIMEOUT_SECONDS))
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if use_ssl:
                with connection:  # closed if the next line fails; otherwise the new socket owns it
                    connection = ssl.create_default_context(cafile=ca).wrap_socket(connection, server_hostname=hostname)
        except Exception as error:
            self.problem = error
            raise
        self.problem = None
        return connection


def _log_in_patiently(client: Any, handler: _Handler) -> None:
    """Has failed logins tried again: kazoo gives up for good, even if the server was only shutting down just then."""
    log_in = client._connection._authenticate_with_sasl

    def patient(host: str, timeout: float) -> None:
        try:
            log_in(host, timeout)
        except (AuthFailedError, SessionClosedRequireSaslError) as error:
            handler.problem = error
            raise ConnectionDropped("the login failed") from error

    client._connection._authenticate_with_sasl = patient


def _shake_hands_briefly(client: Any) -> None:
    """Shortens the wait for a server that is just starting and may accept a connection and forget it: kazoo would wait
    for as long as a session."""
    ask = client._connection._invoke
    client._connection._invoke = lambda timeout, *question, **more: ask(
        min(timeout, _HANDSHAKE_TIMEOUT_SECONDS), *question, **more
    )


def _outlive_nonsense(client: Any, handler: _Handler) -> None:
    """Keeps kazoo's thread alive: bytes that make no sense would end it, and the client would silently never
    reconnect."""
    attempt = client._connection._connect_attempt

    def attempt_again(*arguments: object) -> object:
        try:
            return attempt(*arguments)
        except Exception as error:  # whatever came over the wire
            handler.problem = error
            return None

    client._connection._connect_attempt = attempt_again


def _wait_for_login(client: Any, handler: _Handler, deadline: float) -> None:
    """Waits for the login: kazoo considers a client connected before its login is complete."""
    while True:
        try:
            client.exists_async("/").get(timeout=max(deadline - time.monotonic(), 0.01))
        except (ConnectionLoss, SessionExpiredError):
            if handler.problem is not None or time.monotonic() > deadline:
                raise
            client.handler.sleep_func(0.05)
        else:
            return


@contextmanager
def session(access: ZooKeeperAccess) -> Iterator[KazooClient]:
    """Opens a session. Raises `TransientError`, also for ZooKeeper's failures inside that are not handled there."""
    client = connect(access)
    try:
        yield client
    except CONNECTION_ERRORS as error:
        raise TransientError(f"ZooKeeper at {access.hosts} went away ({type(error).__name__}): try again") from error
    except LOGIN_ERRORS as error:
        raise TransientError(_REFUSAL) from error
    finally:
        _stop(client)


def _stop(client: Any) -> None:
    """Ends the client without waiting for a server that does not answer, as kazoo would, for ten seconds and more."""
    thread = threading.Thread(target=_end, args=(client,), name="ending", daemon=True)
    thread.start()
    thread.join(_CLOSE_TIMEOUT_SECONDS)


def _end(client: Any) -> None:
    try:
        client.stop()
    except Exception as error:  # kazoo raises when it was never connected
        logging.getLogger(__name__).debug("stopping ZooKeeper's client: %s", error)
    try:
        client.close()
    except Exception as error:
        logging.getLogger(__name__).debug("closing ZooKeeper's client: %s", error)


def wait_for(client: Any, question: Callable[[], T], patience: float = _ANSWER_TIMEOUT_SECONDS) -> T:
    """Returns the result of `question`, one of kazoo's asynchronous calls. kazoo's own exceptions pass through, but
    `TransientError` is raised if ZooKeeper is away or does not answer within `patience` seconds."""
    if not client.connected:
        raise TransientError("the connection to ZooKeeper is lost")
    answer: T = _answer(question(), patience)
    return answer


def _answer(pending: Any, patience: float = _ANSWER_TIMEOUT_SECONDS) -> Any:
    try:
        return pending.get(timeout=patience)
    except CONNECTION_ERRORS as error:
        raise TransientError(f"ZooKeeper does not answer ({type(error).__name__})") from error
    except LOGIN_ERRORS as error:
        raise TransientError(_REFUSAL) from error


def read_leaves(client: Any, folder: str, leaves: Sequence[str]) -> dict[str, tuple[bytes, Any]]:
    """Returns values and stats of those nodes `folder/leaf` that exist, all requested at once, in one round trip.

    Raises `TransientError` as `wait_for` does.
    """
    if not client.connected:
        raise TransientError("the connection to ZooKeeper is lost")
    pending = {leaf: client.get_async(f"{folder}/{leaf}") for leaf in leaves}
    found: dict[str, tuple[bytes, Any]] = {}
    for leaf, answer in pending.items():
        try:
            found[leaf] = _answer(answer)
        except NoNodeError:
            continue
    return found
