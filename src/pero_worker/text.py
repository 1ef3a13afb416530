"""Makes text from outside fit to be shown on a terminal, in a log or in a report."""

from __future__ import annotations

import unicodedata

MAX_LINE_LENGTH = 16_000
"""Longest text in characters; the rest is cut off."""
_SHORT = {"\n": "\\n", "\r": "\\r", "\t": "\\t"}
_BREAKING = {"Cc", "Cs", "Zl", "Zp", "Cf"}
_HARMLESS = {"\u00ad", "\u200c", "\u200d"}
"""Soft hyphen and joiners, which words and emoji need; other format characters change the direction of writing, or are
invisible."""


def one_line(text: str) -> str:
    """Returns `text` without anything that could control a terminal: control characters, line breaks of all kinds,
    characters that change the direction of writing, and broken surrogates are escaped."""
    cut = text if len(text) <= MAX_LINE_LENGTH else f"{text[:MAX_LINE_LENGTH]} ... ({len(text)} characters)"
    if cut.isprintable():
        return cut
    return "".join(_written_out(character) if _breaks(character) else character for character in cut)


def clean_lines(text: str) -> str:
    """As `one_line`, but keeps line breaks and tabs, for texts of several lines."""
    return "\n".join("\t".join(map(one_line, line.split("\t"))) for line in text.split("\n"))


def _breaks(character: str) -> bool:
    return unicodedata.category(character) in _BREAKING and character not in _HARMLESS


def _written_out(character: str) -> str:
    number = ord(character)
    if number > 0xFFFF:
        return f"\\U{number:08x}"
    return _SHORT.get(character) or (f"\\x{number:02x}" if number < 256 else f"\\u{number:04x}")
