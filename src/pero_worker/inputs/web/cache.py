"""Keeps downloads on disk by their address; the least recently used are removed first."""

from __future__ import annotations

import hashlib
import json
import os
import threading
import uuid
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO

from pero_worker.errors import OutputError

_ALWAYS_KEPT = 1000
"""How many of the last used files are always kept: pages in progress are among them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CacheEntry:
    """A download in the cache."""

    path: Path
    """The file with its content."""
    url: str
    """The address it finally came from."""
    etag: str = ""
    """Its `ETag`, to ask whether it has changed."""
    modified: str = ""
    """Its `Last-Modified`, to ask whether it has changed."""
    size: int = 0
    """Its size in bytes."""


class WebCache:
    """A folder of downloads of at most `max_bytes`, apart from the last thousand files."""

    def __init__(self, folder: Path, max_bytes: int) -> None:
        self._folder = folder
        self._max_bytes = max_bytes
        self._lock = threading.Lock()
        self._size: int | None = None

    def get(self, key: str) -> CacheEntry | None:
        """Returns what was stored under `key`; None if there is nothing, or it is damaged."""
        data, notes = self._paths(key)
        try:
            values = json.loads(notes.read_bytes())
            entry = CacheEntry(**{**values, "path": data})
            if data.stat().st_size != entry.size:
                return None
            os.utime(data)
        except (OSError, ValueError, TypeError):
            return None
        return entry

    def put(
        self, key: str, fill: Callable[[IO[bytes]], None], *, url: str, etag: str = "", modified: str = ""
    ) -> CacheEntry:
        """Stores what `fill` writes, whole or not at all. Raises `OutputError` if the disk is full."""
        data, notes = self._paths(key)
        unfinished = self._folder / f"{uuid.uuid4().hex}.part"
        try:
            data.parent.mkdir(parents=True, exist_ok=True)
            try:
                with unfinished.open("wb") as stream:
                    fill(stream)
                    size = stream.tell()
                entry = CacheEntry(path=data, url=url, etag=etag, modified=modified, size=size)
                unfinished.replace(data)
                written = unfinished.with_suffix(".note")
                written.write_text(json.dumps({k: v for k, v in asdict(entry).items() if k != "path"}))
                written.replace(notes)
            finally:
                unfinished.unlink(missing_ok=True)
        except OSError as error:
            raise OutputError(f"cannot write to the cache {self._folder}: {error.strerror or error}") from error
        self._make_room(size)
        return entry

    def _paths(self, key: str) -> tuple[Path, Path]:
        name = hashlib.sha256(key.encode("utf-8", "surrogatepass")).hexdigest()
        folder = self._folder / name[:2]
        return folder / f"{name}.data", folder / f"{name}.json"

    def _make_room(self, added: int) -> None:
        with self._lock:
            if self._size is None:
                self._size = sum(size for _, size, _ in self._files())
            else:
                self._size += added
            if self._size <= self._max_bytes:
                return
            files = sorted(self._files())[:-_ALWAYS_KEPT]
            for _, size, path in files:
                if self._size <= self._max_bytes * 0.9:
                    break
                with suppress(OSError):
                    path.unlink()
                    path.with_suffix(".json").unlink(missing_ok=True)
                    self._size -= size

    def _files(self) -> list[tuple[float, int, Path]]:
        found = []
        for path in self._folder.glob("*/*.data"):
            with suppress(OSError):
                status = path.stat()
                found.append((status.st_mtime, status.st_size, path))
        return found
