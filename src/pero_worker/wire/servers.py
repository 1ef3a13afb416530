"""Server addresses: `host`, `host:port`, `[IPv6]:port`, as given on command lines and in ZooKeeper."""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass

from pero_worker.errors import UsageError

ZOOKEEPER_PORT = 2181
AMQP_PORT = 5672
AMQP_TLS_PORT = 5671
MANAGEMENT_PORT = 15672

_LABEL = re.compile(r"(?!-)[A-Za-z0-9_-]{1,63}(?<!-)")


@dataclass(frozen=True, slots=True, order=True, kw_only=True)
class Server:
    """The address of a server."""

    host: str
    """Host name or IP address."""
    port: int | None = None
    """Port; None for the service's usual one."""

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port is None else f"{host}:{self.port}"

    def with_port(self, default: int) -> Server:
        return self if self.port is not None else Server(host=self.host, port=default)


def parse_server(text: str) -> Server:
    """Parses an address.

    Raises `UsageError` if the host is neither a name nor an IP address, or the port is impossible.
    """
    given = text.strip()
    bracketed = re.fullmatch(r"\[([^\]]+)\](?::(\d{1,5}))?", given)
    if bracketed:
        host, port = bracketed.groups()
    elif given.count(":") > 1:
        host, port = given, None
    else:
        host, _, port = given.partition(":")
        if ":" in given and not port:
            host = ""
    if port is not None and port != "" and not (port.isdigit() and 0 < int(port) < 65536):
        raise UsageError(f"{text!r}: a port is a number from 1 to 65535")
    if not _is_host(host):
        raise UsageError(f"{text!r} is no server: write HOST, HOST:PORT or [IPv6]:PORT")
    return Server(host=host, port=int(port) if port else None)


def _is_host(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return bool(host) and len(host) <= 253 and all(_LABEL.fullmatch(label) for label in host.rstrip(".").split("."))
    return True
