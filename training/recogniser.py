"""Training of the line recogniser on drawn lines."""

from __future__ import annotations

import random
from collections.abc import Iterator
from itertools import chain
from pathlib import Path

import numpy as np
import torch
from rapidfuzz.distance import Levenshtein
from torch import Tensor, nn
from torch.utils.data import DataLoader, IterableDataset, get_worker_info

from training.alphabet import BLANK, CHARACTERS, INDEX
from training.fonts import BLACKLETTER, ROMAN, TYPEWRITER, surely
from training.lines import LineMaker, padded
from training.nets import LINE_HEIGHT, Recogniser, input_of
from training.sources import FIGURES, Sources

Batch = tuple[Tensor, Tensor, Tensor]
"""uint8 pixels (n, LINE_HEIGHT, w, 3), the classes of all texts in a row, and the length of each text."""
Line = tuple[np.ndarray, str]
_BLANK = 0.06
"""Share of crops without text, whose reading is the empty line."""
_POOL = 6
"""Lines are drawn for so many batches at once and sorted by width, so that little of a batch is padding."""


class LineBatches(IterableDataset[Batch]):
    """Batches of about `columns` columns of pixels, without end; each loader process draws others."""

    def __init__(self, data: Path, seed: int, columns: int, longest: int, figures: float) -> None:
        self.data, self.seed, self.columns, self.longest, self.figures = data, seed, columns, longest, figures

    def from_start(self, number: int) -> LineBatches:
        """Others, for a training that goes on."""
        return LineBatches(self.data, self.seed + number, self.columns, self.longest, self.figures)

    def __iter__(self) -> Iterator[Batch]:
        worker = get_worker_info()
        seed = self.seed * 1000 + (worker.id if worker else 0)
        sources = Sources(self.data, seed, figures=self.figures)
        maker = LineMaker(sources, LINE_HEIGHT, seed, longest=self.longest, blank=_BLANK)
        shuffler = random.Random(seed)  # noqa: S311 - no secrets here
        while True:
            pool: list[Line] = []
            while sum(crop.shape[1] + 64 for crop, _ in pool) < self.columns * _POOL:
                pool.append(surely(maker))
            pool.sort(key=lambda line: line[0].shape[1])
            batches: list[list[Line]] = [[]]
            for line in pool:
                if batches[-1] and (line[0].shape[1] + 96) * (len(batches[-1]) + 1) > self.columns:
                    batches.append([])
                batches[-1].append(line)
            shuffler.shuffle(batches)
            yield from map(_batch, batches)


def _batch(lines: list[Line]) -> Batch:
    texts = [[INDEX[character] for character in text] for _, text in lines]
    pixels = torch.from_numpy(padded([crop for crop, _ in lines]))
    classes = torch.tensor(list(chain.from_iterable(texts)), dtype=torch.long)
    return pixels, classes, torch.tensor([len(text) for text in texts])


def batches(dataset: LineBatches, workers: int) -> Iterator[Batch]:
    return iter(DataLoader(dataset, batch_size=None, num_workers=workers, prefetch_factor=8 if workers else None))


class Loss:
    """The CTC loss of a batch, and its number of lines; with a `teacher`, a trained net, also how far the net's frames
    are from the teacher's, which a small net learns from much sooner than from texts alone."""

    def __init__(self, teacher: nn.Module | None = None) -> None:
        self.teacher = teacher

    def __call__(self, net: nn.Module, batch: Batch) -> tuple[Tensor, int]:
        pixels, classes, lengths = batch
        device = next(net.parameters()).device
        x = input_of(pixels.to(device, non_blocking=True))
        chances = _chances(net, x)
        frames = torch.full((len(pixels),), chances.shape[2], dtype=torch.long)
        by_frame = chances.permute(2, 0, 1)
        loss = nn.functional.ctc_loss(by_frame, classes.to(device), frames, lengths, BLANK, zero_infinity=True)
        if self.teacher is not None:
            with torch.no_grad():
                taught = _chances(self.teacher, x)
            apart = nn.functional.kl_div(chances, taught, reduction="sum", log_target=True)
            loss = loss + apart / lengths.sum().clamp(min=1)  # a character, as CTC's
        return loss, len(pixels)


def _chances(net: nn.Module, x: Tensor) -> Tensor:
    with torch.autocast(x.device.type, torch.bfloat16):
        logits = net(x)
    return logits.float().log_softmax(1)


def texts_of(logits: Tensor) -> list[str]:
    """The greedy reading of logits (n, classes, frames)."""
    texts = []
    for frames in logits.argmax(1).cpu().numpy():
        changes = frames[np.concatenate([[True], frames[1:] != frames[:-1]])]
        texts.append("".join(CHARACTERS[index] for index in changes if index != BLANK))
    return texts


@torch.inference_mode()
def error_rate(net: nn.Module, lines: list[Line], at_once: int = 16) -> float:
    """Edit distance over length of the truth, all lines together."""
    device = next(net.parameters()).device
    errors = 0
    ordered = sorted(lines, key=lambda line: line[0].shape[1])
    for start in range(0, len(ordered), at_once):
        some = ordered[start : start + at_once]
        pixels = input_of(torch.from_numpy(padded([crop for crop, _ in some])).to(device))
        read = texts_of(net(pixels))
        errors += sum(Levenshtein.distance(text, own) for (_, text), own in zip(some, read, strict=True))
    return errors / sum(len(text) for _, text in lines)


class Validation:
    """Lines of texts and families kept out of training, for each kind of face."""

    def __init__(self, data: Path, lines: int, figures: float = FIGURES) -> None:
        self.sets: dict[str, list[Line]] = {}
        for kind in (BLACKLETTER, TYPEWRITER, ROMAN):
            sources = Sources(data, 99, training=False, kinds={kind: 1.0}, figures=figures)
            if not sources.kinds:
                continue
            maker = LineMaker(sources, LINE_HEIGHT, 99, shortest=5, longest=60)
            self.sets[kind] = [surely(maker) for _ in range(lines)]

    def __call__(self, net: nn.Module) -> dict[str, float]:
        """The CER of each set."""
        return {kind: error_rate(net, lines) for kind, lines in self.sets.items()}


def tune(net: Recogniser) -> None:
    """Keeps what trained weights have learnt about pixels: the statistics of batches, and the first two convolutions,
    which are a fifth of the work of a step."""
    net.conv[:3].requires_grad_(False)
    for part in net.modules():
        if isinstance(part, nn.BatchNorm2d):
            part.eval()
