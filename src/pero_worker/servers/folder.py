"""One folder as an SFTP client sees it: '/' is the folder, and no link leads out of it."""

from __future__ import annotations

import errno
import logging
import os
from collections.abc import Callable
from pathlib import Path, PurePosixPath
from typing import IO, TypeVar, cast

import paramiko
from paramiko import SFTPAttributes

T = TypeVar("T")
_log = logging.getLogger(__name__)


class Folder(paramiko.SFTPServerInterface):  # type: ignore[misc]
    """SFTP operations on the folder `root`; every method returns SFTP's status code instead of raising."""

    def __init__(self, server: paramiko.ServerInterface, root: Path) -> None:
        super().__init__(server)
        self._root = root.resolve()

    def list_folder(self, path: str) -> list[SFTPAttributes] | int:
        return _answer(lambda: [_attributes(entry, follow=False) for entry in self._target(path).iterdir()])

    def stat(self, path: str) -> SFTPAttributes | int:
        return _answer(lambda: _attributes(self._target(path), follow=True))

    def lstat(self, path: str) -> SFTPAttributes | int:
        if self.canonicalize(path) == "/":
            return self.stat(path)
        return _answer(lambda: _attributes(self._entry(path), follow=False))

    def open(self, path: str, flags: int, attr: SFTPAttributes) -> paramiko.SFTPHandle | int:
        return _answer(lambda: self._open(path, flags))

    def remove(self, path: str) -> int:
        return _done(lambda: self._entry(path).unlink())

    def rename(self, oldpath: str, newpath: str) -> int:
        return _done(lambda: self._rename(oldpath, newpath))

    def posix_rename(self, oldpath: str, newpath: str) -> int:
        return _done(lambda: self._entry(oldpath).replace(self._entry(newpath)))

    def mkdir(self, path: str, attr: SFTPAttributes) -> int:
        return _done(lambda: self._entry(path).mkdir())

    def rmdir(self, path: str) -> int:
        return _done(lambda: self._entry(path).rmdir())

    def _rename(self, old: str, new: str) -> None:
        source, target = self._entry(old), self._entry(new)
        if os.path.lexists(target):
            raise FileExistsError(errno.EEXIST, "exists", str(target))
        source.rename(target)

    def _open(self, path: str, flags: int) -> paramiko.SFTPHandle:
        target = self._target(path)
        # O_NOFOLLOW: the path was just resolved and does not end in a link, so a link there now is an attack.
        descriptor = os.open(target, flags | os.O_NOFOLLOW | os.O_NONBLOCK, 0o644)
        try:
            if flags & os.O_RDWR:
                mode = "r+b"
            elif flags & os.O_WRONLY:
                mode = "ab" if flags & os.O_APPEND else "wb"
            else:
                mode = "rb"
            file = cast("IO[bytes]", os.fdopen(descriptor, mode))
        except OSError:  # it is a folder
            os.close(descriptor)
            raise
        _log.info("%s %s", "reads" if mode == "rb" else "writes", path)
        return _File(file, flags)

    def _target(self, path: str) -> Path:
        """Returns where `path` finally leads. Raises PermissionError if that is outside the folder."""
        return self._inside(self._literal(path).resolve())

    def _entry(self, path: str) -> Path:
        """Returns the directory entry itself: a link at the end of the path is not followed."""
        literal = self._literal(path)
        return self._inside(literal.parent.resolve()) / literal.name

    def _literal(self, path: str) -> Path:
        return self._root.joinpath(*PurePosixPath(self.canonicalize(path)).parts[1:])

    def _inside(self, real: Path) -> Path:
        if real != self._root and self._root not in real.parents:
            raise PermissionError(errno.EACCES, "outside the served folder", str(real))
        return real


class _File(paramiko.SFTPHandle):  # type: ignore[misc]
    def __init__(self, file: IO[bytes], flags: int) -> None:
        super().__init__(flags)
        self.readfile = self.writefile = file

    def stat(self) -> SFTPAttributes | int:
        return _answer(lambda: SFTPAttributes.from_stat(os.fstat(self.readfile.fileno())))


def _attributes(path: Path, *, follow: bool) -> SFTPAttributes:
    attributes: SFTPAttributes = SFTPAttributes.from_stat(path.stat(follow_symlinks=follow))
    attributes.filename = path.name
    return attributes


def _answer(work: Callable[[], T]) -> T | int:
    try:
        return work()
    except (OSError, ValueError, RuntimeError) as error:  # a NUL in the name, or links in a circle
        number = getattr(error, "errno", None)
        return cast("int", paramiko.SFTPServer.convert_errno(number) if number else paramiko.SFTP_FAILURE)


def _done(work: Callable[[], object]) -> int:
    answer = _answer(work)
    return answer if isinstance(answer, int) else cast("int", paramiko.SFTP_OK)
