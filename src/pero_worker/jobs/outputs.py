"""The folder that the user named: every file in it appears whole or not at all, and nothing is written outside it."""

from __future__ import annotations

import errno
import os
import re
import threading
import uuid
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path, PurePosixPath
from typing import IO

from pero_worker.errors import OutputError, PageError, UsageError
from pero_worker.jobs.confined import ConfinedFolder

REPORT_NAME = "report.jsonl"
_STATE = ".pero-worker"
_UNFINISHED = (_STATE, "unfinished")
_JOB_ID = re.compile(r"[0-9a-f]{16}")
_NAME_PROBLEMS = {
    errno.ENAMETOOLONG: "the name is too long",
    errno.EEXIST: "something else has this name",
    errno.ENOTDIR: "a folder on the way is a file or a link",
    errno.EISDIR: "a folder has this name",
    errno.ENOTEMPTY: "a folder has this name",
    errno.ELOOP: "a folder on the way is a link, and results are not written through links",
    errno.EINVAL: "the file system does not take this name",
    errno.EILSEQ: "the file system does not take this name",
}
"""Errors that are due to the name of one result: the others can be written."""
_DENIED = {errno.EACCES, errno.EPERM, errno.EROFS}


class ResultPathError(PageError):
    """One result has no place in the folder; the run goes on."""

    failure_class = "output"


class OutputFolder:
    """Paths and atomic writes below `root`; one run at a time owns it.

    `.pero-worker/` inside holds what is not a result: unfinished files, the log of the worker processes,
    and PAGE XML when it is not among the formats asked for (other formats are made from it).
    """

    def __init__(self, root: Path) -> None:
        """Raises `UsageError` if another run owns the folder (it is not disturbed), and `OutputError` if the folder
        cannot be written to."""
        self.root = root
        self._state = root / _STATE
        self._counter = 0
        self._guard = threading.Lock()
        self._drafts: dict[tuple[str, ...], tuple[str, ...]] = {}
        self._folder: ConfinedFolder | None = None
        try:
            self._folder = ConfinedFolder(root)
            lock = self._folder.locked((_STATE, "lock"))
            if lock is None:
                raise UsageError(f"another run is writing to {root}; wait for it or choose another folder")
            self._lock = lock
            self._folder.remove_tree(_UNFINISHED)
            with self._folder.opened(_UNFINISHED, create=True):
                pass
        except OSError as error:
            self._release()
            raise OutputError(f"cannot write to the output folder {root}: {_reason(error)}") from error
        except UsageError:
            self._release()
            raise

    @property
    def worker_log(self) -> Path:
        target = self._state / "workers.log"
        try:
            self._here.open_own((_STATE, "workers.log"), "ab+").close()
        except OSError as error:
            raise OutputError(f"cannot write {target}: {_reason(error)}") from error
        return target

    @property
    def job_id(self) -> str:
        """The name of this folder's job in a cluster, which stays the same from run to run."""
        target = self._state / "job"
        try:
            with self._here.open_own((_STATE, "job"), "rb+") as file:
                known = file.read(100).decode("ascii", "replace").strip()
        except OSError as error:
            raise self._problem(error, target) from error
        if _JOB_ID.fullmatch(known):
            return known
        made = uuid.uuid4().hex[:16]
        self.write_with(target, lambda stream: stream.write(made.encode()))
        return made

    @property
    def index(self) -> Path:
        """Path of the report's index, which exists while a run lasts."""
        return self._state / "report.sqlite"

    @property
    def report(self) -> Path:
        return self.root / REPORT_NAME

    def open_report(self) -> IO[bytes]:
        """Opens the report to read and append to. Raises `OSError` if that fails."""
        return self._here.open_own((REPORT_NAME,), "ab+")

    def open_note(self, name: str) -> IO[bytes]:
        """Opens a file of ours that is not a result, to append to. Raises `OSError` if that fails."""
        return self._here.open_own((_STATE, name), "ab+")

    def is_whole(self, relative: str, *, empty: bool = False) -> bool:
        """Whether a file exists, is not torn (a power cut leaves zeros at the end) and, unless `empty`, not empty."""
        try:
            with self._here.open_to_read(PurePosixPath(relative).parts) as file:
                size = file.seek(0, os.SEEK_END)
                file.seek(max(size - 1, 0))
                return file.read(1) != b"\0" if size else empty
        except OSError:
            return False

    def path(self, name: str, suffix: str, *, hidden: bool = False) -> Path:
        """Returns the path of the result `name` + `suffix`; `name` is a relative POSIX path without an extension."""
        parts = PurePosixPath(name).parts
        if not parts or parts[0] == "/" or ".." in parts:
            raise OutputError(f"refusing to write {name!r}: it points outside the output folder")
        base = self._state / "pages" if hidden else self.root
        return base.joinpath(*parts[:-1], parts[-1] + suffix)

    def fits(self, target: Path) -> bool:
        """Whether the name and the folder of `target` allow it to be written."""
        try:
            self._place(self._parts(target))
        except (OSError, ResultPathError):
            return False
        return os.access(target.parent, os.W_OK | os.X_OK)

    def write(self, target: Path, content: bytes) -> None:
        """Writes `content`; after the next `commit` it is in place and survives a power cut.

        Raises the errors of `write_with`.
        """
        parts = self._parts(target)
        draft = self._fill(target, parts, lambda stream: stream.write(content))
        with self._guard:
            replaced, self._drafts[parts] = self._drafts.get(parts), draft
        if replaced:
            self._here.remove(replaced)

    def write_with(self, target: Path, fill: Callable[[IO[bytes]], object]) -> None:
        """Creates `target` with what `fill` writes, at once. Raises `ResultPathError` if there is no place for it, and
        `OutputError` if the disk is full or nothing can be written at all."""
        parts = self._parts(target)
        draft = self._fill(target, parts, fill)
        try:
            self._here.sync_files([draft])
            self._here.move(draft, parts)
            self._here.sync_folders([parts[:-1]])
        except OSError as error:
            raise self._problem(error, target) from error
        finally:
            self._discard(draft)

    def commit(self) -> None:
        """Puts what was written in place, durably. Raises `OutputError` as `write_with` does; then none of it is in
        place, or some of it."""
        with self._guard:
            drafts, self._drafts = self._drafts, {}
        target: tuple[str, ...] = ()
        try:
            self._here.sync_files(drafts.values())
            for target, draft in drafts.items():
                self._here.move(draft, target)
            self._here.sync_folders({target[:-1] for target in drafts})
        except OSError as error:
            for draft in drafts.values():
                self._discard(draft)
            raise OutputError(f"cannot write {self.root.joinpath(*target)}: {_reason(error)}") from error

    def relative(self, path: Path) -> str:
        return path.relative_to(self.root).as_posix()

    def close(self) -> None:
        """Closes the folder; what was written and not committed is discarded."""
        self._here.remove_tree(_UNFINISHED)
        self._release()

    @property
    def _here(self) -> ConfinedFolder:
        if self._folder is None:
            raise OutputError(f"the output folder {self.root} is closed")
        return self._folder

    def _release(self) -> None:
        if lock := getattr(self, "_lock", None):
            lock.close()
        if self._folder is not None:
            self._folder.close()
            self._folder = None

    def _parts(self, target: Path) -> tuple[str, ...]:
        return target.relative_to(self.root).parts

    def _fill(self, target: Path, parts: tuple[str, ...], fill: Callable[[IO[bytes]], object]) -> tuple[str, ...]:
        """Writes the draft of `target` and returns its parts."""
        with self._guard:
            self._counter += 1
            draft = (*_UNFINISHED, f"{os.getpid()}-{self._counter}")
        whole = False
        try:
            self._place(parts)
            with self._here.create(draft) as stream:
                _filled(stream, fill)
            whole = True
        except OSError as error:
            raise self._problem(error, target) from error
        finally:
            if not whole:
                self._discard(draft)
        return draft

    def _place(self, parts: tuple[str, ...]) -> None:
        """Creates the folders on the way to a result."""
        with self._guard:
            taken = [parts[:end] for end in range(1, len(parts)) if parts[:end] in self._drafts]
        if taken:
            raise ResultPathError(f"cannot write {self.root.joinpath(*parts)}: {_NAME_PROBLEMS[errno.ENOTDIR]}")
        with self._here.opened(parts[:-1], create=True):
            pass
        if self._here.is_folder(parts):
            raise OSError(errno.EISDIR, os.strerror(errno.EISDIR))

    def _problem(self, error: OSError, target: Path) -> OutputError | ResultPathError:
        denied = error.errno in _DENIED and os.access(self.root, os.W_OK | os.X_OK)
        if denied or is_name_problem(error):
            return ResultPathError(f"cannot write {target}: {_reason(error)}", permanent=True)
        return OutputError(f"cannot write {target}: {_reason(error)}")

    def _discard(self, draft: tuple[str, ...]) -> None:
        with suppress(OSError):
            self._here.remove(draft)


def is_name_problem(error: OSError) -> bool:
    """Whether the error is due to one name: others can be written."""
    return error.errno in _NAME_PROBLEMS


def _filled(stream: IO[bytes], fill: Callable[[IO[bytes]], object]) -> None:
    """Fills the stream. Raises `OSError` if it takes no more, and `PageError` if what goes into it cannot be read."""
    try:
        fill(stream)
    except OSError as error:
        if error.filename is None:
            raise
        raise PageError(f"cannot read {error.filename}: {error.strerror or error}", permanent=True) from error


def _reason(error: OSError) -> str:
    return _NAME_PROBLEMS.get(error.errno or 0) or error.strerror or str(error)
