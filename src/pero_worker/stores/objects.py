"""Contents under keys in one folder of a store, over connections that are kept.

The folder holds a mark. Where the mark is missing, the store counts as away, whatever else answers: an empty folder
where a disk should be mounted must not pass for a store that has lost everything.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from typing import TypeVar
from uuid import uuid4

from pero_worker.errors import NoFileError, PeroWorkerError, StageError, StoreAwayError, TransientError
from pero_worker.stores.location import StoreAccess, locate, without_login
from pero_worker.stores.protocols import PROTOCOLS
from pero_worker.stores.transports import FolderEntry, Transport, connect
from pero_worker.wire.references import HOUR, NAME

T = TypeVar("T")
_MARK = "pero-payloads"
_MARK_TEXT = b"A payload store of pero-worker.\n"
_MAX_IDLE = 4
"""Most connections that are kept while nobody uses them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredObject:
    """An object in the store."""

    key: str
    """Its folder, and its name in that folder."""
    size: int
    """Size in bytes."""
    modified: datetime | None
    """When it was modified, by the store's clock; None if the store does not say."""


class ObjectStore:
    """Stores contents under keys; threads may share it.

    Raises `StoreAwayError` if the store is away or refuses for now, which is not the fault of anything in it.
    """

    def __init__(self, url: str, access: StoreAccess) -> None:
        """Raises `StageError` if there is no such address or protocol."""
        self.url = url.rstrip("/")
        self._access = access
        self._root = locate("", f"{self.url}/", access)
        self._keeps = PROTOCOLS[self._root.protocol].remote
        self._idle: list[Transport] = []
        self._lock = threading.Lock()

    def __str__(self) -> str:
        return without_login(self.url)

    def prepare(self) -> None:
        """Makes the mark if there is none. Raises `StageError` if the store does not allow it."""
        try:
            self.check()
        except TransientError:
            with connect(self._root, self._access) as transport:
                marked = transport.at(self._path(_MARK))
                with suppress(NoFileError):
                    if marked.read(len(_MARK_TEXT)) == _MARK_TEXT:
                        return
                marked.write(_MARK_TEXT)
                if marked.read(len(_MARK_TEXT)) != _MARK_TEXT:
                    raise StageError(f"{self}: what was written cannot be read again") from None

    def check(self) -> None:
        """Raises `StoreAwayError` if the store is away."""
        with self._connected() as transport:
            self._see_mark(transport)

    def put(self, key: str, content: bytes) -> None:
        self._carried_out(lambda transport: transport.at(self._path(key)).write(content))

    def get(self, key: str, size: int) -> bytes:
        """Returns an object of `size` bytes; of a longer one, at most one byte more.

        Raises `NoFileError` if there is none.
        """
        return self._carried_out(lambda transport: transport.at(self._path(key)).read(size + 1))

    def remove(self, key: str) -> None:
        """Removes an object; a missing one is not an error."""
        self._carried_out(lambda transport: transport.at(self._path(key)).delete())

    def remove_folder(self, folder: str) -> None:
        """Removes a folder if it is empty."""
        self._carried_out(lambda transport: transport.at(self._path(folder)).delete_folder())

    def folders(self) -> list[str]:
        """Returns the folders that hold objects, the oldest first, judging by their names."""
        found = self._entries("")
        return sorted(entry.name for entry in found if entry.is_folder and HOUR.fullmatch(entry.name))

    def objects(self, folder: str) -> list[StoredObject]:
        """Returns the objects in a folder; what others put there is ignored."""
        return [
            StoredObject(key=f"{folder}/{entry.name}", size=entry.size, modified=entry.modified)
            for entry in self._entries(folder)
            if not entry.is_folder and NAME.fullmatch(entry.name)
        ]

    def now(self) -> datetime | None:
        """Returns the time by the store's own clock; None if the store does not say."""
        name = f"clock-{uuid4().hex}"
        self.put(name, b"?")
        try:
            return next((entry.modified for entry in self._entries("") if entry.name == name), None)
        finally:
            self.remove(name)

    def close(self) -> None:
        with self._lock:
            idle, self._idle = self._idle, []
        for transport in idle:
            _leave(transport)

    def _entries(self, folder: str) -> list[FolderEntry]:
        return self._carried_out(lambda transport: transport.at(self._path(folder)).entries())

    def _path(self, key: str) -> str:
        return f"{self._root.path.rstrip('/')}/{key}" if key else self._root.path.rstrip("/") or "/"

    def _carried_out(self, work: Callable[[Transport], T]) -> T:
        """Does the work, and once more if a kept connection turns out to be gone."""
        with self._lock:
            kept = bool(self._idle)
        if kept:
            with suppress(TransientError), self._connected() as transport:
                return work(transport)
            self.close()
        with self._connected() as transport:
            return work(transport)

    @contextmanager
    def _connected(self) -> Iterator[Transport]:
        with self._lock:
            transport = self._idle.pop() if self._idle else None
        try:
            if transport is None:
                transport = connect(self._root, self._access).__enter__()
                self._see_mark(transport)
            yield transport
        except NoFileError:
            self._done_with(transport, keep=False)
            raise
        except (StageError, TransientError) as error:
            self._done_with(transport, keep=False)
            raise StoreAwayError(f"the payload store cannot be used: {error}") from error
        except BaseException:
            self._done_with(transport, keep=False)
            raise
        self._done_with(transport, keep=self._keeps)

    def _done_with(self, transport: Transport | None, *, keep: bool) -> None:
        if transport is None:
            return
        with self._lock:
            if keep and len(self._idle) < _MAX_IDLE:
                self._idle.append(transport)
                return
        _leave(transport)

    def _see_mark(self, transport: Transport) -> None:
        try:
            found = transport.at(self._path(_MARK)).read(len(_MARK_TEXT))
        except NoFileError:
            found = b""
        if found != _MARK_TEXT:
            raise TransientError(
                f"{self} lacks the file {_MARK} of a payload store: mount its disk, or prepare it with "
                "pero-worker payloads set"
            )


def _leave(transport: Transport) -> None:
    with suppress(PeroWorkerError, OSError):
        transport.__exit__(None, None, None)
