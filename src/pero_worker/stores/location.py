"""Where a file in the model store is: URLs, and servers named the way upstream names them."""

from __future__ import annotations

import re
import socket
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from urllib.parse import unquote, urlsplit

from pero_worker.errors import StageError, TransientError, UsageError
from pero_worker.stores.protocols import PROTOCOLS
from pero_worker.wire.servers import parse_server

_GREETING_SECONDS = 5.0
# A password may contain @ and even /, though they should be percent-encoded: what follows a colon and is not a port is
# one.
_LOGIN_IN_URL = re.compile(r"(?<=://)(?:[^/\s]*@|[^/\s:]*:(?!\d+/)\S*@)")


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreAccess:
    """How this machine identifies itself to model stores, and how it recognises them. S3 takes its credentials and
    endpoint from the usual AWS_* variables."""

    user: str = ""
    """User name for FTP, FTPS and SFTP; a URL's own login takes precedence."""
    password: str = field(default="", repr=False)
    """Password of the user; without one, SFTP tries the user's keys."""
    ca_cert: Path | None = None
    """PEM file of the authority to trust, for FTPS and HTTPS; None for the system's authorities."""
    known_hosts: Path = Path("~/.ssh/known_hosts")
    """File with the keys of SFTP servers."""
    trust_new_hosts: bool = False
    """Whether the key of an unknown SFTP server is accepted and recorded."""
    ftp_tls: bool = False
    """Whether FTP servers named without a protocol speak FTPS."""
    timeout: float = 20.0
    """Seconds to wait for a connection, and each time for the next bytes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Location:
    """One file on one server. Its text form shows no login."""

    protocol: str
    """Name of the protocol, as in a URL."""
    host: str
    """The server, or the bucket for S3."""
    path: str
    """Path of the file."""
    port: int | None = None
    """Port of the server; None for the usual one."""
    user: str = ""
    """User of the login; '' if there is none."""
    password: str = field(default="", repr=False)
    """Password of the user."""

    @property
    def server(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port is None else f"{host}:{self.port}"

    def __str__(self) -> str:
        return f"{self.protocol}://{self.server}/{self.path.lstrip('/')}"


def is_url(text: str) -> bool:
    return "://" in text


def without_login(text: str) -> str:
    """Returns the text fit for a log: URLs lose their user:password@."""
    return _LOGIN_IN_URL.sub("", text)


def check_no_login(url: str) -> str:
    """Returns `url`, which others will read. Raises `UsageError` if it contains a login."""
    if without_login(url) != url:
        raise UsageError(
            f"{without_login(url)}: a login here would be read by everybody who reads the stage: "
            "leave it out, and give --user and --password-file to the workers"
        )
    return url


def locate(server: str, path: str, access: StoreAccess) -> Location:
    """Returns where the file `path` of `server` is; a `path` that is a URL needs no server, and a server may be the
    beginning of a URL.

    `host`, `host:port` and `[v6]:port` are FTP or SFTP servers: port 22 is SFTP, 21 or no port is FTP, and any other
    port is probed once. Raises `StageError` if there is no such address or protocol, and `TransientError` if the
    server that is probed is away.
    """
    if not path or not path.isprintable():
        raise StageError(f"{without_login(path)!r} is no path of a file in a model store")
    if is_url(path):
        return _from_url(path, access)
    if is_url(server):
        return _from_url(f"{server.rstrip('/')}/{path.lstrip('/')}", access)
    try:
        parsed = parse_server(server)
    except UsageError as error:
        raise StageError(f"model store: {error}") from error
    if parsed.port in {None, 21}:
        protocol = "ftp"
    elif parsed.port == 22:
        protocol = "sftp"
    else:
        protocol = greeted_protocol(parsed.host, parsed.port, min(access.timeout, _GREETING_SECONDS))
    if protocol == "ftp" and access.ftp_tls:
        protocol = "ftps"
    return Location(
        protocol=protocol,
        host=parsed.host,
        path=path,
        port=parsed.port or 21,
        user=access.user,
        password=access.password,
    )


def _from_url(url: str, access: StoreAccess) -> Location:
    protocol, _, rest = url.partition("://")
    protocol = protocol.lower()
    authority, _, path = rest.partition("/")
    if protocol not in PROTOCOLS:
        known = ", ".join(f"{name}://" for name in PROTOCOLS)
        raise StageError(f"{without_login(url)}: model archives come from {known} or a server's path")
    try:
        parts = urlsplit(f"//{authority}")
        host, port = parts.hostname or "", parts.port
    except ValueError as error:
        raise StageError(f"{without_login(url)}: {error}") from error
    kind = PROTOCOLS[protocol]
    if not path or not (host or not kind.remote):
        raise StageError(f"{without_login(url)} names no file on a server")
    user, password = unquote(parts.username or ""), unquote(parts.password or "")
    if kind.login:
        if not user:
            user, password = access.user, access.password
        return Location(
            protocol=protocol,
            host=host,
            path="/" + unquote(path),
            port=port or kind.port,
            user=user,
            password=password,
        )
    if not kind.remote:
        if host not in {"", "localhost"}:
            raise StageError(f"{without_login(url)} names a file of another machine: write file:///path")
        return Location(protocol=protocol, host="", path="/" + unquote(path))
    if kind.bucket:  # Its case is lost in `hostname`.
        host, port = authority.rpartition("@")[2], None
    return Location(protocol=protocol, host=host, path=path, port=port, user=user, password=password)


@lru_cache(maxsize=256)
def greeted_protocol(host: str, port: int, timeout: float) -> str:
    """Returns 'sftp' or 'ftp', judging by the server's first bytes.

    The answer is cached; `greeted_protocol.cache_clear()` forgets it.
    """
    greeting = b""
    try:
        with socket.create_connection((host, port), timeout) as connection:
            while len(greeting) < 4 and (more := connection.recv(4 - len(greeting))):
                greeting += more
    except OSError as error:
        raise TransientError(f"the model store {host} port {port} is away: {error}") from error
    if greeting == b"SSH-":
        return "sftp"
    if re.fullmatch(rb"\d{3}[ -]", greeting):
        return "ftp"
    if not greeting:
        raise TransientError(
            f"the model store {host} port {port} closes connections at once: it is overloaded or starting"
        )
    raise StageError(f"{host} port {port} speaks neither SFTP nor FTP: correct the list of model store servers")
