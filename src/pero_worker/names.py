"""Helpers for names and messages."""

from __future__ import annotations

import hashlib
import unicodedata

_MARK = 12
"""Hexadecimal digits that keep shortened names distinct."""


def bounded_name(name: str, max_bytes: int) -> str:
    """Returns `name`, which is part of a path, in at most `max_bytes` bytes of UTF-8; a long one is cut and ends with a
    digest."""
    encoded = name.encode()
    if len(encoded) <= max_bytes:
        return name
    mark = hashlib.sha256(encoded).hexdigest()[:_MARK]
    return encoded[: max_bytes - _MARK - 1].decode("utf-8", "ignore") + "-" + mark


def same_place(name: str) -> str:
    """Returns the same key for names that a file system may treat as one: it may ignore case, or how accents are
    composed."""
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", name).casefold())


def counted(number: int, noun: str) -> str:
    """Returns the number with its noun: `1 page`, `2 pages`."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
