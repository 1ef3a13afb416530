"""A process in Kitodo.Production: pictures from its folder in, results with the same base names out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from pero_worker.errors import NoInputError, OutputError, UsageError
from pero_worker.inputs.discover import discover
from pero_worker.jobs.confined import ConfinedFolder
from pero_worker.jobs.mets import replace_file
from pero_worker.jobs.records import PageStatus, read_report

ENDINGS = {"alto": ".xml", "alto2": ".xml", "page": ".xml", "text": ".txt", "hocr": ".html", "pdf": ".pdf"}
"""File name endings of results, by format, as Kitodo's folders are set up."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ResultFolder:
    """Where results of one format are placed."""

    format: str
    """One of `ENDINGS`."""
    folder: str
    """Path of the folder, below the process's folder."""


def check_folder(name: str) -> tuple[str, ...]:
    """Returns the parts of the folder's path. Raises `UsageError` if it leads out of the process's folder."""
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts or not path.parts:
        raise UsageError(f"the folder {name!r} must lie below that of the process: no '/' before it, and no '..'")
    return path.parts


def pictures_of(process: Path, folder: str) -> list[str]:
    """Returns the pictures in the folder itself. Raises `NoInputError` if there are none, and `UsageError` if two share
    a base name."""
    images = process.joinpath(*check_folder(folder))
    if not images.is_dir():
        hint = "; was a variable not replaced?" if "(" in str(images) or "{" in str(images) else ""
        raise NoInputError(f"there is no folder {images}{hint}")
    found = [
        document.path for document in discover([str(images)]).documents if document.path.parent == images.resolve()
    ]
    if not found:
        raise NoInputError(f"there are no pictures in {images}")
    bases: dict[str, Path] = {}
    for path in found:
        if path.stem.casefold() in bases:
            raise UsageError(f"{bases[path.stem.casefold()].name} and {path.name} would have results of the same name")
        bases[path.stem.casefold()] = path
    return [str(path) for path in found]


def place_results(results: Path, process: Path, folders: Mapping[str, ResultFolder]) -> int:
    """Copies the results of the run in `results` to their folders, each whole or not at all; returns how many pages.

    Raises `OutputError` if they cannot be written.
    """
    pages = 0
    try:
        target = ConfinedFolder(process)
        try:
            for record in read_report(results):
                if record.status is not PageStatus.DONE:
                    continue
                pages += 1
                base = Path(record.source).stem
                for wanted in folders.values():
                    content = (results / record.outputs[wanted.format]).read_bytes()
                    replace_file(target, (*check_folder(wanted.folder), base + ENDINGS[wanted.format]), content)
        finally:
            target.close()
    except OSError as error:
        raise OutputError(f"cannot write results below {process}: {error.strerror or error}") from error
    return pages
