"""Training of the line recogniser on drawn lines, and on real ones where there are some."""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch.utils.data import DataLoader, IterableDataset, get_worker_info

from pero_worker.training.alphabet import Alphabet
from pero_worker.training.batches import Batch, Line, batch_of, error_rate, packed
from training.fonts import BLACKLETTER, ROMAN, TYPEWRITER, surely
from training.lines import LineMaker
from training.real import Crop, RealLines, find
from training.sources import FIGURES, Sources

_BLANK = 0.06
"""Share of crops without text, whose reading is the empty line."""
_POOL = 6
"""Lines are drawn for so many batches at once and sorted by width, so that little of a batch is padding."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """What is learnt from."""

    data: Path
    """Faces and texts, as `prepare` leaves them."""
    alphabet: Alphabet
    height: int
    """Of a line, pixels."""
    longest: int = 90
    """Characters of a drawn line."""
    figures: float = FIGURES
    """Share of drawn lines that are no prose."""
    real: Path | None = None
    """A folder of archives of real lines."""
    share: float = 0.7
    """How many of the lines are real, if there are any."""


class LineBatches(IterableDataset[Batch]):
    """Batches of about `columns` columns of pixels, without end; each loader process draws others."""

    def __init__(self, task: Task, seed: int, columns: int) -> None:
        self.task, self.seed, self.columns = task, seed, columns

    def from_start(self, number: int) -> LineBatches:
        """Others, for a training that goes on."""
        return LineBatches(self.task, self.seed + number, self.columns)

    def __iter__(self) -> Iterator[Batch]:
        task, worker = self.task, get_worker_info()
        seed = self.seed * 1000 + (worker.id if worker else 0)
        sources = Sources(task.data, seed, figures=task.figures)
        maker = LineMaker(sources, task.height, seed, longest=task.longest, blank=_BLANK)
        real = RealLines(task.real, task.height, seed) if task.real else None
        draw = random.Random(seed)  # noqa: S311 - no secrets here
        while True:
            pool: list[Line] = []
            while sum(crop.shape[1] + 64 for crop, _ in pool) < self.columns * _POOL:
                line = real() if real and draw.random() < task.share else surely(maker)
                if not task.alphabet.unknown(line[1]):
                    pool.append(line)
            batches = list(packed(pool, self.columns))
            draw.shuffle(batches)
            yield from (batch_of(batch, task.alphabet) for batch in batches)


def batches(dataset: LineBatches, workers: int) -> Iterator[Batch]:
    return iter(DataLoader(dataset, batch_size=None, num_workers=workers, prefetch_factor=8 if workers else None))


class Validation:
    """Lines kept out of training: drawn ones of texts and families of their own, for each kind of face, and three times
    as many real ones of each class."""

    def __init__(self, task: Task, lines: int) -> None:
        self.alphabet = task.alphabet
        self.sets: dict[str, list[Line]] = {}
        if task.real:
            by_class: dict[str, list[Crop]] = defaultdict(list)
            for crops in find(task.real, "dev").values():
                by_class[f"real {crops[0].kind}"] += crops
            reader = RealLines(task.real, task.height, 99)
            for kind, crops in by_class.items():
                some = random.Random(99).sample(crops, min(len(crops), 3 * lines))  # noqa: S311 - no secrets here
                self.sets[kind] = [(reader.read(crop), crop.text) for crop in some]
        for kind in (BLACKLETTER, TYPEWRITER, ROMAN):
            sources = Sources(task.data, 99, training=False, kinds={kind: 1.0}, figures=task.figures)
            if not sources.kinds:
                continue
            maker = LineMaker(sources, task.height, 99, shortest=5, longest=60)
            self.sets[kind] = [surely(maker) for _ in range(lines)]

    def __call__(self, net: Any) -> dict[str, float]:
        """The CER of each set."""
        return {kind: error_rate(net, lines, self.alphabet) for kind, lines in self.sets.items()}
