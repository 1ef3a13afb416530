"""Our requests to addresses that clients name: only to hosts that anybody on the internet could reach as well."""

from __future__ import annotations

import http.client
import socket
import ssl
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import SplitResult, urljoin, urlsplit

from pero_worker.errors import PageError, PeroWorkerError
from pero_worker.inputs.web.addresses import AddressRules

_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_MAX_REDIRECTS = 5
_PIECE = 262_144
Resolve = Callable[[str, int], Sequence[str]]


class OutboundError(PeroWorkerError):
    """The address is not allowed, or does not answer as it should. `status` is the status of its answer, if there was
    one."""

    failure_class = "request"

    def __init__(self, message: str, status: int | None = None) -> None:
        super().__init__(message)
        self.status = status


def _resolve(host: str, port: int) -> Sequence[str]:
    return [str(found[4][0]) for found in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)]


@dataclass(frozen=True, slots=True, kw_only=True)
class Outbound:
    """Makes requests to allowed addresses."""

    allowed_hosts: frozenset[str] = frozenset()
    """Hosts that may be private, and may be reached without TLS."""
    timeout: float = 15.0
    """Time limit for each step of a request, in seconds."""
    resolve: Resolve = field(default=_resolve)
    """Looks up the addresses of a host."""

    def post(self, url: str, body: bytes, headers: Mapping[str, str]) -> int:
        """Posts a body and returns the status; does not follow redirects.

        Raises `OutboundError` if the address is not allowed or does not answer.
        """
        connection = self._connect(url)
        try:
            connection.request("POST", _path(urlsplit(url)), body, dict(headers))
            response = connection.getresponse()
            response.read(1024)
            return response.status
        except (OSError, http.client.HTTPException) as error:
            raise OutboundError(f"no answer: {type(error).__name__}") from error
        finally:
            connection.close()

    def fetch(self, url: str, target: Path, limit: int) -> int:
        """Downloads `url` to `target`, at most `limit` bytes, and returns the size.

        Checks each redirect like the first address. Raises `OutboundError` if an address is not allowed, does not
        answer or is not found, or the content is too large.
        """
        for _ in range(_MAX_REDIRECTS + 1):
            connection = self._connect(url)
            try:
                connection.request("GET", _path(urlsplit(url)), headers={"User-Agent": "pero-worker"})
                response = connection.getresponse()
                location = response.getheader("Location")
                if response.status in _REDIRECTS and location:
                    url = urljoin(url, location)
                    continue
                if response.status != 200:
                    raise OutboundError(f"it was answered with status {response.status}", response.status)
                return _store(response, target, limit)
            except (OSError, http.client.HTTPException, ValueError) as error:
                raise OutboundError(f"no answer: {type(error).__name__}") from error
            finally:
                connection.close()
        raise OutboundError("it is redirected again and again")

    def _connect(self, url: str) -> http.client.HTTPConnection:
        """Opens a connection to the very IP address that was checked: the name may resolve to another one a moment
        later."""
        parts = urlsplit(url)
        rules = AddressRules(named=self.allowed_hosts, plain=False)
        try:
            host = rules.check_url(url)
            if parts.username is not None:
                raise OutboundError("an address has no user name in it")
            port = parts.port or (443 if parts.scheme == "https" else 80)
            addresses = self.resolve(host, port)
            for found in addresses:
                rules.check_ip(found, host)
        except PageError as error:
            raise OutboundError("the address leads into a private network or to no host") from error
        except (OSError, ValueError):
            raise OutboundError("there is no such host") from None
        if not addresses:
            raise OutboundError("there is no such host")
        address = addresses[0]
        if parts.scheme == "https":
            return _Pinned(host, address, port, self.timeout)
        return http.client.HTTPConnection(address, port, timeout=self.timeout)


class _Pinned(http.client.HTTPSConnection):
    """A TLS connection to a fixed IP address that verifies the certificate against the requested host name."""

    def __init__(self, host: str, address: str, port: int, timeout: float) -> None:
        super().__init__(host, port, timeout=timeout)
        self._address = address

    def connect(self) -> None:
        plain = socket.create_connection((self._address, self.port), self.timeout)
        self.sock = ssl.create_default_context().wrap_socket(plain, server_hostname=self.host)


def _path(parts: SplitResult) -> str:
    return f"{parts.path or '/'}{f'?{parts.query}' if parts.query else ''}"


def _store(response: http.client.HTTPResponse, target: Path, limit: int) -> int:
    size = 0
    with target.open("wb") as stream:
        while piece := response.read(_PIECE):
            size += len(piece)
            if size > limit:
                raise OutboundError(f"it has more than {limit:,} bytes")
            stream.write(piece)
    return size
