"""Files below one folder: no link leads out of it, and whatever was synced survives a power cut."""

from __future__ import annotations

import errno
import fcntl
import os
import stat
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

from pero_worker.jobs.wholesync import WholeSync

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_UNSUPPORTED = {errno.EINVAL, errno.ENOTSUP, errno.EBADF}
"""Errors from file systems that cannot sync a folder and need not."""
_WORTH_WHOLE = 32
"""Fewest files for which it is worth syncing the whole file system."""
_SYNCS_AT_ONCE = 16
"""Most syncs at a time: a file system handles simultaneous requests in one go."""


class ConfinedFolder:
    """A folder that is held open: whatever becomes of its name, what is done through it is done inside.

    Paths are given as parts. Raises `OSError` with ENOTDIR or ELOOP if one of them is a link or not a folder.
    """

    def __init__(self, path: Path) -> None:
        """Creates the folder if it does not exist. `path` itself may be a link: the user named it."""
        make_folders(path)
        self.path = path
        self._descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        self._whole = WholeSync(self._descriptor)

    def close(self) -> None:
        os.close(self._descriptor)

    @contextmanager
    def opened(self, parts: Sequence[str], *, create: bool = False) -> Iterator[int]:
        """Yields the descriptor of the folder below; `create`: makes it if missing, and syncs it into its parent."""
        descriptor = os.dup(self._descriptor)
        try:
            for part in parts:
                below = _open_folder(part, descriptor, create=create)
                os.close(descriptor)
                descriptor = below
            yield descriptor
        finally:
            os.close(descriptor)

    def create(self, parts: Sequence[str]) -> IO[bytes]:
        """Opens a new file for writing. Raises `FileExistsError` if the name is taken."""
        with self.opened(parts[:-1]) as folder:
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
            return os.fdopen(os.open(parts[-1], flags, 0o666, dir_fd=folder), "wb")

    def open_own(self, parts: Sequence[str], mode: str) -> IO[bytes]:
        """Opens a file to read and append to, never through a link; a missing one is created, durably."""
        flags = os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC | (os.O_APPEND if "a" in mode else 0)
        with self.opened(parts[:-1], create=True) as folder:
            try:
                descriptor = os.open(parts[-1], flags | os.O_CREAT | os.O_EXCL, 0o666, dir_fd=folder)
                sync_folder(folder)
            except FileExistsError:
                descriptor = os.open(parts[-1], flags, dir_fd=folder)
        return _ordinary(descriptor, mode)

    def open_to_read(self, parts: Sequence[str]) -> IO[bytes]:
        """Opens an ordinary file for reading."""
        if not parts or ".." in parts or "/" in parts:
            raise OSError(errno.EINVAL, "it is outside the folder")
        with self.opened(parts[:-1]) as folder:
            flags = os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC
            return _ordinary(os.open(parts[-1], flags, dir_fd=folder), "rb")

    def locked(self, parts: Sequence[str]) -> IO[bytes] | None:
        """Opens a file that is locked for as long as it is open; returns None if someone else holds it."""
        file = self.open_own(parts, "rb+")
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            with self.opened(parts[:-1]) as folder:
                there = os.stat(parts[-1], dir_fd=folder, follow_symlinks=False)
        except OSError as error:
            file.close()
            if error.errno not in {errno.EWOULDBLOCK, errno.EACCES, errno.ENOENT, errno.ENOTDIR}:
                raise
            return None
        if not os.path.samestat(there, os.fstat(file.fileno())):
            file.close()  # Its holder removed it, and it was created again.
            return None
        return file

    def move(self, source: Sequence[str], target: Sequence[str]) -> None:
        """Renames a file or folder; a file that has the new name is replaced."""
        with self.opened(source[:-1]) as before, self.opened(target[:-1]) as after:
            os.rename(source[-1], target[-1], src_dir_fd=before, dst_dir_fd=after)

    def is_folder(self, parts: Sequence[str]) -> bool:
        """Whether a folder has this name, so that no file can be put in its place; a link to one does not count.

        Raises `OSError` if a folder on the way cannot be used.
        """
        with self.opened(parts[:-1]) as folder:
            try:
                return stat.S_ISDIR(os.stat(parts[-1], dir_fd=folder, follow_symlinks=False).st_mode)
            except FileNotFoundError:
                return False

    def remove(self, parts: Sequence[str]) -> None:
        """Removes a file if it exists."""
        with suppress(FileNotFoundError), self.opened(parts[:-1]) as folder:
            os.unlink(parts[-1], dir_fd=folder)

    def remove_tree(self, parts: Sequence[str]) -> None:
        """Removes a folder and as much of its contents as possible; links are removed, not followed."""
        with suppress(OSError), self.opened(parts) as folder:
            for name in os.listdir(folder):  # noqa: PTH208 - Path knows no descriptors
                try:
                    os.unlink(name, dir_fd=folder)
                except OSError:
                    self.remove_tree((*parts, name))
            with self.opened(parts[:-1]) as parent:
                os.rmdir(parts[-1], dir_fd=parent)

    def remove_if_empty(self, parts: Sequence[str]) -> None:
        with suppress(OSError), self.opened(parts[:-1]) as folder:
            os.rmdir(parts[-1], dir_fd=folder)

    def sync_all(self, files: Iterable[Sequence[str]], folders: Iterable[Sequence[str]]) -> None:
        """Returns once the contents of `files` and the names in `folders` are on disk."""
        wanted = list(files)
        if len(wanted) < _WORTH_WHOLE or not self._whole.sync():
            self.sync_files(wanted)
            self.sync_folders(folders)

    def sync_files(self, files: Iterable[Sequence[str]]) -> None:
        """Returns once the contents of `files` are on disk."""
        _at_once(self._sync_file, list(files))

    def sync_folders(self, folders: Iterable[Sequence[str]]) -> None:
        """Returns once the names in `folders` are on disk."""
        _at_once(self._sync_folder, list(folders))

    def _sync_folder(self, parts: Sequence[str]) -> None:
        with self.opened(parts) as folder:
            sync_folder(folder)

    def _sync_file(self, parts: Sequence[str]) -> None:
        with self.opened(parts[:-1]) as folder:
            descriptor = os.open(parts[-1], os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=folder)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _at_once(sync: Callable[[Sequence[str]], None], wanted: Sequence[Sequence[str]]) -> None:
    if len(wanted) == 1:
        sync(wanted[0])
    elif wanted:
        with ThreadPoolExecutor(min(_SYNCS_AT_ONCE, len(wanted)), "sync") as pool:
            list(pool.map(sync, wanted))


def make_folders(path: Path) -> None:
    """Creates the folder and any missing ones above it; each survives a power cut."""
    missing = []
    while not path.is_dir():
        missing.append(path)
        if path == path.parent:
            break
        path = path.parent
    for folder in reversed(missing):
        folder.mkdir(exist_ok=True)
        sync_folder_at(folder.parent)


def sync_folder_at(path: Path) -> None:
    """Does the same as `sync_folder`, for a path."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        sync_folder(descriptor)
    finally:
        os.close(descriptor)


def sync_folder(descriptor: int) -> None:
    """Returns once the names in the open folder are on disk."""
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in _UNSUPPORTED:
            raise


def _ordinary(descriptor: int, mode: str) -> IO[bytes]:
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise OSError(errno.EINVAL, "it is no ordinary file")
    return os.fdopen(descriptor, mode)


def _open_folder(name: str, parent: int, *, create: bool) -> int:
    if create:
        try:
            os.mkdir(name, dir_fd=parent)
        except FileExistsError:
            pass
        else:
            sync_folder(parent)
    return os.open(name, _FOLDER, dir_fd=parent)
