"""Fetches, uploads and removes one file in a model store, wherever the store is."""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Sequence
from pathlib import Path

from pero_worker.errors import PeroWorkerError, StageError, TransientError, UsageError, joined
from pero_worker.stores.location import Location, StoreAccess, greeted_protocol, is_url, locate
from pero_worker.stores.transports import ProgressListener, connect

__all__ = ["StoreAccess", "fetch", "remove", "upload"]

MAX_BYTES = 20_000_000_000


def fetch(
    servers: Sequence[str],
    path: str,
    target: Path,
    access: StoreAccess,
    *,
    digest: str = "",
    max_bytes: int = MAX_BYTES,
) -> None:
    """Fetches the file to `target`, which appears whole or not at all. The servers are tried in order.

    `path` may be a URL, which needs no servers. `digest` is the file's SHA-256 in hexadecimal ('' = any).
    Raises `TransientError` if no server had it and one was away, so that a later try may succeed, and `StageError` if
    none will have it.
    """
    if not servers and not is_url(path):
        raise TransientError(f"no model store has been named yet: {path} cannot be fetched, add a server")
    failures: list[PeroWorkerError] = []
    for server in [""] if is_url(path) else servers:
        try:
            _fetch_from(locate(server, path, access), target, access, digest.lower(), max_bytes)
        except TransientError as error:
            # Another kind of server may listen there when it comes back.
            greeted_protocol.cache_clear()
            failures.append(error)
        except StageError as error:
            failures.append(error)
        else:
            return
    raise joined(failures) from failures[-1]


def upload(
    server: str, path: str, source: Path, access: StoreAccess, on_progress: ProgressListener = lambda _size: None
) -> None:
    """Puts the file `source` at `path`, replacing what is there; other readers see the old or the new file.

    `on_progress` is called with the number of bytes sent so far.

    Raises `StageError` and `TransientError` as `fetch` does, and `UsageError` if `source` cannot be read.
    """
    if not source.is_file() or not os.access(source, os.R_OK):
        raise UsageError(f"cannot upload {source}: it is no file that can be read")
    with connect(locate(server, path, access), access) as transport:
        transport.upload(source, on_progress)


def remove(server: str, path: str, access: StoreAccess) -> None:
    """Removes the file, and the folders above it that are then empty.

    Raises `StageError` and `TransientError` as `fetch` does.
    """
    with connect(locate(server, path, access), access) as transport:
        transport.remove()


def _fetch_from(location: Location, target: Path, access: StoreAccess, digest: str, max_bytes: int) -> None:
    def on_progress(size: int) -> None:
        if size > max_bytes:
            raise StageError(f"{location} is refused: it is longer than {max_bytes} bytes")

    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        descriptor, name = tempfile.mkstemp(prefix=".fetch-", dir=target.parent)
        os.close(descriptor)
    except OSError as error:
        raise TransientError(f"cannot write in {target.parent}: {error.strerror}") from error
    temporary = Path(name)
    try:
        with connect(location, access) as transport:
            transport.download(temporary, on_progress)
        if digest:
            _check(temporary, digest, location)
        try:
            temporary.replace(target)
        except OSError as error:
            raise TransientError(f"cannot write {target}: {error.strerror}") from error
    finally:
        temporary.unlink(missing_ok=True)


def _check(file: Path, digest: str, location: Location) -> None:
    with file.open("rb") as stream:
        found = hashlib.file_digest(stream, "sha256").hexdigest()
    if found != digest:
        raise StageError(f"{location} is refused: its SHA-256 is {found}, the stage expects {digest}: upload it again")
