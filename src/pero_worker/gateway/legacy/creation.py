"""Checks the body of a legacy request."""

from __future__ import annotations

import json
import re
from typing import Any

from pero_worker.gateway.errors import ApiError
from pero_worker.gateway.names import page_name_fault
from pero_worker.gateway.store.creation import NewPage

_MAX_URL = 4000


def parse_creation(body: bytes, max_pages: int) -> tuple[int, list[NewPage]]:
    """Returns the engine's number and the pages; raises `ApiError` 422 if the body is malformed."""
    try:
        values: Any = json.loads(body, parse_constant=_no_number)
    except (ValueError, RecursionError):
        raise _bad() from None
    if not isinstance(values, dict) or not isinstance(values.get("images"), dict):
        raise _bad()
    images = values["images"]
    if len(images) > max_pages:
        raise ApiError(422, "REQUEST_VALIDATION_ERROR", f"A request has at most {max_pages} pages.")
    pages = []
    for position, (name, value) in enumerate(images.items()):
        fault = page_name_fault(name)
        if fault:
            raise ApiError(422, "REQUEST_VALIDATION_ERROR", f"Page {position + 1}: {fault}.")
        pages.append(NewPage(name=name, position=position, url=_url(value)))
    return _engine(values.get("engine")), pages


def _engine(value: Any) -> int:
    if isinstance(value, str) and re.fullmatch(r"[0-9]{1,9}", value):
        return int(value)
    if isinstance(value, int) and not isinstance(value, bool) and abs(value) < 2**31:
        return value
    raise _bad()


def _url(value: Any) -> str | None:
    if value is None or value == {}:
        return None
    if isinstance(value, str) and len(value) <= _MAX_URL and value.isprintable():
        return value
    raise _bad()


def _no_number(_text: str) -> float:
    raise ValueError


def _bad() -> ApiError:
    return ApiError(422, "REQUEST_VALIDATION_ERROR", "Bad JSON formatting.")
