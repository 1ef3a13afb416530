"""How much a device can take, and what torch says when it is out of memory or gone."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch

from pero_worker.engines.pero.batches import OutOfMemory
from pero_worker.errors import DeviceError

PIXELS_ON_CPU = 3840
"""Total width of a batch's lines on a CPU, in pixels: more is no faster there (docs/benchmarks.md)."""
STEP_ON_GPU = 128
"""Pixels between two widths of batches: lines of several pages then share about 30 shapes."""
MAX_PIXELS = 245_760
"""Maximum total width of a batch's lines on any device, in pixels: 512 lines of 480 pixels."""
_BYTES_A_PIXEL = 80_000
"""Device memory per pixel of a line's width while a network reads it; batches that turn out to need more are halved."""
_SHARE = 0.25
"""Share of the memory that is free when a stage is loaded; the device is shared with others."""
PAGES_ON_GPU = 4
"""Pages in hand at a time: while one is on the device, others are cropped, split into words or written."""

_NO_MEMORY = ("out of memory", "status_alloc_failed", "can't allocate memory", "not enough memory")
_GONE = (
    "cuda error",
    "cudnn_status",
    "cublas_status",
    "cufft_status",
    "no cuda gpus",
    "device-side assert",
    "hip error",
)


def batch_pixels(device: Any) -> int:
    """Returns the initial limit on the total width of a batch's lines on `device`, in pixels."""
    if device.type != "cuda":
        return PIXELS_ON_CPU
    free, _ = torch.cuda.mem_get_info(device)
    return pixels_in(free)


def pixels_in(memory: int) -> int:
    """Returns the same for a device with `memory` bytes free."""
    return max(PIXELS_ON_CPU, min(MAX_PIXELS, int(memory * _SHARE) // _BYTES_A_PIXEL))


def width_step(device: Any) -> int:
    """Returns the pixels between two widths of batches."""
    return STEP_ON_GPU if device.type == "cuda" else 32


def pages_at_once(device: Any) -> int:
    """Returns how many pages at a time keep `device` busy."""
    return PAGES_ON_GPU if device.type == "cuda" else 1


@contextmanager
def device_errors() -> Iterator[None]:
    """Turns errors of torch into what they mean: `OutOfMemory`, or `DeviceError` when this process can no longer use
    the device. Other errors pass unchanged."""
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        text = str(error).lower()
        if isinstance(error, (MemoryError, torch.OutOfMemoryError)) or any(sign in text for sign in _NO_MEMORY):
            if torch.cuda.is_initialized():
                torch.cuda.empty_cache()
            raise OutOfMemory(_first_line(error)) from error
        if isinstance(error, torch.AcceleratorError) or any(sign in text for sign in _GONE):
            raise DeviceError(f"the GPU failed: {_first_line(error)}") from error
        raise


def _first_line(error: BaseException) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]
