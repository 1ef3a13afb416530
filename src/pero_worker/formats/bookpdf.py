"""A searchable PDF of a book whose pages are pictures of their own."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import IO

import pikepdf

from pero_worker.errors import OutputError, PageError
from pero_worker.formats import Document, TextPolicy
from pero_worker.formats.pdf import write_searchable_pdf
from pero_worker.page import Page

_TOGETHER = 200
"""Files that are open at a time."""


def write_book(document: Document, stream: IO[bytes]) -> None:
    """All pages whose pictures can be had, in their order. PageError: there is none. OutputError: the disk is full."""
    write_parts(_parts(document), stream, name=document.name, dpi=document.dpi, text=document.text)


def write_parts(
    parts: Iterable[tuple[Path, Sequence[Page | None]]], stream: IO[bytes], *, name: str, dpi: int, text: TextPolicy
) -> None:
    """Files and their pages as one searchable PDF, without those that cannot be made into one. Errors as `write_book`;
    `name` is what they call it."""
    try:
        with tempfile.TemporaryDirectory(prefix="pero-worker-book-") as scratch:
            folder = Path(scratch)
            made: list[Path] = []
            waiting: list[Path] = []
            for number, (source, pages) in enumerate(parts):
                target = folder / f"{number}.pdf"
                try:
                    with target.open("wb") as own:
                        write_searchable_pdf(source, pages, own, dpi=dpi, text=text)
                except PageError:
                    continue  # The report says why its picture cannot be had.
                waiting.append(target)
                if len(waiting) == _TOGETHER:
                    made.append(_joined(waiting, folder / f"part{len(made)}.pdf"))
                    waiting = []
            if not made and not waiting:
                raise PageError(f"no page of {name} can be made into a PDF", permanent=True)
            whole = _joined([*made, *waiting], folder / "whole.pdf")
            with whole.open("rb") as content:
                while block := content.read(1 << 20):
                    stream.write(block)
    except OSError as error:
        raise OutputError(f"cannot write the PDF of {name}: {error.strerror or error}") from error


def _parts(document: Document) -> Iterator[tuple[Path, Sequence[Page | None]]]:
    for place, page in enumerate(document.pages):
        try:
            picture = document.picture(place) if document.picture else document.source
        except PageError:
            continue  # As above.
        yield picture, [page]


def _joined(paths: list[Path], target: Path) -> Path:
    with pikepdf.new() as whole, ExitStack() as opened:
        for path in paths:
            whole.pages.extend(opened.enter_context(pikepdf.open(path)).pages)
        whole.save(target, deterministic_id=True)
    for path in paths:
        path.unlink()
    return target
