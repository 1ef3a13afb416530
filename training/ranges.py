"""How great the outputs of a recogniser's convolutions are on real lines: `int8_ranges` for its ocr.json."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch

from pero_worker.training.batches import padded
from pero_worker.training.network import input_of
from training.real import RealLines, find

_LINES = 7
"""Of each source and class."""
_NEARLY_ALL = 0.9999
"""Of a line's outputs: what a few pixels give would cost all others a bit, and is cut off."""
_EACH = 11
"""One of so many outputs is looked at."""


@torch.inference_mode()
def ranges(net: Any, height: int, folder: Path) -> list[float]:
    """The first convolution's first, over lines of the split `train`."""
    reader = RealLines(folder, height, 0)
    greatest: list[float] = []
    for crops in find(folder, "train").values():
        for crop in crops[:: max(1, len(crops) // _LINES)]:
            pixels = input_of(torch.from_numpy(padded([reader.read(crop)])))
            found = [float(np.quantile(out.numpy().ravel()[::_EACH], _NEARLY_ALL)) for out in _outputs(net, pixels)]
            greatest = [max(pair) for pair in zip(greatest, found, strict=True)] if greatest else found
    return [round(value, 1) for value in greatest]


def _outputs(net: Any, pixels: Any) -> Iterator[Any]:
    """What each convolution of a `nets.Recogniser` gives, cut off below zero."""
    passed = (pixels.mean(1, keepdim=True) - 0.5) * 2.0
    for layer in net.conv.children():
        passed = layer(passed)
        if getattr(layer, "original_name", type(layer).__name__) != "MaxPool2d":
            yield passed
