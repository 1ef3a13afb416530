"""Names of files, whatever came over the wire."""

from __future__ import annotations

import hashlib
import re
from pathlib import PurePosixPath
from typing import Generic, TypeVar

from pero_worker.names import bounded_name, same_place

T = TypeVar("T")
_UNSAFE = re.compile(r"[\x00-\x1f\x7f/\\]")
_MAX_NAME_BYTES = 200
"""Bytes of a component: results append an ending."""
_MAX_PATH_BYTES = 1000
"""Bytes: what a system takes is 4096 with the folder the user named."""


class FileNames(Generic[T]):
    """What is filed under names that differ in more than case: a name that is taken gets a number."""

    def __init__(self) -> None:
        self.content: dict[str, T] = {}
        self._taken: set[str] = set()
        self._next: dict[str, int] = {}

    def add(self, name: str, content: T) -> str:
        """The name it got."""
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
    """One component of a path, whatever came over the wire."""
    cleaned = _UNSAFE.sub("_", name).encode("utf-8", "replace").decode()
    if cleaned.startswith("."):
        cleaned = "_" + cleaned[1:]
    return bounded_name(cleaned, _MAX_NAME_BYTES) or "_"


def safe_path(name: str) -> str:
    """A relative path, whatever came over the wire; of one that is too long the last component is left."""
    parts = [safe_name(part) for part in PurePosixPath(name).parts if part not in {"/", ".", ".."}]
    path = "/".join(parts) or "_"
    if len(path.encode()) <= _MAX_PATH_BYTES:
        return path
    mark = hashlib.sha256(path.encode()).hexdigest()[:12]
    return f"{bounded_name(parts[-1], _MAX_NAME_BYTES - len(mark) - 1)}-{mark}"
