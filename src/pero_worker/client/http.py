"""Sends HTTP requests one at a time over a connection that is kept open; files are streamed both ways."""

from __future__ import annotations

import http.client
import json
import secrets
import ssl
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any
from urllib.parse import quote, urlencode, urlsplit

from pero_worker.errors import TransientError, UsageError

_TIMEOUT_SECONDS = 120.0
_PIECE = 262_144
_MAX_JSON = 256_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """A server's reply."""

    status: int
    """HTTP status."""
    headers: Mapping[str, str]
    """Header fields, with names in lower case."""
    content: bytes
    """The body; empty if it was written to a file."""

    def json(self) -> Any:
        """Returns the parsed body. Raises `TransientError` if it is not JSON, such as a proxy's page about a server
        that is away."""
        try:
            return json.loads(self.content) if self.content else None
        except ValueError as error:
            raise TransientError(f"the gateway answered {self.status} with something that is no JSON") from error


class HttpConnection:
    """A connection to a server at `url`, for one thread at a time."""

    def __init__(self, url: str, key: str, *, context: ssl.SSLContext | None = None) -> None:
        parts = urlsplit(url)
        if parts.scheme not in {"http", "https"} or not parts.hostname:
            raise UsageError(f"{url} is no address of a gateway: write http://HOST:PORT or https://HOST")
        try:
            port = parts.port
        except ValueError:
            raise UsageError(f"{url} has no valid port") from None
        self._base = parts.path.rstrip("/")
        self._key = key
        self._shown = f"{parts.scheme}://{parts.netloc}"
        if parts.scheme == "https":
            context = context or ssl.create_default_context()
            self._server: http.client.HTTPConnection = http.client.HTTPSConnection(
                parts.hostname, port, timeout=_TIMEOUT_SECONDS, context=context
            )
        else:
            self._server = http.client.HTTPConnection(parts.hostname, port, timeout=_TIMEOUT_SECONDS)

    def ask(
        self,
        method: str,
        path: tuple[str, ...],
        *,
        query: Mapping[str, object] | None = None,
        value: object = None,
        upload: tuple[Path, str] | None = None,
        headers: Mapping[str, str] | None = None,
        target: IO[bytes] | None = None,
    ) -> Reply:
        """Sends a request and returns the reply.

        `value` is sent as JSON; `upload` is a file and the name it is sent under, as the part `file` of a form. The
        body of a successful reply is written to `target`, if given. Raises `TransientError` if the gateway cannot be
        reached.
        """
        address = f"{self._base}/{'/'.join(quote(part, safe='') for part in path)}"
        if query:
            address += f"?{urlencode({name: value for name, value in query.items() if value is not None})}"
        sent = {"X-API-Key": self._key, **(headers or {})}
        body: bytes | Iterator[bytes] | None = None
        if upload is not None:
            body, more = _form(*upload)
            sent |= more
        elif value is not None:
            body, sent["Content-Type"] = json.dumps(value).encode(), "application/json"
        try:
            self._server.request(method, address, body, sent)
            return self._receive(target)
        except (OSError, http.client.HTTPException) as error:
            self._server.close()
            reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
            raise TransientError(f"the gateway at {self._shown} cannot be reached: {reason}") from error

    def _receive(self, target: IO[bytes] | None) -> Reply:
        response = self._server.getresponse()
        headers = {name.lower(): value for name, value in response.getheaders()}
        if target is None or response.status not in {200, 206}:
            content = response.read(_MAX_JSON)
        else:
            content = b""
            while piece := response.read(_PIECE):
                target.write(piece)
        return Reply(status=response.status, headers=headers, content=content)

    def close(self) -> None:
        self._server.close()


def _form(path: Path, name: str) -> tuple[Iterator[bytes], dict[str, str]]:
    boundary = secrets.token_hex(16)
    filename = name.replace("\\", "_").replace('"', "_").replace("\r", "_").replace("\n", "_")
    head = (
        f'--{boundary}\r\nContent-Disposition: form-data; name="file"; filename="{filename}"\r\n'
        "Content-Type: application/octet-stream\r\n\r\n"
    ).encode()
    tail = f"\r\n--{boundary}--\r\n".encode()

    def pieces() -> Iterator[bytes]:
        yield head
        with path.open("rb") as stream:
            while piece := stream.read(_PIECE):
                yield piece
        yield tail

    length = len(head) + path.stat().st_size + len(tail)
    return pieces(), {"Content-Type": f"multipart/form-data; boundary={boundary}", "Content-Length": str(length)}
