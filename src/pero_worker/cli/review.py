"""`pero-worker review`: shows what to check first."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import Annotated

import typer

from pero_worker.cli.late import command_app
from pero_worker.cli.say import say, warn
from pero_worker.errors import OutputError, PageError, UsageError
from pero_worker.formats import reviewpage
from pero_worker.inputs.documents import read_page
from pero_worker.jobs.review import Review, UnsureLine, by_page, review
from pero_worker.names import counted
from pero_worker.text import one_line

EPILOG = """
[bold]Examples[/bold]

  pero-worker review out/                          (lists the worst, and writes out/review.html)

  pero-worker review out/ --lines 1000 -o worst.html

The page for the browser is one file with the pictures in it; it fetches nothing and can be passed on.

[bold]Exit status[/bold]  0 done; 2 wrong usage; 7 no report, or cannot write.
"""
_LISTED = 10
_LONGEST = 70


def review_command(
    folder: Annotated[Path, typer.Argument(help="Results of `pero-worker ocr` or `download`.", metavar="OUT")],
    output: Annotated[
        Path | None, typer.Option("-o", "--output", help="The HTML file.", show_default="OUT/review.html")
    ] = None,
    lines: Annotated[int, typer.Option(min=1, max=10_000, help="Lines to show, at most.")] = 200,
    pages: Annotated[int, typer.Option(min=1, max=10_000, help="Pages to list, at most.")] = 50,
) -> None:
    """List the worst pages and lines, and show each line's picture next to its text in a page for the browser."""
    target = output or folder / "review.html"
    _free(target)
    found = review(folder, pages=pages, lines=lines)
    if not found.lines:
        raise UsageError(f"{folder} has no lines with confidences: read pages into it first, with --formats page")
    _write(target, folder, found)
    say(f"{counted(found.done, 'page')}; the least sure first:")
    for record in found.pages[:_LISTED]:
        say(f"  {100 * (record.confidence_mean or 0):3.0f} %  {one_line(record.page)}")
    say("least sure lines:")
    for unsure in found.lines[:_LISTED]:
        text = one_line(unsure.line.text or "")[:_LONGEST]
        say(f"  {100 * unsure.confidence:3.0f} %  {one_line(unsure.record.page)}: {text}")
    if found.unreadable:
        warn(
            f"{counted(len(found.unreadable), 'page')} without usable PAGE XML, such as {one_line(found.unreadable[0])}"
        )
    say(f"{target} shows {counted(len(found.lines), 'line')}")


def _free(target: Path) -> None:
    """Checks that `target` can be written: a file of ours may be replaced, others are not overwritten."""
    try:
        if target.is_symlink() or (target.exists() and not target.is_file()):
            raise UsageError(f"{target} is not a regular file: name another one with --output")
        if target.is_file():
            with target.open("rb") as stream:
                if reviewpage.MARK.encode() not in stream.read(200):
                    raise UsageError(f"{target} was not made by this command: name another file with --output")
    except OSError as error:
        raise OutputError(f"{target} cannot be written: {error.strerror}") from error


def _write(target: Path, folder: Path, found: Review) -> None:
    pictures = _pictures(found)
    title = f"Review of {folder.absolute().name}"
    pages = [(record.page, record.confidence_mean or 0.0) for record in found.pages]
    shown = (
        reviewpage.Shown(page=one.record.page, line=one.line, picture=pictures.get(id(one))) for one in found.lines
    )
    try:
        with NamedTemporaryFile(dir=target.parent, prefix=".review-", delete=False) as stream:
            try:
                for piece in reviewpage.write(title, pages, shown):
                    stream.write(piece)
                stream.flush()
                Path(stream.name).chmod(0o644)
                os.replace(stream.name, target)  # noqa: PTH105 - replaces in one step
            except BaseException:
                Path(stream.name).unlink(missing_ok=True)
                raise
    except OSError as error:
        raise OutputError(f"{target} cannot be written: {error.strerror}") from error


def _pictures(found: Review) -> dict[int, bytes]:
    opened = by_page(found.lines).items()
    return dict(picture for (source, index), lines in opened for picture in _cut(source, index, lines))


def _cut(source: str, index: int, lines: list[UnsureLine]) -> Iterator[tuple[int, bytes]]:
    """Yields the pictures of one page's lines, by `id` of the line; none if the page's file is gone."""
    try:
        image = read_page(Path(source), index, dpi=lines[0].record.fingerprint.dpi).image
    except (PageError, OSError):
        return
    for one in lines:
        picture = reviewpage.picture_of(image, one.line, one.size)
        if picture is not None:
            yield id(one), picture


app = command_app("review", review_command, EPILOG)
