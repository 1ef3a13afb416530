"""Notes the options of a run that its results depend on and its report does not record, for the next run."""

from __future__ import annotations

from pero_worker.inputs.discover import STATE
from pero_worker.jobs.outputs import OutputFolder

TEXT_POLICY = "text"
TEXT_LINES = "lines"
LANGUAGE = "language"


def noted(folder: OutputFolder, name: str, default: str) -> str:
    """Returns what the last run noted under this name, or else `default`."""
    path = folder.root / STATE / name
    return path.read_text("utf-8", "replace") if path.is_file() else default


def language_of(folder: OutputFolder, wanted: str) -> str:
    """Returns the language that is `wanted`, or else that of the last run."""
    return wanted or noted(folder, LANGUAGE, "")


def note(folder: OutputFolder, name: str, value: str, default: str) -> None:
    """Notes a value for the next run. Raises `OutputError` if it cannot be written."""
    if noted(folder, name, default) != value:
        folder.write_with(folder.root / STATE / name, lambda stream: stream.write(value.encode()))
