"""Authentication: the key of a request, and whether its role is allowed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated

from fastapi import Request, Security
from fastapi.security import APIKeyCookie, APIKeyHeader, APIKeyQuery

from pero_worker.gateway.core import Gateway
from pero_worker.gateway.errors import ApiError
from pero_worker.gateway.keys import MAX_KEY_LENGTH, Key, Role
from pero_worker.gateway.sessions import is_own_site, session_key

_HEADER = APIKeyHeader(name="X-API-Key", auto_error=False)
_QUERY = APIKeyQuery(name="api_key", auto_error=False)
_COOKIE = APIKeyCookie(name="api_key", auto_error=False)


def gateway_of(request: Request) -> Gateway:
    gateway: Gateway = request.app.state.gateway
    return gateway


def require(*roles: Role) -> Callable[..., Key]:
    """Returns a dependency for v1's routes: the key, if its role is one of these or admin."""
    allowed = {*roles, Role.ADMIN}

    def key_of(
        request: Request,
        header: Annotated[str | None, Security(_HEADER)] = None,
        query: Annotated[str | None, Security(_QUERY)] = None,
        cookie: Annotated[str | None, Security(_COOKIE)] = None,
    ) -> Key:
        gateway = gateway_of(request)
        text = header or query or cookie
        key = None if text else _key_of_browser(request, gateway)
        key = key or known_key(gateway, text)
        request.state.rate = gateway.limiter.take(key, gateway.now())
        if key.role not in allowed:
            raise ApiError(403, "API_KEY_ROLE_FORBIDDEN", "The role of this API key does not allow that.")
        return key

    key_of.allowed_roles = sorted(allowed)  # type: ignore[attr-defined]
    return key_of


def _key_of_browser(request: Request, gateway: Gateway) -> Key | None:
    """Returns the key of a browser's session; raises `ApiError` 403 if a page of another site makes the request."""
    found = session_key(request, gateway)
    if found is not None and not is_own_site(request):
        raise ApiError(403, "ORIGIN_FORBIDDEN", "The request comes from another site's page.")
    return found[0] if found else None


def known_key(gateway: Gateway, text: str | None) -> Key:
    """Returns the key with this text.

    Raises `ApiError` 401 if there is no text or we have no such key, and 403 if the key is no longer active.
    """
    if not text:
        raise _unauthorised(gateway, "API_KEY_MISSING", "There is no API key in the request.")
    key = gateway.key_of(text) if len(text) <= MAX_KEY_LENGTH else None
    if key is None:
        raise _unauthorised(gateway, "API_KEY_INVALID", "The API key is not valid.")
    if not key.counts_at(gateway.now()):
        raise ApiError(403, "API_KEY_INACTIVE", "The API key is not active any more.")
    return key


def _unauthorised(gateway: Gateway, code: str, message: str) -> ApiError:
    challenge = {"WWW-Authenticate": f'ApiKey realm="{gateway.settings.realm}"'}
    return ApiError(401, code, message, headers=challenge)
