"""How much is read when nobody says otherwise; apart from what reads it, for command lines."""

from __future__ import annotations

DEFAULT_MAX_PIXELS = 120_000_000
"""A newspaper page at 400 dpi. Decoding takes 7 bytes a pixel at most, 3 of which are the result."""
DEFAULT_MAX_PAGES = 20_000
"""Of a document."""
