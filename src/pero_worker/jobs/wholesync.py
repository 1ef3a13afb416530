"""Syncs many files in one go: Linux writes a whole file system several times as fast as its files one by one."""

from __future__ import annotations

import ctypes
import os
import time
from collections.abc import Callable
from pathlib import Path

_KINDS = frozenset({"ext3", "ext4", "xfs", "btrfs"})
"""Kinds of file systems on disks of this machine. Others may accept the call and do nothing."""
_PATIENCE_SECONDS = 1.0
"""If it takes longer, someone else is writing a lot to the same disk, and every sync would wait for that."""
_MOUNTS = Path("/proc/self/mountinfo")
_OLDEST_KERNEL = (5, 8)
"""Earlier kernels report success even after a failure."""


class WholeSync:
    """Syncs the file system of an open folder, where that is worthwhile and reliable.

    The call fails if anything written after the folder was opened could not be stored.
    """

    def __init__(self, descriptor: int, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._descriptor = descriptor
        self._monotonic = monotonic
        self._call = _syncfs() if _kind_of(descriptor) in _KINDS else None

    def sync(self) -> bool:
        """Returns whether it was done; if not, the files must be synced one by one. Raises `OSError` if it failed."""
        if self._call is None:
            return False
        begun = self._monotonic()
        if self._call(self._descriptor):
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number))
        if self._monotonic() - begun > _PATIENCE_SECONDS:
            self._call = None
        return True


def _syncfs() -> Callable[[int], int] | None:
    release = tuple(int(part) for part in os.uname().release.split(".")[:2] if part.isdigit())
    if os.uname().sysname != "Linux" or release < _OLDEST_KERNEL:
        return None
    function = getattr(ctypes.CDLL(None, use_errno=True), "syncfs", None)
    return function


def _kind_of(descriptor: int) -> str:
    """Returns the kind of the folder's file system; '' if it is not known."""
    device = os.fstat(descriptor).st_dev
    number = f"{os.major(device)}:{os.minor(device)}"
    try:
        lines = _MOUNTS.read_text("utf-8", "replace").splitlines()
    except OSError:
        return ""
    for line in lines:
        mount, _, rest = line.partition(" - ")
        if mount.split()[2:3] == [number]:
            return rest.split(" ", 1)[0]
    return ""
