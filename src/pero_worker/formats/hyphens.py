"""Words that are split at a line end."""

from __future__ import annotations

from collections.abc import Iterable

_HYPHENS = ("-", "\u00ad", "\u2e17", "\u00ac")


def is_parted(text: str, following: str) -> bool:
    """Returns whether the hyphen at the end of `text` only shows that its word goes on at the start of `following`."""
    return text.endswith(_HYPHENS) and len(text) > 1 and text[-2].isalpha() and following[:1].islower()


def joined(lines: Iterable[str]) -> str:
    """Joins lines into one text; a hyphen at a line end is removed if a small letter follows."""
    text = ""
    for line in filter(None, lines):
        text = text[:-1] + line if is_parted(text, line) else f"{text} {line}".strip()
    return text
