"""Browser sessions: a signed cookie that names a key and expires by itself; who makes a request, and from where."""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
from urllib.parse import urlsplit

from starlette.requests import HTTPConnection

from pero_worker.gateway.core import Gateway
from pero_worker.gateway.keys import Key, Role, make_key
from pero_worker.gateway.store.keys import add_key, all_keys, key_by_label, key_with_digest

COOKIE = "pero_session"
SESSION_SECONDS = 12 * 3600
LOCAL_LABEL = "this machine"
"""The label of the key that the pages use if nobody has made a key and they are opened on the gateway's own machine."""
_SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
_MAX_TOKEN = 200
_FORWARDED = ("forwarded", "x-forwarded-for", "x-forwarded-host", "x-real-ip", "via")


def make_token(key: str, digest: str, ends: int, server_secret: str) -> str:
    """Returns a token. `digest` is what is stored of the key, so a session ends when its key gets a new text."""
    return f"{key}.{ends}.{_signature(key, digest, ends, server_secret)}"


def read_token(text: str) -> tuple[str, int, str] | None:
    """Returns key, end (seconds since 1970) and signature; None if this is not a token."""
    key, _, rest = text.partition(".")
    ends, _, signature = rest.partition(".")
    if len(text) > _MAX_TOKEN or not ends.isascii() or not ends.isdigit() or len(ends) > 12:
        return None
    return key, int(ends), signature


def _signature(key: str, digest: str, ends: int, server_secret: str) -> str:
    return hmac.new(f"{server_secret}session".encode(), f"{key}.{digest}.{ends}".encode(), hashlib.sha256).hexdigest()


def new_session(gateway: Gateway, key: Key) -> str:
    """Returns the token of a session of this key that begins now."""
    with gateway.database.read() as connection:
        found = key_with_digest(connection, key.id)
    digest = found[1] if found else ""
    return make_token(key.id, digest, int(gateway.now()) + SESSION_SECONDS, gateway.server_secret)


def session_key(request: HTTPConnection, gateway: Gateway) -> tuple[Key, int] | None:
    """Returns the key of the browser's session and when the session ends; None if there is no valid session."""
    parts = read_token(request.cookies.get(COOKIE, ""))
    if parts is None:
        return None
    key_id, ends, signature = parts
    with gateway.database.read() as connection:
        found = key_with_digest(connection, key_id)
    if found is None:
        return None
    key, digest = found
    if not hmac.compare_digest(signature.encode(), _signature(key_id, digest, ends, gateway.server_secret).encode()):
        return None
    if ends < gateway.now() or not key.counts_at(gateway.now()):
        return None
    if key.label == LOCAL_LABEL and not opens_by_itself(request, gateway):
        return None
    return key, ends


def is_own_site(request: HTTPConnection) -> bool:
    """Returns whether a request that changes something was made by our own pages.

    Browsers say where requests come from, and no page can forge it; a client that does not say is not a browser, and
    needs no session.
    """
    if str(request.scope.get("method", "GET")) in _SAFE_METHODS:
        return True
    site = request.headers.get("sec-fetch-site")
    if site is not None:
        return site == "same-origin"
    origin = urlsplit(request.headers.get("origin", ""))
    return bool(origin.netloc) and origin.netloc == request.headers.get("host", "")


def opens_by_itself(request: HTTPConnection, gateway: Gateway) -> bool:
    """Returns whether the pages open without a key.

    They do if nobody has made a key, the gateway listens only on this machine, and the client is on it as well: it uses
    an address of this machine, not a name that somebody may point there, and no proxy.
    """
    client = request.client.host if request.client else ""
    host = urlsplit(f"//{request.headers.get('host', '')}").hostname or ""
    if not all(map(_is_loopback, (gateway.settings.host, client, host))):
        return False
    if any(name in request.headers for name in _FORWARDED):
        return False
    with gateway.database.read() as connection:
        return all(key.label == LOCAL_LABEL for key in all_keys(connection))


def _is_loopback(host: str) -> bool:
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def local_key(gateway: Gateway) -> Key | None:
    """Returns the key of whoever sits at this machine, creating it when first needed; None if it was revoked."""
    with gateway.database.read() as connection:
        key = key_by_label(connection, LOCAL_LABEL)
    if key is None:
        _, secret = make_key(gateway.settings.key_prefix, gateway.random_bytes, gateway.server_secret)
        with gateway.database.write() as connection:
            key = add_key(connection, LOCAL_LABEL, Role.ADMIN, secret, gateway.now()) or key_by_label(
                connection, LOCAL_LABEL
            )
    return key if key is not None and key.counts_at(gateway.now()) else None
