"""Renders pages from templates. Everything put into a page is escaped, and only our own scripts run in it."""

from __future__ import annotations

from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import quote

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from starlette.responses import HTMLResponse, RedirectResponse, Response

import pero_worker
from pero_worker.gateway.sessions import COOKIE, SESSION_SECONDS
from pero_worker.gateway.web.assets import address, assets
from pero_worker.gateway.web.visit import LANGUAGE_COOKIE, Visit
from pero_worker.gateway.web.words import LANGUAGES, words_of
from pero_worker.text import one_line

POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; connect-src 'self'; "
    "form-action 'self'; frame-ancestors 'none'; base-uri 'none'"
)
HEADERS = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    # Not no-referrer: browsers would then hide from us as well where a form comes from.
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cache-Control": "no-store",
}
_YEAR = 365 * 86_400


@cache
def _environment() -> Environment:
    folder = Path(__file__).parent / "templates"
    made = Environment(
        loader=FileSystemLoader(folder),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.globals.update(asset=address, version=pero_worker.__version__, languages=LANGUAGES)
    made.filters.update(line=_line, segment=_segment, iso=_iso, utc=_utc)
    return made


def prepare() -> None:
    """Reads and compiles what the first visitor would otherwise wait for."""
    assets()
    for language in LANGUAGES:
        words_of(language)
    for name in _environment().list_templates():
        _environment().get_template(name)


def _line(text: object) -> str:
    """Returns foreign text without control characters and without influence on the direction of writing."""
    return one_line(str(text))


def _segment(text: object) -> str:
    """Returns text as a segment of an address."""
    return quote(str(text), safe="")


def _moment(value: float | datetime) -> datetime:
    return value if isinstance(value, datetime) else datetime.fromtimestamp(value, UTC)


def _iso(value: float | datetime) -> str:
    return _moment(value).isoformat(timespec="seconds")


def _utc(value: float | datetime) -> str:
    """Returns a time in UTC, for browsers without scripts; others show local time."""
    return f"{_moment(value):%Y-%m-%d %H:%M} UTC"


def show(visit: Visit, template: str, *, status: int = 200, **values: Any) -> Response:
    """Renders a page, or a part of one."""
    text = _environment().get_template(template).render(visit=visit, t=visit.words, **values)
    reply = HTMLResponse(text, status, {**HEADERS, "Vary": "Cookie, Accept-Language, HX-Request"})
    _remember(visit, reply)
    return reply


def go_to(visit: Visit, path: str) -> Response:
    """Redirects to another page after an action."""
    if visit.wants_part:
        reply: Response = Response(status_code=204, headers={**HEADERS, "HX-Redirect": path})
    else:
        reply = RedirectResponse(path, 303, HEADERS)
    _remember(visit, reply)
    return reply


def _remember(visit: Visit, reply: Response) -> None:
    secure = visit.request.url.scheme == "https"
    if visit.fresh_session:
        reply.set_cookie(COOKIE, visit.fresh_session, SESSION_SECONDS, secure=secure, httponly=True, samesite="strict")
    if visit.chosen_language:
        reply.set_cookie(LANGUAGE_COOKIE, visit.chosen_language, _YEAR, secure=secure, httponly=True, samesite="strict")
