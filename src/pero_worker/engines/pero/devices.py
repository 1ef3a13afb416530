"""What a device takes, and what torch says when it takes no more or is gone."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch

from pero_worker.engines.pero.batches import OutOfMemory
from pero_worker.errors import DeviceError

PIXELS_ON_CPU = 3840
"""Of the widths of a batch's lines: more is no faster there (docs/benchmarks.md)."""
STEP_ON_GPU = 128
"""Pixels between two widths of batches: lines of several pages then come together in 30 shapes or so."""
MAX_PIXELS = 245_760
"""On any device: 512 lines of 480 pixels."""
_BYTES_A_PIXEL = 80_000
"""Of a device, for each pixel of a line's width while a network is at it; what turns out to need more is halved."""
_SHARE = 0.25
"""Of the memory that is free when a stage is loaded: others share the device."""
PAGES_ON_GPU = 4
"""In hand at a time: while one is on the device, others are cropped, put into words, written."""

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
    """How many pixels the widths of a batch's lines may be together on `device`, to begin with."""
    if device.type != "cuda":
        return PIXELS_ON_CPU
    free, _ = torch.cuda.mem_get_info(device)
    return pixels_in(free)


def pixels_in(memory: int) -> int:
    """The same for a device with so many bytes free."""
    return max(PIXELS_ON_CPU, min(MAX_PIXELS, int(memory * _SHARE) // _BYTES_A_PIXEL))


def width_step(device: Any) -> int:
    """Pixels between two widths of batches."""
    return STEP_ON_GPU if device.type == "cuda" else 32


def pages_at_once(device: Any) -> int:
    """Pages that keep `device` busy."""
    return PAGES_ON_GPU if device.type == "cuda" else 1


@contextmanager
def device_errors() -> Iterator[None]:
    """What torch raises, as what it means: OutOfMemory, or DeviceError when the device is of no use to this process any
    more. The rest passes as it is."""
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
