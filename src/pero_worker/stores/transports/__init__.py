"""How files travel, one module a family of protocols; `connect` picks it."""

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
"""Told the bytes that came so far, or the size when the server names it; raises to end the transfer."""

_LOCAL_TROUBLE = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EFBIG})


@dataclass(frozen=True, slots=True, kw_only=True)
class FolderEntry:
    """What a folder of a store holds."""

    name: str
    """In the folder."""
    is_folder: bool
    """Whether it is one itself."""
    size: int = 0
    """Bytes of a file."""
    modified: datetime | None = None
    """By the store's clock; None: it does not say."""


class Transport(Protocol):
    """A connection for the file of one location.

    Of one that has been entered, `at` makes others over the same connection; those end with it.
    """

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...

    def download(self, target: Path, on_progress: ProgressListener) -> None: ...

    def upload(self, source: Path, on_progress: ProgressListener) -> None:
        """Replaces the file at once where the protocol can; parent folders are made."""

    def remove(self) -> None:
        """Removes the file, and the parent folders that are empty then."""

    def at(self, path: str) -> Self:
        """For another file, or folder, of the same server."""

    def read(self, max_bytes: int) -> bytes:
        """The file; of a longer one no more than `max_bytes`. Never from where the server says that it lies instead."""

    def write(self, content: bytes) -> None:
        """Makes the file, under a name that nobody uses: until this returns it may be there in part. Parent folders are
        made."""

    def delete(self) -> None:
        """Removes the file, and nothing else; one that is not there is no error."""

    def delete_folder(self) -> None:
        """Removes the folder when it is empty; else nothing happens."""

    def entries(self) -> list[FolderEntry]:
        """What lies in the folder; nothing when it is not there."""


def connect(location: Location, access: StoreAccess) -> AbstractContextManager[Transport]:
    """StageError: login or identity refused, or a package is missing; TransientError: the server is away."""
    # A worker that fetches by SFTP need not load aiohttp and botocore, nor have them.
    try:
        transport: Callable[..., AbstractContextManager[Transport]] = resolve_name(
            f"{__name__}.{PROTOCOLS[location.protocol].transport}"
        )
        return transport(location, access)
    except ModuleNotFoundError as error:
        raise StageError(f"{location}: install the package {error.name} to use {location.protocol}://") from error


def away(location: Location, error: BaseException) -> TransientError:
    """`error` came from the network, unless it is of the kind that only the local disk gives."""
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
    """The folders above a file, nearest first, without the root and the folder that a login begins in."""
    for parent in PurePosixPath(path).parents:
        if str(parent) not in {"/", "."}:
            yield str(parent)


def moved(location: Location, path: str) -> Location:
    """Another file of the same server."""
    return replace(location, path=path)


def unfinished(path: str) -> str:
    """A name for the file while it is being written, in its own folder."""
    place = PurePosixPath(path)
    return str(place.with_name(f".{place.name}.{uuid4().hex}.part"))
