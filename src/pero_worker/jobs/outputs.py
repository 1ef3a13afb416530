"""The folder the user named: every file in it appears whole or not at all, and nothing is written outside."""

from __future__ import annotations

import fcntl
import os
import shutil
import uuid
from collections.abc import Callable
from pathlib import Path, PurePosixPath
from typing import IO

from pero_worker.errors import OutputError, UsageError

REPORT_NAME = "report.jsonl"
_STATE = ".pero-worker"


class OutputFolder:
    """Paths and atomic writes below `root`; one run at a time owns it.

    `.pero-worker/` inside holds what is not a result: unfinished files, the log of the worker processes,
    and PAGE XML when it is not among the formats asked for (files of whole documents are made from it).
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self._state = root / _STATE
        self._unfinished = self._state / "unfinished"
        self._counter = 0
        try:
            shutil.rmtree(self._unfinished, ignore_errors=True)
            self._unfinished.mkdir(parents=True, exist_ok=True)
            self._lock = (self._state / "lock").open("w")
        except OSError as error:
            raise OutputError(f"cannot write to the output folder {root}: {error.strerror}") from error
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            self._lock.close()
            raise UsageError(f"another run is writing to {root}; wait for it or choose another folder") from None

    @property
    def worker_log(self) -> Path:
        return self._state / "workers.log"

    @property
    def job_id(self) -> str:
        """The name of this folder's job in a cluster, the same from run to run."""
        file = self._state / "job"
        if not file.is_file():
            self.write(file, uuid.uuid4().hex[:16].encode())
        return file.read_text().strip()

    @property
    def index(self) -> Path:
        """Of the report, while a run lasts."""
        return self._state / "report.sqlite"

    @property
    def report(self) -> Path:
        return self.root / REPORT_NAME

    def path(self, name: str, suffix: str, *, hidden: bool = False) -> Path:
        """Where the result `name` + `suffix` lies; `name` is a relative posix path without extension."""
        parts = PurePosixPath(name).parts
        if not parts or parts[0] == "/" or ".." in parts:
            raise OutputError(f"refusing to write {name!r}: it points outside the output folder")
        base = self._state / "pages" if hidden else self.root
        return base.joinpath(*parts[:-1], parts[-1] + suffix)

    def write(self, target: Path, content: bytes) -> None:
        self.write_with(target, lambda stream: stream.write(content))

    def write_with(self, target: Path, fill: Callable[[IO[bytes]], object]) -> None:
        """Creates `target` atomically with what `fill` writes. OutputError: disk full, no permission."""
        self._counter += 1
        unfinished = self._unfinished / f"{os.getpid()}-{self._counter}"
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            with unfinished.open("wb") as stream:
                fill(stream)
            unfinished.replace(target)
        except OSError as error:
            raise OutputError(f"cannot write {target}: {error.strerror or error}") from error
        finally:
            unfinished.unlink(missing_ok=True)

    def relative(self, path: Path) -> str:
        return path.relative_to(self.root).as_posix()

    def close(self) -> None:
        shutil.rmtree(self._unfinished, ignore_errors=True)
        self._lock.close()
