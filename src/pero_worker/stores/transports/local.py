"""file:// URLs: a folder that every machine mounts, or this machine's own."""

from __future__ import annotations

import errno
import os
import shutil
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import IO, Self

from pero_worker.stores.location import Location, StoreAccess
from pero_worker.stores.transports import (
    FolderEntry,
    ProgressListener,
    away,
    forbidden,
    missing,
    moved,
    parents,
    unfinished,
)

_BLOCK = 1 << 20


def _opened(path: Path, flags: int) -> IO[bytes]:
    """Opens a file without following a link at its end or waiting for a pipe."""
    descriptor = os.open(path, flags | os.O_NOFOLLOW | os.O_NONBLOCK, 0o644)
    return os.fdopen(descriptor, "wb" if flags & os.O_WRONLY else "rb")


class Local:
    """A `transports.Transport`."""

    def __init__(self, location: Location, _access: StoreAccess) -> None:
        self._location = location
        self._path = Path(location.path)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        return

    def download(self, target: Path, on_progress: ProgressListener) -> None:
        with self._explained(), self._path.open("rb") as source, target.open("wb") as file:
            on_progress(os.fstat(source.fileno()).st_size)
            while block := source.read(_BLOCK):
                file.write(block)
                on_progress(file.tell())

    def upload(self, source: Path, on_progress: ProgressListener) -> None:
        with self._explained():
            self._path.parent.mkdir(parents=True, exist_ok=True)
            temporary = Path(unfinished(self._location.path))
            try:
                shutil.copyfile(source, temporary)
                on_progress(temporary.stat().st_size)
                temporary.replace(self._path)
            finally:
                temporary.unlink(missing_ok=True)

    def remove(self) -> None:
        with self._explained():
            self._path.unlink()
            with suppress(OSError):  # stops at the first that is not empty
                for folder in parents(self._location.path):
                    Path(folder).rmdir()

    def at(self, path: str) -> Local:
        return Local(moved(self._location, path), StoreAccess())

    def read(self, max_bytes: int) -> bytes:
        with self._explained(), _opened(self._path, os.O_RDONLY) as file:
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                raise missing(self._location)
            return file.read(max_bytes)

    def write(self, content: bytes) -> None:
        with self._explained():
            self._path.parent.mkdir(parents=True, exist_ok=True)
            with _opened(self._path, os.O_WRONLY | os.O_CREAT | os.O_EXCL) as file:
                file.write(content)
                file.flush()
                # Whoever is told where it is may rely on it, even after a power cut.
                os.fsync(file.fileno())

    def delete(self) -> None:
        with self._explained():
            self._path.unlink(missing_ok=True)

    def delete_folder(self) -> None:
        with suppress(OSError):
            self._path.rmdir()

    def entries(self) -> list[FolderEntry]:
        found = []
        with self._explained(), suppress(FileNotFoundError), os.scandir(self._path) as entries:
            for entry in entries:
                with suppress(FileNotFoundError):
                    about = entry.stat(follow_symlinks=False)
                    found.append(
                        FolderEntry(
                            name=entry.name,
                            is_folder=stat.S_ISDIR(about.st_mode),
                            size=about.st_size,
                            modified=datetime.fromtimestamp(about.st_mtime, UTC),
                        )
                    )
        return found

    @contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except (FileNotFoundError, IsADirectoryError, NotADirectoryError) as error:
            raise missing(self._location) from error
        except PermissionError as error:
            raise forbidden(self._location) from error
        except OSError as error:
            if error.errno == errno.ELOOP:
                raise missing(self._location) from error  # A link: whoever put it there had no right to.
            raise away(self._location, error) from error
