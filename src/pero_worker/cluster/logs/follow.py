"""Follows the log daemon's files while it writes them."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from pero_worker.cluster.logs.daemon import log_files
from pero_worker.errors import UsageError

_POLL_SECONDS = 0.2


def follow_folder(folder: Path, lines: int, stopped: threading.Event) -> Iterator[str]:
    """Yields the last `lines` lines of the newest file, then whatever is written from then on, moving on to newer
    files.

    Raises `UsageError` if there is no such folder.
    """
    if not folder.is_dir():
        raise UsageError(f"there is no folder {folder}: name the one that `pero-worker log daemon` writes to")
    last: int | None = lines
    name = ""
    while True:
        files = [path for path in log_files(folder) if path.name > name]
        if files:
            path = files[0] if last is None else files[-1]
            with path.open("rb") as file:
                yield from _follow_file(file, path, last, stopped)
            name = path.name
        if stopped.wait(0 if files else _POLL_SECONDS):
            return
        last = None


def _follow_file(file: IO[bytes], path: Path, last: int | None, stopped: threading.Event) -> Iterator[str]:
    """Yields lines until there is a newer file and this one has been read to its end."""
    rest = b""
    superseded = False
    while True:
        *complete, rest = (rest + file.read()).split(b"\n")
        for line in complete if last is None else deque(complete, maxlen=last):
            yield line.decode("utf-8", "replace")
        last = None
        if superseded or stopped.wait(_POLL_SECONDS):
            return
        # Read once more, for lines that were written before the newer file was created.
        superseded = any(other.name > path.name for other in log_files(path.parent))
