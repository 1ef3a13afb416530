"""What a command-line argument stands for: a path, a pattern or an address."""

from __future__ import annotations

import errno
import glob
import os
import re
from pathlib import Path

from pero_worker.errors import NoInputError


def is_address(argument: str) -> bool:
    return argument.lower().startswith(("http://", "https://"))


def expanded(argument: str, exclude: Path | None) -> list[Path]:
    if not argument:
        raise NoInputError("an empty path was given: is a variable not set?")
    path = Path(argument)
    if os.path.lexists(path):
        if problem := _problem(path):
            raise NoInputError(f"{argument} is a link that leads nowhere: {problem}")
        return [path]
    if glob.has_magic(argument):
        matches = [Path(match) for match in sorted(glob.glob(argument, recursive=True), key=natural)]
        if exclude:
            # A pattern that matches nothing but results is meant to match them.
            outside = [match for match in matches if not match.resolve().is_relative_to(exclude)]
            matches = outside or matches
        if matches:
            # Matching folders count only when no file matches: '**' matches both.
            return [match for match in matches if match.is_file()] or matches
        raise NoInputError(f"nothing matches the pattern {argument}")
    if argument == "-":
        raise NoInputError("standard input is not read: pages are read more than once, so save it as a file")
    problem = _problem(path)
    raise NoInputError(f"{argument} cannot be read: {problem}" if problem else f"{argument} does not exist")


def _problem(path: Path) -> str:
    """Says why the path cannot be examined; '' if it exists, or simply does not."""
    try:
        path.stat()
    except FileNotFoundError:
        return "it is not there" if path.is_symlink() else ""
    except ValueError:
        return ""
    except OSError as error:  # a folder on the way is not readable, links form a loop
        return "" if error.errno == errno.ENAMETOOLONG else error.strerror or str(error)
    return ""


def natural(name: str) -> list[tuple[int, int, str]]:
    """Sorts page2 before page10."""
    pieces = re.split(r"([0-9]+)", name)
    return [(0, int(piece), "") if piece.isdecimal() else (1, 0, piece.lower()) for piece in pieces if piece]
