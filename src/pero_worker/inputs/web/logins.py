"""Which login goes to which server: headers and cookies from the user, names and passwords in addresses."""

from __future__ import annotations

import base64
import threading
from collections.abc import Sequence
from http.cookiejar import CookieJar, LoadError, MozillaCookieJar
from pathlib import Path
from urllib.parse import unquote, urlsplit

from pero_worker.errors import UsageError
from pero_worker.inputs.web.addresses import without_login

Header = tuple[str, str, str]
"""Host ('' for those named on the command line), name and value."""


def parse_header(text: str) -> Header:
    """Splits 'Name: value' or 'HOST=Name: value' into host ('' in the first form), name and value.

    Raises `UsageError` if it is neither.
    """
    name, colon, value = text.partition(":")
    host, equals, rest = name.rpartition("=")
    name, value = (rest if equals else name).strip(), value.strip()
    token = name.replace("-", "").replace("_", "")
    if not colon or not token.isascii() or not token.isalnum() or not value.isprintable():
        raise UsageError("--iiif-header: write 'Name: value', as 'Authorization: Bearer abc', or 'HOST=Name: value'")
    return host.strip().lower(), name, value


def cookies_of(file: Path | None) -> CookieJar | None:
    """Reads cookies in Netscape's format. Raises `UsageError` if they cannot be read."""
    if file is None:
        return None
    jar = MozillaCookieJar(file)
    try:
        jar.load(ignore_discard=True, ignore_expires=True)
    except (LoadError, OSError, UnicodeDecodeError) as error:
        raise UsageError(
            f"--iiif-cookies {file}: it cannot be read as a file of cookies in Netscape's format ({error})"
        ) from error
    for cookie in jar:
        # curl writes 0 for session cookies.
        cookie.expires = cookie.expires or None
    jar.clear_expired_cookies()
    return jar


class Logins:
    """What is sent to which server.

    User names and passwords are removed from addresses as soon as these are met, so that no message, no file and no
    server but their own sees them.
    """

    def __init__(self, headers: Sequence[Header], named: frozenset[str]) -> None:
        """`named` are the hosts on the command line."""
        self._headers = headers
        self._named = named
        self._passwords: dict[str, str] = {}
        self._lock = threading.Lock()

    def taken_from(self, address: str) -> str:
        """Returns the address without user name and password; the first ones given for a server are kept for it."""
        bare = without_login(address)
        if bare == address:
            return address
        try:
            login = urlsplit(address).netloc.rpartition("@")[0]
            server = _server_of(bare)
        except ValueError:
            return bare  # It is refused later, as it is not an address.
        name, _, password = login.partition(":")
        value = base64.b64encode(f"{unquote(name)}:{unquote(password)}".encode()).decode()
        with self._lock:
            self._passwords.setdefault(server, f"Basic {value}")
        return bare

    def headers_for(self, address: str, host: str) -> dict[str, str]:
        """Returns the headers that are sent to `host` with a request for `address`."""
        given = {
            name: value
            for wanted, name, value in self._headers
            if host == wanted or (not wanted and (host in self._named or not self._named))
        }
        own = self._passwords.get(_server_of(address), "")
        if own and not any(name.lower() == "authorization" for name in given):
            given["Authorization"] = own
        return given

    def mark_for(self, address: str) -> tuple[str, ...]:
        """Returns a mark that differs if the answers may differ; for the cache, which stores only its digest."""
        try:
            own = self._passwords.get(_server_of(address), "")
        except ValueError:
            own = ""
        return (*(":".join(header) for header in self._headers), *([own] if own else []))


def _server_of(address: str) -> str:
    """Returns scheme, host and port: a password for https is not for http. Raises `ValueError` for a bad address."""
    parts = urlsplit(address)
    return f"{parts.scheme}://{parts.netloc}".lower()
