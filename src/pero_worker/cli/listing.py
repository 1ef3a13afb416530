"""Prints lists: headings, one line per row, and a message if there is nothing to list."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from pero_worker.cli.say import say, warn
from pero_worker.text import one_line

_WIDEST = 200
"""Longest cell in characters: an overlong value from outside must not push the other columns out of sight."""


def print_list(headings: Sequence[str], rows: Iterable[Sequence[object]], *, empty: str) -> None:
    """Prints a list on stdout, columns as wide as their contents, numbers aligned to the right.

    Without rows, `empty` goes to stderr, so that programs that read the list get no lines.
    """
    cells = [[_shown(value) for value in row] for row in rows]
    if not cells:
        warn(empty)
        return
    numbers = [all(_is_number(row[column]) for row in cells) for column in range(len(headings))]
    widths = [max(len(row[column]) for row in (headings, *cells)) for column in range(len(headings))]
    for row in (headings, *cells):
        columns = zip(row, widths, numbers, strict=True)
        say("  ".join(cell.rjust(width) if number else cell.ljust(width) for cell, width, number in columns).rstrip())


def _shown(value: object) -> str:
    text = "-" if value is None or value == "" else one_line(str(value))
    return text if len(text) <= _WIDEST else f"{text[: _WIDEST - 4]} ..."


def _is_number(cell: str) -> bool:
    return cell == "-" or cell.isdecimal()
