"""What an earlier run was told, where its results depend on it and its report does not say so."""

from __future__ import annotations

from pero_worker.inputs.discover import STATE
from pero_worker.jobs.outputs import OutputFolder

TEXT_POLICY = "text"
TEXT_LINES = "lines"
LANGUAGE = "language"


def noted(folder: OutputFolder, name: str, default: str) -> str:
    """What the last run noted under this name."""
    path = folder.root / STATE / name
    return path.read_text("utf-8", "replace") if path.is_file() else default


def language_of(folder: OutputFolder, wanted: str) -> str:
    """The language that is `wanted`, else that of the last run."""
    return wanted or noted(folder, LANGUAGE, "")


def note(folder: OutputFolder, name: str, value: str, default: str) -> None:
    """For the next run. OutputError: it cannot be written."""
    if noted(folder, name, default) != value:
        folder.write_with(folder.root / STATE / name, lambda stream: stream.write(value.encode()))
