"""Cache entries that the processes of one machine share: folders that appear whole and stay as long as they are used.

Next to the folder KEY are KEY.lock, which every user holds shared and whoever creates or removes the entry holds
exclusively; KEY.tmp, which is being created or removed; and KEY.sha256, with the digests of the files at creation. The
modification time of the lock file is the time of the last use.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import shutil
import stat
from collections.abc import Callable
from contextlib import nullcontext, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO


@dataclass(slots=True, kw_only=True)
class Hold:
    """Keeps an entry's folder from being removed until it is released, or the process ends."""

    entry: Entry
    """The entry whose folder is kept."""
    lock: BinaryIO
    """The open lock file."""

    def touch(self, now: float) -> None:
        os.utime(self.lock.fileno(), (now, now))

    def release(self) -> None:
        self.lock.close()


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """A folder of the cache. All methods raise OSError if the disk fails them."""

    place: Path
    """The folder that holds the entry."""
    key: str
    """The entry's name in that folder."""

    @property
    def folder(self) -> Path:
        return self.place / self.key

    @property
    def _lock_file(self) -> Path:
        return self.place / f"{self.key}.lock"

    @property
    def _digests(self) -> Path:
        return self.place / f"{self.key}.sha256"

    @property
    def _temporary(self) -> Path:
        return self.place / f"{self.key}.tmp"

    def hold(self, make: Callable[[Path], Path]) -> Hold:
        """Waits while another process makes the entry; otherwise has `make` fill an empty folder and return the
        finished one."""
        self.place.mkdir(parents=True, exist_ok=True)
        while True:
            lock = self._locked(fcntl.LOCK_SH)
            if self.folder.is_dir():
                return Hold(entry=self, lock=lock)
            lock.close()
            with self._locked(fcntl.LOCK_EX):
                if not self.folder.is_dir():
                    self._make(make)
            # Another process may clean up between the two locks, so look again.

    def is_private(self) -> bool:
        """Whether nobody but this user (or root) made the folder or can change it."""
        made = self.folder.lstat()
        return stat.S_ISDIR(made.st_mode) and made.st_uid in {os.geteuid(), 0} and not made.st_mode & stat.S_IWOTH

    def is_as_made(self) -> bool:
        """Whether every file is still what it was when the entry was made; files may have been added."""
        try:
            made = json.loads(self._digests.read_bytes())
            return isinstance(made, dict) and made == {name: _digest(self.folder / name) for name in made}
        except (OSError, ValueError, RecursionError):
            return False

    def remove_unused(self) -> bool:
        """Removes the entry with its lock; False when it is in use."""
        try:
            lock = self._locked(fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        with lock:
            self._drop_temporary()
            if self.folder.is_dir():
                # Rename first, so that a crash does not leave half of a folder under its name.
                self.folder.rename(self._temporary)
                self._drop_temporary()
            self._digests.unlink(missing_ok=True)
            self._lock_file.unlink(missing_ok=True)
        return True

    def remove_leftovers(self) -> None:
        """Removes what a crash left of a half-made entry; does nothing while a process is making it."""
        if not self.folder.is_dir():
            self.remove_unused()
            return
        if self._temporary.is_dir():
            try:
                with self._locked(fcntl.LOCK_EX | fcntl.LOCK_NB):
                    self._drop_temporary()
            except BlockingIOError:
                return

    def size(self) -> int:
        """Total size of the entry's files, in bytes."""
        try:
            return sum(path.lstat().st_size for path in self.folder.rglob("*"))
        except FileNotFoundError:  # another process is removing files
            return 0

    def last_use(self) -> float:
        """Time of the last use, in seconds since the epoch."""
        try:
            return self._lock_file.stat().st_mtime
        except FileNotFoundError:  # another process removed the file
            return 0.0

    def _make(self, make: Callable[[Path], Path]) -> None:
        self._drop_temporary()
        self._temporary.mkdir()
        try:
            finished = make(self._temporary)
            files = (path for path in finished.rglob("*") if path.is_file() and not path.is_symlink())
            digests = {path.relative_to(finished).as_posix(): _digest(path) for path in files}
            self._digests.write_text(json.dumps(digests))
            _flush(self._digests)
            for path in (*finished.rglob("*"), finished):
                _flush(path)
            finished.rename(self.folder)
            _flush(self.folder.parent)
        finally:
            self._drop_temporary()

    def _drop_temporary(self) -> None:
        shutil.rmtree(self._temporary, ignore_errors=True)

    def _locked(self, kind: int) -> BinaryIO:
        """Locks the file. Raises BlockingIOError, with LOCK_NB, if another process holds the lock."""
        while True:
            lock = self._lock_file.open("ab")
            try:
                fcntl.flock(lock, kind)
                if os.path.samestat(os.fstat(lock.fileno()), self._lock_file.stat()):
                    return lock
            except FileNotFoundError:
                pass
            except BaseException:
                lock.close()
                raise
            # Another process removed the file while this one waited for it.
            lock.close()


def entries(cache: Path) -> list[Entry]:
    """Returns all entries in the folders of `cache`, including unfinished ones."""
    return [Entry(place=lock.parent, key=lock.name.removesuffix(".lock")) for lock in sorted(cache.glob("*/*.lock"))]


def _digest(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _flush(path: Path) -> None:
    # A power cut must not leave empty files in a finished entry: they would be trusted from then on.
    if path.is_symlink() or not (path.is_file() or path.is_dir()):
        return
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        with suppress(OSError) if path.is_dir() else nullcontext():  # Some file systems cannot sync folders.
            os.fsync(descriptor)
    finally:
        os.close(descriptor)
