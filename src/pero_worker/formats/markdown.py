"""Markdown: headings and paragraphs in reading order, with words that were split at line ends put together."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import PurePosixPath
from typing import IO

from pero_worker.formats import Document
from pero_worker.formats.hyphens import joined
from pero_worker.formats.xmltext import clean_text
from pero_worker.page import BESIDE_THE_TEXT, Page, Region

_SPECIAL = re.compile(r"([\\`*_\[\]<>|~#])")
_LEADING = re.compile(r"^([-+=]|[0-9]{1,9}[.)])")


def write(document: Document, stream: IO[bytes]) -> None:
    """Writes the title, then the text; a comment with the page's name precedes each page."""
    title = document.book.label if document.book and document.book.label else PurePosixPath(document.name).name
    stream.write(f"# {_escaped(title)}\n".encode("utf-8", "replace"))
    for name, page in zip(document.page_names, document.pages, strict=True):
        if page is not None:
            short = clean_text(PurePosixPath(name).name).replace("--", "- -")
            stream.write(f"\n<!-- {short} -->\n".encode("utf-8", "replace"))
            for block in _blocks(page):
                stream.write(f"\n{block}\n".encode("utf-8", "replace"))


def _blocks(page: Page) -> Iterator[str]:
    for region in page.regions:
        if region.kind not in BESIDE_THE_TEXT and (text := joined(_texts(region))):
            yield f"## {_escaped(text)}" if region.kind == "heading" else _LEADING.sub(r"\\\1", _escaped(text))


def _texts(region: Region) -> Iterator[str]:
    return (" ".join(clean_text(line.text or "").split()) for line in region.lines)


def _escaped(text: str) -> str:
    return _SPECIAL.sub(r"\\\1", " ".join(clean_text(text).split()))
