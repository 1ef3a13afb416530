"""Safe file names, whatever the names in messages look like."""

from __future__ import annotations

import hashlib
import re
from pathlib import PurePosixPath
from typing import Generic, TypeVar

from pero_worker.names import bounded_name, same_place

T = TypeVar("T")
_UNSAFE = re.compile(r"[\x00-\x1f\x7f/\\]")
_MAX_NAME_BYTES = 200
"""Limit for a path component, in bytes; leaves room for the extensions of results."""
_MAX_PATH_BYTES = 1000
"""Limit in bytes; systems take 4096, including the folder that the user named."""


class FileNames(Generic[T]):
    """Contents by file name. A name that is taken, ignoring case, gets a number."""

    def __init__(self) -> None:
        self.content: dict[str, T] = {}
        self._taken: set[str] = set()
        self._next: dict[str, int] = {}

    def add(self, name: str, content: T) -> str:
        """Adds content and returns the name it was given."""
        stem, dot, extension = name.rpartition(".")
        candidate, number = name, self._next.get(same_place(name), 2)
        while same_place(candidate) in self._taken:
            candidate = f"{stem}_{number}{dot}{extension}" if stem else f"{name}_{number}"
            number += 1
        self._next[same_place(name)] = number
        self._taken.add(same_place(candidate))
        self.content[candidate] = content
        return candidate


def safe_name(name: str) -> str:
    """Returns a safe path component for any name."""
    cleaned = _UNSAFE.sub("_", name).encode("utf-8", "replace").decode()
    if cleaned.startswith("."):
        cleaned = "_" + cleaned[1:]
    return bounded_name(cleaned, _MAX_NAME_BYTES) or "_"


def safe_path(name: str) -> str:
    """Returns a safe relative path for any name; a path that is too long is reduced to its last component and a
    hash."""
    parts = [safe_name(part) for part in PurePosixPath(name).parts if part not in {"/", ".", ".."}]
    path = "/".join(parts) or "_"
    if len(path.encode()) <= _MAX_PATH_BYTES:
        return path
    mark = hashlib.sha256(path.encode()).hexdigest()[:12]
    return f"{bounded_name(parts[-1], _MAX_NAME_BYTES - len(mark) - 1)}-{mark}"
