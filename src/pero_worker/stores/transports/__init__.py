"""How files are transferred, with one module per family of protocols; `connect` picks it."""

from __future__ import annotations

import errno
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path, PurePosixPath
from pkgutil import resolve_name
from types import TracebackType
from typing import Protocol, Self
from uuid import uuid4

from pero_worker.errors import NoFileError, StageError, TransientError
from pero_worker.stores.location import Location, StoreAccess
from pero_worker.stores.protocols import PROTOCOLS

ProgressListener = Callable[[int], object]
"""Called with the number of bytes so far, or with the size when the server names it; raises to end the transfer."""

_LOCAL_TROUBLE = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EFBIG})


@dataclass(frozen=True, slots=True, kw_only=True)
class FolderEntry:
    """An entry in a folder of a store."""

    name: str
    """Its name in the folder."""
    is_folder: bool
    """Whether it is a folder itself."""
    size: int = 0
    """Size of a file, in bytes."""
    modified: datetime | None = None
    """When it was modified, by the store's clock; None if the store does not say."""


class Transport(Protocol):
    """A connection for the file at one location.

    Once it has been entered, `at` makes others over the same connection; those end with it.
    """

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...

    def download(self, target: Path, on_progress: ProgressListener) -> None: ...

    def upload(self, source: Path, on_progress: ProgressListener) -> None:
        """Replaces the file at once where the protocol can; parent folders are created."""

    def remove(self) -> None:
        """Removes the file, and the parent folders that are then empty."""

    def at(self, path: str) -> Self:
        """Returns a transport for another file or folder on the same server."""

    def read(self, max_bytes: int) -> bytes:
        """Returns the file; of a longer one, at most `max_bytes`. Never reads it from elsewhere, even if sent there."""

    def write(self, content: bytes) -> None:
        """Creates the file, under a name that nobody uses: until this returns, it may exist in part. Parent folders are
        created."""

    def delete(self) -> None:
        """Removes the file and nothing else; a missing one is not an error."""

    def delete_folder(self) -> None:
        """Removes the folder if it is empty; otherwise does nothing."""

    def entries(self) -> list[FolderEntry]:
        """Returns what is in the folder; nothing if it does not exist."""


def connect(location: Location, access: StoreAccess) -> AbstractContextManager[Transport]:
    """Opens a transport. Raises `StageError` if the login or an identity is refused or a package is missing, and
    `TransientError` if the server is away."""
    # A worker that fetches over SFTP need not load aiohttp and botocore, or even have them installed.
    try:
        transport: Callable[..., AbstractContextManager[Transport]] = resolve_name(
            f"{__name__}.{PROTOCOLS[location.protocol].transport}"
        )
        return transport(location, access)
    except ModuleNotFoundError as error:
        raise StageError(f"{location}: install the package {error.name} to use {location.protocol}://") from error


def away(location: Location, error: BaseException) -> TransientError:
    """Returns the error to raise: `error` came from the network, unless only the local disk raises its kind."""
    text = " ".join(str(error).split()) or type(error).__name__
    if isinstance(error, OSError) and error.errno in _LOCAL_TROUBLE:
        return TransientError(f"{location} cannot be stored here: {error.strerror}")
    return TransientError(f"the store of {location} is away: {text}")


def missing(location: Location) -> NoFileError:
    return NoFileError(f"{location} does not exist: upload the archive, or correct the stage's path")


def forbidden(location: Location) -> StageError:
    return StageError(f"{location} may not be used by this login: correct the file's permissions, or the login")


def login_refused(location: Location) -> StageError:
    return StageError(f"{location}: the server refuses the login: check user and password of the model store")


def certificate_refused(location: Location, reason: str) -> StageError:
    return StageError(f"{location}: the server's certificate is not trusted ({reason}): name its CA certificate")


def parents(path: str) -> Iterator[str]:
    """Yields the folders above a file, nearest first, without the root and the folder that a login starts in."""
    for parent in PurePosixPath(path).parents:
        if str(parent) not in {"/", "."}:
            yield str(parent)


def moved(location: Location, path: str) -> Location:
    """Returns the location of another file on the same server."""
    return replace(location, path=path)


def unfinished(path: str) -> str:
    """Returns a path for the file while it is being written, in its own folder."""
    place = PurePosixPath(path)
    return str(place.with_name(f".{place.name}.{uuid4().hex}.part"))
