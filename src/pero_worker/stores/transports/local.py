"""file:// URLs: a folder that every machine mounts, or this machine's own."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import Self

from pero_worker.stores.location import Location, StoreAccess
from pero_worker.stores.transports import ProgressListener, away, forbidden, missing, parents, unfinished

_BLOCK = 1 << 20


class Local:
    """`transports.Transport`."""

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
            with suppress(OSError):  # the first that is not empty
                for folder in parents(self._location.path):
                    Path(folder).rmdir()

    @contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except (FileNotFoundError, IsADirectoryError, NotADirectoryError) as error:
            raise missing(self._location) from error
        except PermissionError as error:
            raise forbidden(self._location) from error
        except OSError as error:
            raise away(self._location, error) from error
