"""Text and ids that XML allows."""

from __future__ import annotations

import re
from collections.abc import Iterable

_FORBIDDEN = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_ID = re.compile(r"[A-Za-z_][A-Za-z0-9._-]*")


def clean_text(text: str) -> str:
    """Returns `text` without the characters that XML 1.0 forbids: control characters, lone surrogates."""
    return _FORBIDDEN.sub("", text)


class Ids:
    """Hands out valid, unique XML ids; a wanted id is kept when it is both."""

    def __init__(self, taken: Iterable[str] = ()) -> None:
        self._taken = set(taken)
        self._numbers: dict[str, int] = {}

    def take(self, wanted: str, prefix: str) -> str:
        name = wanted if _ID.fullmatch(wanted) else ""
        if not name or name in self._taken:
            # Each number is tried only once, whatever ids are taken.
            number = max(self._numbers.get(prefix, 0), len(self._taken))
            while not name or name in self._taken:
                number += 1
                name = f"{prefix}{number:04d}"
            self._numbers[prefix] = number
        self._taken.add(name)
        return name
