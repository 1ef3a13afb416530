"""Finds the documents that the command line names, and names their results."""

from __future__ import annotations

import glob
import hashlib
import os
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from pero_worker.errors import NoInputError

_EXTENSIONS = frozenset(
    [
        ".jpg",
        ".jpeg",
        ".jpe",
        ".png",
        ".tif",
        ".tiff",
        ".jp2",
        ".j2k",
        ".jpx",
        ".j2c",
        ".webp",
        ".bmp",
        ".gif",
        ".pdf",
        ".ppm",
        ".pgm",
        ".pbm",
    ]
)
# A file name has 255 bytes; results append '_0001' and '.page.xml', or more.
_LONGEST = 230
_PAGE_NAME = re.compile(r"(.+)_[0-9]{4,}", re.DOTALL)


@dataclass(frozen=True, slots=True)
class SourceDocument:
    """`name` is the relative posix path of its results, without extension, unique among the documents."""

    path: Path
    name: str


@dataclass(frozen=True, slots=True)
class Discovery:
    """`skipped` counts the files in folders that are not images by their extension."""

    documents: tuple[SourceDocument, ...]
    skipped: int


def discover(paths: Sequence[str], *, exclude: Path | None = None) -> Discovery:
    """Files (of any extension), folders (searched through, `exclude` and hidden files left out) and patterns.

    Names are relative to the folder when one folder is named, else to what all paths have in common, so that the
    input's tree is kept. NoInputError: a path is not there, or nothing is found.
    """
    found: dict[Path, None] = {}
    skipped = 0
    results = exclude.resolve() if exclude else None
    for argument in paths:
        for path in _expand(argument, results):
            if not path.is_dir():
                # One file has one place, whichever way leads there ('..', links to folders).
                found[path.parent.resolve() / path.name] = None
                continue
            if path.resolve() == results and len(paths) > 1:
                continue  # As a shell expands 'scans/*'; alone it is meant.
            for file in _walk(path.resolve(), results):
                if file.suffix.lower() in _EXTENSIONS:
                    found[file] = None
                else:
                    skipped += 1
    if not found:
        raise NoInputError(f"no images or PDFs in {', '.join(paths)}")
    root = _root(paths, list(found))
    return Discovery(tuple(_named(list(found), root)), skipped)


def page_name(document_name: str, index: int, count: int) -> str:
    """The name of page `index` (from 0): the document's own when it has one page, else with the page's number."""
    return document_name if count == 1 else f"{document_name}_{index + 1:04d}"


def _expand(argument: str, exclude: Path | None) -> list[Path]:
    if not argument:
        raise NoInputError("an empty path was given: is a variable not set?")
    path = Path(argument)
    if os.path.lexists(path):
        if not path.exists():
            raise NoInputError(f"{argument} is a link to something that is not there")
        return [path]
    if glob.has_magic(argument):
        matches = sorted(map(Path, glob.glob(argument, recursive=True)), key=_natural)
        if exclude:
            matches = [match for match in matches if not match.resolve().is_relative_to(exclude)]
        if matches:
            # A pattern's folders stand for themselves only when no file matches: '**' matches both.
            return [match for match in matches if match.is_file()] or matches
        raise NoInputError(f"nothing matches the pattern {argument}")
    raise NoInputError(f"{argument} does not exist")


def _walk(folder: Path, exclude: Path | None) -> Iterator[Path]:
    for base, folders, files in os.walk(folder):
        here = Path(base)
        folders[:] = sorted(
            (name for name in folders if not name.startswith(".") and here / name != exclude),
            key=lambda name: _natural(Path(name)),
        )
        for name in sorted(files, key=lambda name: _natural(Path(name))):
            if not name.startswith("."):
                yield here / name


def _natural(path: Path) -> list[tuple[int, int, str]]:
    """Sorts page2 before page10."""
    pieces = re.split(r"([0-9]+)", str(path))
    return [(0, int(piece), "") if piece.isdecimal() else (1, 0, piece.lower()) for piece in pieces if piece]


def _root(paths: Sequence[str], files: list[Path]) -> Path:
    if len(paths) == 1 and Path(paths[0]).is_dir():
        return Path(paths[0]).resolve()
    return Path(os.path.commonpath([file.parent for file in files]))


def _named(files: list[Path], root: Path) -> Iterator[SourceDocument]:
    whole = [_portable(os.path.relpath(file, root)) for file in files]
    short = [_without_extension(name) for name in whole]
    uses = Counter(name.casefold() for name in short)
    taken: set[str] = set()

    def ambiguous(bare: str) -> bool:
        """Whether another document, or the page of another document, may get this name."""
        numbered = _PAGE_NAME.fullmatch(bare.casefold())
        return uses[bare.casefold()] > 1 or (numbered is not None and uses[numbered[1]] > 0)

    for file, full, bare in zip(files, whole, short, strict=True):
        name = _bounded(full if ambiguous(bare) else bare)
        while name.casefold() in taken:
            name = _bounded(f"{name}_{hashlib.sha256(os.fsencode(file)).hexdigest()[:8]}")
        taken.add(name.casefold())
        yield SourceDocument(file, name)


def _portable(name: str) -> str:
    return "/".join(part for part in os.fsencode(name).decode("utf-8", "replace").split("/") if part not in {".", ".."})


def _without_extension(name: str) -> str:
    folder, slash, file = name.rpartition("/")
    stem, dot, extension = file.rpartition(".")
    return folder + slash + (stem if dot and stem and f".{extension.lower()}" in _EXTENSIONS else file)


def _bounded(name: str) -> str:
    """Shortens the last component when a suffix would make it too long for a file system."""
    folder, slash, file = name.rpartition("/")
    encoded = file.encode()
    if len(encoded) > _LONGEST:
        mark = hashlib.sha256(encoded).hexdigest()[:12]
        file = encoded[: _LONGEST - 13].decode("utf-8", "ignore") + "-" + mark
    return folder + slash + file
