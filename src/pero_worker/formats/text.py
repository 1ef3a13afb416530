"""Plain text in reading order."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import datetime

from pero_worker.formats import TextLines
from pero_worker.formats.hyphens import joined
from pero_worker.formats.pagexml_read import TABLE
from pero_worker.formats.xmltext import clean_text
from pero_worker.page import Page, Region

_PAGE_BREAK = "\f"


def write(page: Page, *, created: datetime, creator: str) -> bytes:
    """Returns UTF-8: one line per line of the page, an empty line between regions; nothing at all for an empty page."""
    return text_of(page, TextLines.KEEP).encode()


def write_joined(page: Page, *, created: datetime, creator: str) -> bytes:
    """Returns the same as `write`, but with each paragraph on one line, without the hyphens at line ends."""
    return text_of(page, TextLines.JOIN).encode()


def text_of_pages(pages: Iterable[Page | None], lines: TextLines) -> Iterator[bytes]:
    """Yields many pages as one text, in pieces, with a form feed between pages; a failed page is empty."""
    for number, page in enumerate(pages):
        text = text_of(page, lines) if page is not None else ""
        yield f"{_PAGE_BREAK if number else ''}{text}".encode()


def text_of(page: Page, lines: TextLines) -> str:
    """Returns the text, with a newline at its end unless it is empty."""
    text = "\n\n".join(filter(None, (_block(region, lines) for region in page.regions)))
    return f"{text}\n" if text else ""


def _block(region: Region, lines: TextLines) -> str:
    texts = [" ".join(clean_text(line.text).split()) for line in region.lines if line.text]
    # The lines of a table are rows.
    if lines is TextLines.JOIN and region.kind != TABLE:
        return joined(texts)
    return "\n".join(texts)
