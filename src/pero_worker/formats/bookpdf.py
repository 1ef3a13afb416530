"""A searchable PDF of a book whose pages are separate pictures."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path, PurePosixPath
from typing import IO

import pikepdf

from pero_worker.errors import OutputError, PageError
from pero_worker.formats import Document, TextPolicy, archival
from pero_worker.formats.pdf import write_searchable_pdf
from pero_worker.formats.tagged import OLDEST_WITH_TAGS, Structure, layer_of, roles_of, set_language
from pero_worker.page import Page

_TOGETHER = 200
"""Most files that are open at a time."""


def write_book(document: Document, stream: IO[bytes]) -> None:
    """Writes all pages whose pictures can be had, in order.

    Raises `PageError` if there are none, `OutputError` if they cannot be written (the disk is full).
    """
    write_parts(
        _parts(document),
        stream,
        name=document.name,
        title=document.book.label if document.book else "",
        dpi=document.dpi,
        text=document.text,
        language=document.language,
    )


def write_parts(
    parts: Iterable[tuple[Path, Sequence[Page | None]]],
    stream: IO[bytes],
    *,
    name: str,
    title: str = "",
    dpi: int,
    text: TextPolicy,
    language: str = "",
) -> None:
    """Writes files and their pages as one searchable PDF, leaving out those that cannot be made into one. Raises the
    same errors as `write_book`; `name` is used in them, and as the title where there is no other."""
    try:
        with tempfile.TemporaryDirectory(prefix="pero-worker-book-") as scratch:
            folder = Path(scratch)
            joined: list[Path] = []
            waiting: list[Path] = []
            of_images = tagged = True
            for number, (source, pages) in enumerate(parts):
                target = folder / f"{number}.pdf"
                try:
                    with target.open("wb") as own:
                        made = write_searchable_pdf(source, pages, own, dpi=dpi, text=text)
                except PageError:
                    continue  # The report says why its picture cannot be had.
                of_images, tagged = of_images and made.of_images, tagged and made.tagged
                waiting.append(target)
                if len(waiting) == _TOGETHER:
                    joined.append(_joined(waiting, folder / f"part{len(joined)}.pdf", tagged=tagged))
                    waiting = []
            if not joined and not waiting:
                raise PageError(f"no page of {name} can be made into a PDF", permanent=True)

            def describe(whole: pikepdf.Pdf) -> None:
                if of_images:
                    archival.describe(whole, title or PurePosixPath(name).name)
                set_language(whole, language)

            version = archival.VERSION if of_images else OLDEST_WITH_TAGS
            result = _joined([*joined, *waiting], folder / "whole.pdf", describe, version, tagged=tagged)
            with result.open("rb") as content:
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


def _joined(
    paths: list[Path],
    target: Path,
    finish: Callable[[pikepdf.Pdf], None] = lambda _: None,
    version: str = OLDEST_WITH_TAGS,
    *,
    tagged: bool,
) -> Path:
    """Joins the pages of all files into one PDF with one font for all text, and with tags if all files have them."""
    with pikepdf.new() as whole, ExitStack() as opened:
        structure = Structure(whole)
        font = None
        for path in paths:
            part = opened.enter_context(pikepdf.open(path))
            begun = len(whole.pages)
            whole.pages.extend(part.pages)
            known = roles_of(part) if tagged else []
            for number, sheet in enumerate(whole.pages[begun:]):
                layer = layer_of(sheet)
                if layer is not None:
                    font = font or layer.Resources.Font
                    layer.Resources.Font = font
                    structure.add(sheet, layer, known[number] if tagged else ())
        structure.finish()
        finish(whole)
        whole.save(target, deterministic_id=True, min_version=version)
    for path in paths:
        path.unlink()
    return target
