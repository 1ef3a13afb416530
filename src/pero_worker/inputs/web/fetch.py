"""One way to request a file: polite, bounded, retried where that helps, kept in the cache."""

from __future__ import annotations

import random
import socket
import threading
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO
from urllib.parse import urljoin, urlsplit
from urllib.request import getproxies, proxy_bypass

import httpcore
import httpx

import pero_worker
from pero_worker.errors import PageError
from pero_worker.inputs.web.addresses import AddressRules, shown
from pero_worker.inputs.web.cache import CacheEntry, WebCache
from pero_worker.inputs.web.logins import Header, Logins, cookies_of
from pero_worker.inputs.web.pace import LONGEST_PAUSE_SECONDS, MAX_TRIES, HostPace, pause_before_try, retry_after_of
from pero_worker.ports import Clock

MAX_DOCUMENT_BYTES = 64_000_000
"""Default of the greatest size of a manifest, METS or description."""
_MAX_REDIRECTS = 8
_SILENCE_SECONDS = 30.0
_CONNECT_SECONDS = 10.0
_LONGEST_DOWNLOAD_SECONDS = 1800.0
"""Keeps a server that sends a byte now and then from holding a connection forever."""
_WORTH_ANOTHER_TRY = frozenset({408, 425, 429, 500, 502, 503, 504})
_MAX_EXPLANATION_BYTES = 65536
_MEANINGS = {
    401: "a login is needed, which --iiif-header or --iiif-cookies gives",
    403: "access is refused",
    404: "there is nothing at that address",
    410: "it was taken away",
    429: "too many requests",
}


def _meaning(status: int) -> str:
    if status < 400:
        return "the server answers without it"
    return _MEANINGS.get(status, "the server cannot serve it" if status >= 500 else "it is refused")


class AnswerError(PageError):
    """The server answered with an error; another address may still work."""

    def __init__(self, url: str, status: int, body: bytes = b"") -> None:
        """`body` is the beginning of the server's explanation if it wants a login."""
        super().__init__(f"{shown(url)}: {_meaning(status)} (HTTP status {status})", permanent=status < 500)
        self.status = status
        self.body = body


@dataclass(frozen=True, slots=True, kw_only=True)
class FetchOptions:
    """How requests are made."""

    rules: AddressRules = field(default_factory=AddressRules)
    """Which addresses may be requested at all."""
    rate: float = 4.0
    """Requests per second to each host."""
    connections: int = 2
    """Simultaneous connections to each host."""
    max_bytes: int = 500_000_000
    """Greatest size of a picture."""
    max_document_bytes: int = MAX_DOCUMENT_BYTES
    """Greatest size of a manifest, METS or description."""
    headers: tuple[Header, ...] = ()
    """Headers to send, such as those of a login."""
    cookies: Path | None = None
    """A cookie file, as browser extensions and curl write it."""
    proxies: bool = True
    """Whether the environment's proxies are used; these may connect anywhere."""


class Fetcher:
    """Fetches files from `http://` and `https://` addresses; may be used by several threads."""

    def __init__(
        self, options: FetchOptions, cache: WebCache, clock: Clock, chance: random.Random | None = None
    ) -> None:
        """Raises `UsageError` if the cookie file cannot be read."""
        self._options = options
        self._cache = cache
        self._clock = clock
        self._chance = chance or random.Random()  # noqa: S311 - pauses, not secrets
        self._paces: dict[str, HostPace] = {}
        self._lock = threading.Lock()
        self._logins = Logins(options.headers, options.rules.named)
        cookies = cookies_of(options.cookies)
        timeout = httpx.Timeout(_SILENCE_SECONDS, connect=_CONNECT_SECONDS)
        agent = {"User-Agent": f"pero-worker/{pero_worker.__version__} (OCR of library collections)"}
        transport = httpx.HTTPTransport()
        # httpx has no hook for this: checks the addresses that a name resolves to when connecting.
        transport._pool._network_backend = _Guard(options.rules)  # type: ignore[attr-defined,unused-ignore]
        self._direct = httpx.Client(transport=transport, timeout=timeout, headers=agent, cookies=cookies)
        self._proxies = getproxies() if options.proxies else {}
        self._proxied = httpx.Client(timeout=timeout, headers=agent, cookies=cookies) if self._proxies else None

    def without_login(self, url: str) -> str:
        """Returns the address without user name and password, which are sent with every request to its server."""
        return self._logins.taken_from(url)

    def document(self, url: str, *, accept: str) -> CacheEntry:
        """Fetches a manifest or METS as it is now: the server is asked whether the cached copy is current."""
        return self._get(url, accept, self._options.max_document_bytes, ask_again=True)

    def file(self, url: str) -> CacheEntry:
        """Fetches a document that may be as large as a picture, such as a PDF.

        The server is asked whether the cached copy is current.
        """
        return self._get(url, "application/pdf, */*;q=0.1", self._options.max_bytes, ask_again=True)

    def description(self, url: str) -> CacheEntry:
        """Fetches an info.json, or takes it from the cache."""
        return self._get(
            url, "application/ld+json, application/json;q=0.9", self._options.max_document_bytes, ask_again=False
        )

    def picture(self, url: str) -> CacheEntry:
        """Fetches a picture, or takes it from the cache.

        Raises `PageError` if it cannot be had, `AnswerError` if the server says so.
        """
        return self._get(url, "image/*, */*;q=0.1", self._options.max_bytes, ask_again=False)

    def made(self, key: str) -> CacheEntry | None:
        """Returns what was made from downloads and stored under `key`."""
        return self._cache.get(key)

    @property
    def cache(self) -> WebCache:
        return self._cache

    def close(self) -> None:
        self._direct.close()
        if self._proxied is not None:
            self._proxied.close()

    def _get(self, url: str, accept: str, max_bytes: int, *, ask_again: bool) -> CacheEntry:
        url = self.without_login(url)
        key = "\n".join((url, accept, *self._logins.mark_for(url)))
        known = self._cache.get(key)
        if known is not None and not ask_again:
            return known
        headers = {"Accept": accept}
        if known is not None and known.etag:
            headers["If-None-Match"] = known.etag
        elif known is not None and known.modified:
            headers["If-Modified-Since"] = known.modified
        for attempt in range(1, MAX_TRIES + 1):
            try:
                return self._try(url, headers, key, known, max_bytes)
            except _TryAgainError as again:
                wanted = again.retry_after
                if attempt == MAX_TRIES or (wanted or 0) > LONGEST_PAUSE_SECONDS:
                    raise again.reason from again
                pause = pause_before_try(attempt, wanted, self._chance)
            if wanted is not None:
                self._pace_of(url).hold_off(pause)
            else:
                self._clock.sleep(pause)
        raise AssertionError("unreachable")

    def _try(
        self, url: str, headers: Mapping[str, str], key: str, known: CacheEntry | None, max_bytes: int
    ) -> CacheEntry:
        address, own_headers = url, True
        for _ in range(_MAX_REDIRECTS):
            address = self.without_login(address)
            host = self._options.rules.check_url(address)
            sent = {**headers, **(self._logins.headers_for(address, host) if own_headers else {})}
            try:
                with self._pace_of(address).turn(), self._client(host).stream("GET", address, headers=sent) as response:
                    if response.has_redirect_location:
                        target = urljoin(address, response.headers["location"])
                        # A login is for the server it was given for, not for one that it redirects to.
                        own_headers = own_headers and urlsplit(target).netloc == urlsplit(address).netloc
                        address = target
                        continue
                    if response.status_code == 304 and known is not None:
                        return known
                    self._check_status(url, response)
                    return self._keep(key, response, address, max_bytes)
            except httpx.InvalidURL as error:
                raise PageError(f"{shown(address)!r} is no address", permanent=True) from error
            except (httpx.TransportError, httpx.DecodingError) as error:
                reason = " ".join(str(error).split())[:200] or type(error).__name__
                raise _TryAgainError(PageError(f"{shown(address)} cannot be reached: {reason}")) from error
        raise PageError(f"{shown(url)} redirects more than {_MAX_REDIRECTS} times", permanent=True)

    def _check_status(self, url: str, response: httpx.Response) -> None:
        status = response.status_code
        if status in _WORTH_ANOTHER_TRY:
            retry_after = retry_after_of(response.headers.get("retry-after"), self._clock.now())
            raise _TryAgainError(AnswerError(url, status), retry_after)
        if status != 200:
            body = next(response.iter_bytes(_MAX_EXPLANATION_BYTES), b"") if status in {401, 403} else b""
            raise AnswerError(url, status, body)

    def _keep(self, key: str, response: httpx.Response, address: str, max_bytes: int) -> CacheEntry:
        too_large = PageError(
            f"{shown(address)} is larger than {max_bytes / 1e6:g} MB; if it is real, raise --max-megabytes",
            permanent=True,
        )
        length = response.headers.get("content-length", "")
        if length.isdigit() and int(length) > max_bytes:
            raise too_large
        begun = self._clock.monotonic()

        def fill(stream: IO[bytes]) -> None:
            size = 0
            for chunk in response.iter_bytes():
                size += len(chunk)
                if size > max_bytes:
                    raise too_large
                if self._clock.monotonic() - begun > _LONGEST_DOWNLOAD_SECONDS:
                    raise PageError(f"{shown(address)} took longer than {_LONGEST_DOWNLOAD_SECONDS / 60:g} minutes")
                stream.write(chunk)

        return self._cache.put(
            key,
            fill,
            url=address,
            etag=response.headers.get("etag", "")[:1000],
            modified=response.headers.get("last-modified", "")[:100],
        )

    def _client(self, host: str) -> httpx.Client:
        if self._proxied is None or proxy_bypass(host):
            return self._direct
        return self._proxied

    def _pace_of(self, url: str) -> HostPace:
        host = urlsplit(url).netloc.lower()
        with self._lock:
            if host not in self._paces:
                self._paces[host] = HostPace(self._options.rate, self._options.connections, self._clock)
            return self._paces[host]


class _TryAgainError(Exception):
    def __init__(self, reason: PageError, retry_after: float | None = None) -> None:
        super().__init__(str(reason))
        self.reason = reason
        self.retry_after = retry_after


class _Guard(httpcore.NetworkBackend):
    """Connects to the addresses of a host if all of them are allowed."""

    def __init__(self, rules: AddressRules) -> None:
        self._rules = rules
        self._sockets = httpcore.SyncBackend()

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.NetworkStream:
        try:
            found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        except (OSError, UnicodeError) as error:
            raise httpcore.ConnectError(f"the host {host} is not known ({error})") from error
        addresses = list(dict.fromkeys(str(info[4][0]) for info in found))
        for address in addresses:
            self._rules.check_ip(address, host)
        problem: Exception = httpcore.ConnectError(f"the host {host} has no address")
        for address in addresses[:4]:
            try:
                return self._sockets.connect_tcp(address, port, timeout, local_address, socket_options)
            except (httpcore.ConnectError, httpcore.ConnectTimeout) as error:
                problem = error
        raise problem
