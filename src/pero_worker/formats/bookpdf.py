"""A searchable PDF of a book whose pages are pictures of their own."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import IO

import pikepdf

from pero_worker.errors import OutputError, PageError
from pero_worker.formats import Document
from pero_worker.formats.pdf import write_searchable_pdf

_TOGETHER = 200
"""Files that are open at a time."""


def write_book(document: Document, stream: IO[bytes]) -> None:
    """All pages whose pictures can be had, in their order. PageError: there is none. OutputError: the disk is full."""
    try:
        with tempfile.TemporaryDirectory(prefix="pero-worker-book-") as scratch:
            folder = Path(scratch)
            parts: list[Path] = []
            waiting: list[Path] = []
            for path in _pages(document, folder):
                waiting.append(path)
                if len(waiting) == _TOGETHER:
                    parts.append(_joined(waiting, folder / f"part{len(parts)}.pdf"))
                    waiting = []
            if not parts and not waiting:
                raise PageError(f"no page of {document.name} can be made into a PDF", permanent=True)
            whole = _joined([*parts, *waiting], folder / "whole.pdf")
            with whole.open("rb") as made:
                while block := made.read(1 << 20):
                    stream.write(block)
    except OSError as error:
        raise OutputError(f"cannot write the PDF of {document.name}: {error.strerror or error}") from error


def _pages(document: Document, folder: Path) -> Iterator[Path]:
    for place, page in enumerate(document.pages):
        target = folder / f"{place}.pdf"
        try:
            picture = document.picture(place) if document.picture else document.source
            with target.open("wb") as stream:
                write_searchable_pdf(picture, [page], stream, dpi=document.dpi, text=document.text)
        except PageError:
            continue  # The report says why its picture cannot be had.
        yield target


def _joined(paths: list[Path], target: Path) -> Path:
    with pikepdf.new() as whole, ExitStack() as opened:
        for path in paths:
            whole.pages.extend(opened.enter_context(pikepdf.open(path)).pages)
        whole.save(target, deterministic_id=True)
    for path in paths:
        path.unlink()
    return target
