"""Errors as shown to people."""

from __future__ import annotations

from urllib.parse import quote

from starlette.requests import Request
from starlette.responses import Response

from pero_worker.gateway.web.render import go_to, show
from pero_worker.gateway.web.visit import SignInNeeded, guest, own_path


def error_page(request: Request, status: int, message: str) -> Response:
    """Shows what happened, in the visitor's language, and a way back. With `message` '', the status says everything."""
    visit = guest(request)
    words = visit.words
    heading = words(f"error.{status}") if words.has(f"error.{status}") else words("error.other")
    message = message or words(f"error.said_{status}" if words.has(f"error.said_{status}") else "error.said")
    if status in {503, 507}:
        message = f"{message} {words('error.again')}"
    return show(visit, "error.html", status=status, number=status, heading=heading, message=message)


async def sign_in_needed(_: Request, error: Exception) -> Response:
    """Leads to the page where visitors sign in, and from there to where they wanted to go."""
    assert isinstance(error, SignInNeeded)  # noqa: S101  (Starlette gives a handler what it was registered for)
    visit = error.visit
    url = visit.request.url
    if visit.wants_part or visit.request.method != "GET":
        return go_to(visit, "/web/sign-in")
    wanted = f"{url.path}?{url.query}" if url.query else url.path
    return go_to(visit, f"/web/sign-in?next={quote(own_path(wanted), safe='/')}")
