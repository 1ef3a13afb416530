"""The training loop of networks: schedule, averaged weights, checkpoints to resume from, and a written record."""

from __future__ import annotations

import json
import math
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from pero_worker.training.network import copied

Batch = TypeVar("Batch")


class Stopped(Exception):
    """The training was stopped before its end; started again, it resumes there."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Schedule:
    """How long and how fast to train; training ends at the first of two limits."""

    minutes: float = 0.0
    """Longest training time in minutes of work; 0: no limit."""
    steps: int = 0
    """Most steps; 0: no limit."""
    rate: float = 2e-3
    """Peak learning rate."""
    warm_up: int = 150
    """Steps over which the learning rate rises to its peak."""
    average: float = 0.998
    """Share of the averaged weights that is kept at each step; the averaged weights are validated and exported."""
    validate_every: float = 120.0
    """Seconds of work between validations; each also writes a checkpoint."""

    def share(self, step: int, seconds: float) -> float:
        """Returns how much of the training is done, from 0 to 1."""
        by_time = seconds / (60 * self.minutes) if self.minutes else 0.0
        return max(by_time, step / self.steps if self.steps else 0.0)

    def rate_at(self, step: int, share: float) -> float:
        falling = 0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * min(1.0, share)))
        return self.rate * min(1.0, (step + 1) / self.warm_up) * falling


@dataclass(slots=True, kw_only=True)
class TrainingProgress:
    """The progress so far; saved with the weights."""

    step: int = 0
    """Steps done."""
    examples: int = 0
    """Lines seen."""
    seconds: float = 0.0
    """Training time in seconds."""
    starts: int = 0
    """How often the training was started or resumed."""


def train(
    net: nn.Module,
    batches: Callable[[int], Iterator[Batch]],
    loss_of: Callable[[nn.Module, Batch], tuple[Tensor, int]],
    validate: Callable[[nn.Module], dict[str, float]],
    schedule: Schedule,
    folder: Path,
    about: dict[str, Any],
    tell: Callable[[str], None],
    stop: Callable[[], bool] = lambda: False,
) -> nn.Module:
    """Trains `net` and returns its averaged weights as a net; a run that was cut off resumes from its last checkpoint.

    When `stop` says so, the state is written and `Stopped` is raised. `batches` gets the number of the start, so that a
    resumed run sees other data. `loss_of` returns the loss and the number of examples in it. `folder` gets
    checkpoint.pt and record.json: `about`, and the curve of `validate`.
    """
    folder.mkdir(parents=True, exist_ok=True)
    learning = [weight for weight in net.parameters() if weight.requires_grad]
    optimiser = torch.optim.AdamW(learning, lr=schedule.rate, weight_decay=1e-4, betas=(0.9, 0.98))
    mean = copied(net).eval()
    progress, curve = TrainingProgress(), list[dict[str, Any]]()
    saved = folder / "checkpoint.pt"
    if saved.is_file():
        state = torch.load(saved, map_location=next(net.parameters()).device, weights_only=True)
        net.load_state_dict(state["net"])
        mean.load_state_dict(state["mean"])
        optimiser.load_state_dict(state["optimiser"])
        progress, curve = TrainingProgress(**state["progress"]), state["curve"]
        tell(f"going on at step {progress.step}")
    progress.starts += 1
    source = batches(progress.starts)
    lately, told, validated = 0.0, -math.inf, progress.seconds
    while (share := schedule.share(progress.step, progress.seconds)) < 1:
        if stop():
            _save(folder, net, mean, optimiser, progress, curve, about, schedule)
            raise Stopped
        began = time.monotonic()
        for group in optimiser.param_groups:
            group["lr"] = schedule.rate_at(progress.step, share)
        loss, examples = loss_of(net, next(source))
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(net.parameters(), 5.0)
        optimiser.step()
        progress.step += 1
        progress.examples += examples
        _average(mean, net, min(schedule.average, progress.step / (progress.step + 10)))
        lately = loss.item() if progress.step == 1 else 0.95 * lately + 0.05 * loss.item()
        progress.seconds += time.monotonic() - began
        if progress.seconds - told > 20:
            told = progress.seconds
            rate = progress.examples / progress.seconds
            tell(f"{share:4.0%}  step {progress.step}  loss {lately:.3f}  {rate:.1f} examples/s")
        if progress.seconds - validated > schedule.validate_every:
            validated = progress.seconds
            _note(curve, progress, validate(mean), tell)
            _save(folder, net, mean, optimiser, progress, curve, about, schedule)
    if not curve or curve[-1]["step"] != progress.step:
        _note(curve, progress, validate(mean), tell)
        _save(folder, net, mean, optimiser, progress, curve, about, schedule)
    return mean


@torch.no_grad()
def _average(mean: nn.Module, net: nn.Module, keep: float) -> None:
    for kept, new in zip(mean.state_dict().values(), net.state_dict().values(), strict=True):
        if kept.is_floating_point():
            kept.lerp_(new, 1 - keep)
        else:
            kept.copy_(new)


def _note(
    curve: list[dict[str, Any]], progress: TrainingProgress, scores: dict[str, float], tell: Callable[[str], None]
) -> None:
    curve.append(asdict(progress) | scores)
    tell("      " + "  ".join(f"{name} {value:.4f}" for name, value in scores.items()))


def _save(
    folder: Path,
    net: nn.Module,
    mean: nn.Module,
    optimiser: torch.optim.Optimizer,
    progress: TrainingProgress,
    curve: list[dict[str, Any]],
    about: dict[str, Any],
    schedule: Schedule,
) -> None:
    state = {"net": net.state_dict(), "mean": mean.state_dict(), "optimiser": optimiser.state_dict()}
    unfinished = folder / "checkpoint.new"
    torch.save(state | {"progress": asdict(progress), "curve": curve}, unfinished)
    os.replace(unfinished, folder / "checkpoint.pt")  # noqa: PTH105 - replaces in one step
    record = about | {"schedule": asdict(schedule), "torch": torch.__version__, "curve": curve}
    (folder / "record.json").write_text(json.dumps(record, ensure_ascii=False, indent=1), "utf-8")
