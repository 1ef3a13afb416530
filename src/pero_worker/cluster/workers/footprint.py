"""How much memory models may use on a device, and how much this process uses now."""

from __future__ import annotations

import ctypes
import os
import sys
from pathlib import Path
from typing import Any

from pero_worker.errors import StageError

_MODEL_SHARE = 0.7
"""Share of a device's memory for models; the rest is for pages."""


_KEPT_BLOCK_BYTES = 64 << 20
"""Blocks up to this size are reused, which includes messages that contain a page's image."""
_KEPT_FREE_BYTES = 256 << 20
"""How much freed memory stays with the process."""
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3
"""As malloc.h numbers them."""


def keep_freed_memory() -> None:
    """Has glibc keep freed memory: returning each message's memory to the system and requesting it again takes longer
    than decoding the message. Other C libraries are left alone."""
    try:
        adjust = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):
        return
    adjust(_M_MMAP_THRESHOLD, _KEPT_BLOCK_BYTES)
    adjust(_M_TRIM_THRESHOLD, _KEPT_FREE_BYTES)


def kind_of(device: str) -> str:
    """Returns the kind of device, such as cpu or cuda; workers of one kind take about the same time for a page."""
    return device.partition(":")[0]


def check_device(device: str) -> None:
    """Raises `StageError` if this machine has no such device, or nothing that could use it."""
    if kind_of(device) == "cpu":
        return
    try:
        import torch  # noqa: PLC0415 - takes seconds, and only GPUs ask for it
    except ImportError as error:
        raise StageError(f"there is no PyTorch to use {device} with: pip install 'pero-worker[pero]'") from error
    if not torch.cuda.is_available():
        raise StageError(
            f"there is no CUDA on this machine for --device {device}: use --device cpu, or a PyTorch for it"
        )
    number = torch.device(device).index or 0
    if number >= torch.cuda.device_count():
        raise StageError(f"there is no {device}: this machine has {torch.cuda.device_count()} GPUs")


def memory_in_use(device: str) -> int:
    """Returns how much of the device's memory this process uses, in bytes."""
    if kind_of(device) == "cpu":
        pages = int(Path("/proc/self/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE")
    torch: Any = sys.modules.get("torch")
    return int(torch.cuda.memory_reserved(device)) if torch is not None else 0


def memory_for_models(device: str, workers: int) -> int | None:
    """Returns how many bytes the models of each of `workers` on the device may use; None = unknown."""
    if kind_of(device) == "cpu":
        total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    else:
        try:
            import torch  # noqa: PLC0415 - takes seconds, and only GPUs ask for it
        except ImportError:
            return None
        total = int(torch.cuda.mem_get_info(device)[1])
    return int(total * _MODEL_SHARE) // max(workers, 1)
