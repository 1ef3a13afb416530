"""Runs a recogniser of pero-ocr on its device: batches of pixels in, text and logits of each line out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import groupby
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from pero_worker.engines.pero.batches import Batch
from pero_worker.engines.pero.devices import device_errors


class Recognition:
    """A `batches.Forward`; a result is a line's text and its logits, (frames, characters), the last one the blank."""

    def __init__(self, recogniser: Any) -> None:
        """`recogniser` is a PytorchEngineLineOCR, whose `process_lines` this replaces."""
        self._recogniser = recogniser

    def __call__(self, batch: Batch) -> Callable[[], Sequence[tuple[str, NDArray[np.float32]]]]:
        recogniser = self._recogniser
        on_gpu = recogniser.device.type == "cuda"
        with device_errors(), torch.inference_mode():
            pixels = torch.from_numpy(batch)
            if on_gpu:
                # Pinned memory can be copied while the device computes.
                pixels = pixels.pin_memory()
            # The same as in pero-ocr, to the bit.
            pixels = pixels.to(recogniser.device, non_blocking=True).float() / 255.0
            pixels = pixels.permute(0, 3, 1, 2)
            if recogniser.embed_id is None:
                logits = recogniser.model(pixels)
            else:
                ids = torch.full((len(batch),), recogniser.embed_id, dtype=torch.long, device=recogniser.device)
                logits = recogniser.model(pixels, ids)
            best, logits = logits.argmax(1), logits.permute(0, 2, 1)

        def results() -> Sequence[tuple[str, NDArray[np.float32]]]:
            with device_errors():
                frames, scores = best.cpu().numpy(), logits.cpu().numpy()
            return [(_spelt(line, recogniser.characters), own) for line, own in zip(frames, scores, strict=True)]

        return results


def _spelt(best: NDArray[np.int64], characters: Sequence[str]) -> str:
    """Returns the frames' likeliest characters: once where several frames in a row agree, and without blanks."""
    blank = len(characters) - 1
    return "".join(characters[label] for label, _ in groupby(best.tolist()) if label != blank)
