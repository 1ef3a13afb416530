"""Pure: which names of pages, engines and keys are accepted."""

from __future__ import annotations

import re
import unicodedata

from pero_worker.gateway.errors import invalid

MAX_NAME_BYTES = 255
_MAX_LINE = 2000
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")
LINE_PATTERN = r"^[^\x00-\x1f\x7f-\x9f\u2028\u2029]+$"
"""`text_fault` as a pattern, for descriptions of what we accept."""
PAGE_NAME_PATTERN = r"^(?!\.{1,2}$)[^/\\\x00-\x1f\x7f-\x9f\u2028\u2029]+$"
"""`page_name_fault` as a pattern, except for the number of bytes."""


def page_name_fault(name: str) -> str:
    """Returns why `name` cannot be a page's name, or '' if it can: it is a segment of a URL and part of a file name."""
    if not name or name in {".", ".."}:
        return "a page needs a name"
    if "/" in name or "\\" in name:
        return "a page's name has no slash"
    if text_fault(name):
        return "a page's name has no control characters"
    if len(name.encode()) > MAX_NAME_BYTES:
        return f"a page's name has at most {MAX_NAME_BYTES} bytes"
    return ""


def text_fault(text: str) -> str:
    """Returns why a text cannot be stored and shown on one line, or '' if it can."""
    if _CONTROL.search(text) or any(unicodedata.category(letter) == "Cs" for letter in text):
        return "there are control characters in it"
    return ""


def check_text(text: str, location: tuple[str | int, ...]) -> str:
    """Returns the text; raises `ApiError` 422 if it has control characters."""
    fault = text_fault(text)
    if fault:
        raise invalid(location, fault)
    return text


def storable(text: str) -> bool:
    """Returns whether a database accepts the text as a query parameter."""
    return "\0" not in text and not any("\ud800" <= letter <= "\udfff" for letter in text)


def storable_line(value: object) -> str | None:
    """Returns the first line of a foreign text, shortened and with what cannot be stored replaced; None if there is
    none."""
    if not isinstance(value, str) or not value.strip():
        return None
    line = value.strip().splitlines()[0][:_MAX_LINE]
    return "".join(letter if storable(letter) else "?" for letter in line)
