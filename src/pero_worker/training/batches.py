"""Lines in batches as pero-ocr builds them, a network's loss on a batch, and its error rate."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from rapidfuzz.distance import Levenshtein
from torch import Tensor, nn

from pero_worker.training.alphabet import Alphabet
from pero_worker.training.network import input_of

Pixels = NDArray[np.uint8]
Line = tuple[Pixels, str]
"""A crop (height, width, 3) and its text."""
Batch = tuple[Tensor, Tensor, Tensor]
"""uint8 pixels (n, height, w, 3), the classes of all texts in sequence, and the length of each text."""
PAD = 32
"""Columns of black that pero-ocr adds on both sides of a line."""


def padded(crops: Sequence[Pixels]) -> Pixels:
    """Returns crops as the batch (n, height, width, 3) that pero-ocr builds: with a black border, the width a multiple
    of 32."""
    width = math.ceil(max(crop.shape[1] for crop in crops) / 32) * 32
    batch = np.zeros((len(crops), crops[0].shape[0], width + 2 * PAD, 3), np.uint8)
    for row, crop in zip(batch, crops, strict=True):
        row[:, PAD : PAD + crop.shape[1]] = crop
    return batch


def packed(lines: Iterable[Line], columns: int) -> Iterator[list[Line]]:
    """Yields batches of lines of similar width, each of about `columns` columns of pixels."""
    batch: list[Line] = []
    for line in sorted(lines, key=lambda line: line[0].shape[1]):
        if batch and (line[0].shape[1] + 3 * PAD) * (len(batch) + 1) > columns:
            yield batch
            batch = []
        batch.append(line)
    if batch:
        yield batch


def batch_of(lines: Sequence[Line], alphabet: Alphabet) -> Batch:
    texts = [alphabet.classes(text) for _, text in lines]
    classes = torch.tensor(list(chain.from_iterable(texts)), dtype=torch.long)
    pixels = torch.from_numpy(padded([crop for crop, _ in lines]))
    return pixels, classes, torch.tensor([len(text) for text in texts])


class Loss:
    """The CTC loss of a batch, and its number of lines.

    With a `teacher`, a trained net, the loss includes the distance between the net's frames and the teacher's: a small
    net learns much sooner from these than from texts alone.
    """

    def __init__(self, alphabet: Alphabet, teacher: nn.Module | None = None) -> None:
        self.alphabet, self.teacher = alphabet, teacher

    def __call__(self, net: Any, batch: Batch) -> tuple[Tensor, int]:
        pixels, classes, lengths = batch
        device = next(net.parameters()).device
        x = input_of(pixels.to(device, non_blocking=True))
        chances = _chances(net, x)
        frames = torch.full((len(pixels),), chances.shape[2], dtype=torch.long)
        by_frame = chances.permute(2, 0, 1)
        blank = self.alphabet.blank
        loss = nn.functional.ctc_loss(by_frame, classes.to(device), frames, lengths, blank, zero_infinity=True)
        if self.teacher is not None:
            with torch.no_grad():
                taught = _chances(self.teacher, x)
            apart = nn.functional.kl_div(chances, taught, reduction="sum", log_target=True)
            loss = loss + apart / lengths.sum().clamp(min=1)  # per character, as CTC's
        return loss, len(pixels)


def _chances(net: Any, x: Tensor) -> Tensor:
    with torch.autocast(x.device.type, torch.bfloat16):
        logits = net(x)
    return logits.float().log_softmax(1)


def texts_of(logits: Tensor, alphabet: Alphabet) -> list[str]:
    """Returns the greedy reading of logits (n, classes, frames)."""
    return [alphabet.text(frames) for frames in logits.argmax(1).cpu().numpy()]


@torch.inference_mode()
def error_rate(net: Any, lines: Sequence[Line], alphabet: Alphabet, columns: int = 12_000) -> float:
    """Returns the edit distance divided by the length of the truth, over all lines."""
    device = next(net.parameters()).device
    errors = 0
    for some in packed(lines, columns):
        pixels = input_of(torch.from_numpy(padded([crop for crop, _ in some])).to(device))
        read = texts_of(net(pixels), alphabet)
        errors += sum(Levenshtein.distance(text, own) for (_, text), own in zip(some, read, strict=True))
    return errors / max(1, sum(len(text) for _, text in lines))
