"""Tunes a recogniser on a user's own pages: what `pero-worker train` does, from folders to a pipeline."""

from __future__ import annotations

import hashlib
import json
import random
import shutil
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from pero_worker.errors import OutputError, UsageError
from pero_worker.names import counted
from pero_worker.training import loop
from pero_worker.training.alphabet import Alphabet
from pero_worker.training.batches import Batch, Line, Loss, batch_of, error_rate, packed
from pero_worker.training.lines import Lines, collect
from pero_worker.training.network import learning, open_network, widen
from pero_worker.training.result import Base, TrainingOutcome, write_pipeline
from pero_worker.training.truth import find_pages
from pero_worker.training.variety import varied

WORKSHOP = ".training"
"""Folder inside the new pipeline's folder that holds the state of an unfinished training."""
_TASK = "task.json"
_COLUMNS = {"cpu": 6000, "cuda": 40_000}
"""Columns of pixels in a batch."""
_AVERAGE = 0.99


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Settings of a training."""

    minutes: float = 20.0
    """Longest training time in minutes of work."""
    passes: int = 60
    """How often each line is used at most."""
    held_out: float = 0.1
    """Share of the lines that are kept out of the training, to evaluate it."""
    rate: float = 6e-4
    """Peak learning rate."""
    seed: int = 1
    """Seed for the choice of held-out lines and for the variation of lines."""


def fine_tune(
    paths: list[Path],
    output: Path,
    base: Base,
    settings: Settings,
    device: torch.device,
    tell: Callable[[str], None],
    stop: Callable[[], bool],
) -> TrainingOutcome:
    """Trains the recogniser of `base` on the pages below `paths` and writes the pipeline `output`.

    Raises `loop.Stopped` if `stop` said so; the same call resumes. Raises `UsageError` if `output` holds something
    else, and `NoInputError` if there is nothing to learn from.
    """
    _free(output)
    pages = find_pages(paths, tell)
    net, known, height = open_network(base.description)
    lines = collect(pages, height, share=settings.held_out, seed=settings.seed, tell=tell)
    learnt, images = counted(len(lines.learnt), "line"), counted(lines.pages, "image")
    tell(f"{learnt} of {images} to learn from, {len(lines.held_out)} held out")
    alphabet = known.with_more(sorted(character for character in lines.characters if known.unknown(character)))
    if new := alphabet.characters[known.blank :]:
        tell(f"new characters: {' '.join(new)}")
    workshop = _workshop(output, _task(base, lines, settings))
    before = error_rate(net.to(device).eval(), lines.held_out, known)
    tell(f"CER on the held-out lines before: {before:.2%}")
    widen(net.to("cpu"), known, alphabet)
    learner = _Learner(lines, alphabet, settings, _COLUMNS[device.type])
    schedule = loop.Schedule(
        minutes=settings.minutes,
        steps=learner.steps,
        rate=settings.rate,
        warm_up=20,
        average=_AVERAGE,
        validate_every=60.0,
    )
    trained = loop.train(
        learning(net).to(device),
        learner.batches,
        Loss(alphabet),
        lambda mean: {"CER on the held-out lines": error_rate(mean, lines.held_out, alphabet)},
        schedule,
        workshop,
        asdict(settings),
        tell,
        stop,
    )
    after = error_rate(trained, lines.held_out, alphabet)
    outcome = TrainingOutcome(
        before=before, after=after, lines=len(lines.learnt), held_out=len(lines.held_out), pages=lines.pages,
        characters=new,
    )  # fmt: skip
    write_pipeline(output, base, trained, alphabet, height, outcome)
    shutil.rmtree(workshop)
    return outcome


class _Learner:
    """Endless batches: each line appears once, slightly varied, before any is repeated."""

    def __init__(self, lines: Lines, alphabet: Alphabet, settings: Settings, columns: int) -> None:
        self.lines, self.alphabet, self.seed, self.columns = lines.learnt, alphabet, settings.seed, columns
        a_pass = len(list(packed(self.lines, columns)))
        self.steps = settings.passes * a_pass

    def batches(self, start: int) -> Iterator[Batch]:
        rng, draw = np.random.default_rng((self.seed, start)), random.Random(self.seed * 1000 + start)  # noqa: S311
        while True:
            lines: list[Line] = [(varied(rng, crop), text) for crop, text in self.lines]
            groups = list(packed(lines, self.columns))
            draw.shuffle(groups)
            yield from (batch_of(group, self.alphabet) for group in groups)


def _free(output: Path) -> None:
    if output.exists() and not output.is_dir():
        raise UsageError(f"{output} is a file: name a new folder for the model")
    if output.is_dir() and any(entry.name != WORKSHOP for entry in output.iterdir()):
        raise UsageError(f"{output} is not empty: name a new folder for the model")


def _task(base: Base, lines: Lines, settings: Settings) -> dict[str, Any]:
    """Returns what identifies a training: two with the same task are the same."""
    digest = hashlib.sha256()
    for crop, text in (*lines.learnt, *lines.held_out):
        digest.update(crop.tobytes() + text.encode() + b"\0")
    return {"base": base.version, "lines": digest.hexdigest(), **asdict(settings)}


def _workshop(output: Path, task: dict[str, Any]) -> Path:
    folder = output / WORKSHOP
    try:
        folder.mkdir(parents=True, exist_ok=True)
        told = folder / _TASK
        if told.is_file():
            if json.loads(told.read_text("utf-8")) != task:
                raise UsageError(
                    f"{output} holds an unfinished training of other pages or settings: name another folder,"
                    " or delete it"
                )
        else:
            told.write_text(json.dumps(task, indent=1), "utf-8")
    except (OSError, ValueError) as error:
        raise OutputError(f"{folder} cannot be used: {error}") from error
    return folder
