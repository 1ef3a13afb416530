"""How much is read by default; kept apart from the code that reads it, for the sake of command lines."""

from __future__ import annotations

DEFAULT_MAX_PIXELS = 120_000_000
"""A newspaper page at 400 dpi. Decoding takes at most 7 bytes per pixel, 3 of which are the result."""
DEFAULT_MAX_PAGES = 20_000
"""Pages in one document."""
