"""HTTP methods: which ones a path accepts, and HEAD wherever there is GET."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

from starlette.types import ASGIApp, Message, Receive, Scope, Send

_OWN_HEAD = re.compile(r"/v1/uploads/[^/]+")
_ENDLESS = re.compile(r"/v1/(jobs/[^/]+/)?events")


class Methods:
    """The methods of all routes; if several routes match a path, those with the fewest variables count."""

    def __init__(self, routes: Iterable[Any]) -> None:
        self._routes = [
            (route.path_format.count("{"), route.path_regex, frozenset(route.methods or ()))
            for route in routes
            if hasattr(route, "path_regex")
        ]

    def of(self, path: str) -> list[str]:
        """Returns the methods for the `Allow` header of a path; [] if no route matches it."""
        found = [(variables, methods) for variables, regex, methods in self._routes if regex.fullmatch(path)]
        fewest = min((variables for variables, _ in found), default=0)
        return sorted(frozenset().union(*(methods for variables, methods in found if variables == fewest)))


class Heads:
    """Answers HEAD as the GET would be, without the body; event streams never end, so they have no HEAD."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["method"] != "HEAD" or _special(scope["path"]):
            await self._app(scope, receive, send)
            return

        async def sending(message: Message) -> None:
            if message["type"] == "http.response.body":
                message = {**message, "body": b""}
            await send(message)

        await self._app({**scope, "method": "GET"}, receive, sending)


def _special(path: str) -> bool:
    return bool(_OWN_HEAD.fullmatch(path) or _ENDLESS.fullmatch(path))
