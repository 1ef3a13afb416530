"""Who looks at a page: their key and their language, or the way to the page where they sign in."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated
from urllib.parse import urlencode, urlsplit

from fastapi import Depends, Request

from pero_worker.gateway.auth import gateway_of
from pero_worker.gateway.core import Gateway
from pero_worker.gateway.errors import ApiError
from pero_worker.gateway.keys import Key, Role
from pero_worker.gateway.sessions import (
    LOCAL_LABEL,
    SESSION_SECONDS,
    is_own_site,
    local_key,
    new_session,
    opens_by_itself,
    session_key,
)
from pero_worker.gateway.web.words import LANGUAGES, Words, choose_language, words_of

LANGUAGE_COOKIE = "pero_language"


@dataclass(frozen=True, slots=True, kw_only=True)
class Visit:
    """A request from a browser, and who makes it."""

    request: Request
    """The request as it arrived."""
    gateway: Gateway
    """The gateway that received it."""
    words: Words
    """The texts in the visitor's language."""
    chosen_language: str = ""
    """The language that the visitor has just chosen, to be remembered; '' if they chose none."""
    key: Key | None = None
    """The visitor's key; None if nobody has signed in."""
    fresh_session: str = ""
    """The token of a session that begins or is extended with this reply; '' if there is none."""

    @property
    def is_local(self) -> bool:
        """Whether the pages opened without a key."""
        return self.key is not None and self.key.label == LOCAL_LABEL

    @property
    def is_operator(self) -> bool:
        return self.key is not None and self.key.role is Role.ADMIN

    @property
    def may_write(self) -> bool:
        """Whether the visitor may create and change jobs."""
        return self.key is not None and self.key.role in {Role.USER, Role.ADMIN}

    def in_language(self, code: str) -> str:
        """Returns the address of this page in another language."""
        kept = [(name, value) for name, value in self.request.query_params.multi_items() if name != "lang"]
        return f"?{urlencode([*kept, ('lang', code)])}"

    @property
    def wants_part(self) -> bool:
        """Whether htmx makes the request, for a part of the page."""
        return self.request.headers.get("hx-request") == "true"


class SignInNeeded(Exception):
    """Nobody has signed in."""

    def __init__(self, visit: Visit) -> None:
        super().__init__()
        self.visit = visit


def guest(request: Request) -> Visit:
    """Returns a visit by anybody, signed in or not."""
    wished = request.query_params.get("lang")
    chosen = wished if wished in LANGUAGES else ""
    language = choose_language(
        chosen or request.cookies.get(LANGUAGE_COOKIE), request.headers.get("accept-language", "")
    )
    return Visit(request=request, gateway=gateway_of(request), words=words_of(language), chosen_language=chosen or "")


def _signed_in(request: Request) -> Visit:
    """Returns a visit by somebody who has signed in.

    Raises `SignInNeeded` if nobody has, and `ApiError` 403 if another site makes the request, or 429 if there are too
    many.
    """
    visit = guest(request)
    gateway = visit.gateway
    found = session_key(request, gateway)
    fresh = ""
    if found is None and opens_by_itself(request, gateway):
        key = local_key(gateway)
        found = (key, 0) if key else None
    if found is None:
        raise SignInNeeded(visit)
    key, ends = found
    if not is_own_site(request):
        raise ApiError(403, "ORIGIN_FORBIDDEN", visit.words("error.other_site"))
    if ends - gateway.now() < SESSION_SECONDS / 2:
        fresh = new_session(gateway, key)
    request.state.rate = gateway.limiter.take(key, gateway.now())
    return Visit(
        request=request,
        gateway=gateway,
        words=visit.words,
        chosen_language=visit.chosen_language,
        key=key,
        fresh_session=fresh,
    )


def visitor(*roles: Role) -> Callable[[Request], Visit]:
    """Returns a dependency for the pages' routes: a visitor with one of these roles, or an administrator."""
    allowed = {*roles, Role.ADMIN}

    def visit_of(request: Request) -> Visit:
        visit = _signed_in(request)
        if visit.key is None or visit.key.role not in allowed:
            raise ApiError(403, "API_KEY_ROLE_FORBIDDEN", visit.words("error.role"))
        return visit

    return visit_of


Guest = Annotated[Visit, Depends(guest)]
Reader = Annotated[Visit, Depends(visitor(Role.READONLY, Role.USER))]
Writer = Annotated[Visit, Depends(visitor(Role.USER))]
Anyone = Annotated[Visit, Depends(visitor(Role.READONLY, Role.USER, Role.WORKER))]
Operator = Annotated[Visit, Depends(visitor())]


def own_path(text: str, default: str = "/web/jobs") -> str:
    """Returns `text` if it leads to one of our pages and nowhere else; otherwise `default`."""
    parts = urlsplit(text) if text.isprintable() and "\\" not in text else urlsplit("")
    if parts.scheme or parts.netloc or not parts.path.startswith("/web/"):
        return default
    return text
