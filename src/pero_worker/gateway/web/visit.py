"""Who looks at a page: their key, their language; or the way to the page where they sign in."""

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
    """A request of a browser, and who makes it."""

    request: Request
    """As it came."""
    gateway: Gateway
    """That it came to."""
    words: Words
    """In their language."""
    chosen_language: str = ""
    """What was just chosen, to be remembered; ''."""
    key: Key | None = None
    """None: nobody has signed in."""
    fresh_session: str = ""
    """The token of a session that begins, or goes on, with this reply; ''."""

    @property
    def is_local(self) -> bool:
        """Whether the pages opened without a key."""
        return self.key is not None and self.key.label == LOCAL_LABEL

    @property
    def is_operator(self) -> bool:
        return self.key is not None and self.key.role is Role.ADMIN

    @property
    def may_write(self) -> bool:
        """Whether they may make and change jobs."""
        return self.key is not None and self.key.role in {Role.USER, Role.ADMIN}

    def in_language(self, code: str) -> str:
        """The address of this page in another language."""
        kept = [(name, value) for name, value in self.request.query_params.multi_items() if name != "lang"]
        return f"?{urlencode([*kept, ('lang', code)])}"

    @property
    def wants_part(self) -> bool:
        """Whether htmx asks, for a part of the page."""
        return self.request.headers.get("hx-request") == "true"


class SignInNeeded(Exception):
    """Nobody has signed in."""

    def __init__(self, visit: Visit) -> None:
        super().__init__()
        self.visit = visit


def guest(request: Request) -> Visit:
    """Anybody."""
    wished = request.query_params.get("lang")
    chosen = wished if wished in LANGUAGES else ""
    language = choose_language(
        chosen or request.cookies.get(LANGUAGE_COOKIE), request.headers.get("accept-language", "")
    )
    return Visit(request=request, gateway=gateway_of(request), words=words_of(language), chosen_language=chosen or "")


def _signed_in(request: Request) -> Visit:
    """SignInNeeded; ApiError: 403 the request comes from another site, 429 too many."""
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
    """A dependency of the pages' routes: somebody with one of these roles, or an administrator."""
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
    """`text`, if it leads to a page of ours and nowhere else."""
    parts = urlsplit(text) if text.isprintable() and "\\" not in text else urlsplit("")
    if parts.scheme or parts.netloc or not parts.path.startswith("/web/"):
        return default
    return text
