"""Plain text in reading order."""

from __future__ import annotations

from datetime import datetime

from pero_worker.formats.xmltext import clean_text
from pero_worker.page import Page


def write(page: Page, *, created: datetime, creator: str) -> bytes:
    """UTF-8: a line a line, an empty line between regions; nothing at all for an empty page."""
    blocks = (
        "\n".join(" ".join(clean_text(line.text).split()) for line in region.lines if line.text)
        for region in page.regions
    )
    text = "\n\n".join(block for block in blocks if block)
    return f"{text}\n".encode() if text else b""
