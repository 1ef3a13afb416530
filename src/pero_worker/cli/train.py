"""`pero-worker train`: tunes a recogniser to the user's own pages."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from pero_worker.cli.late import command_app
from pero_worker.cli.say import say, warn
from pero_worker.errors import ExitCode, StageError, UsageError
from pero_worker.models.pipelines import load_pipeline, pipeline_cache
from pero_worker.models.trust import TrustedArchives, judge_by
from pero_worker.processes import Lifetime, leave

EPILOG = """
[bold]Examples[/bold]

  pero-worker train export/ -o my-hand              (images with PAGE XML or ALTO, from eScriptorium, Transkribus, PERO)

  pero-worker train pages/ -o my-print --from print-latin-small --minutes 10

  pero-worker ocr scans/ -o out --pipeline my-hand

  pero-worker stage upload ocr my-hand

Ctrl-C keeps what was learnt: the same command resumes. Some 200 lines halve the errors on one hand or old typeface.

[bold]Exit status[/bold]  0 done; 2 wrong usage; 4 no pages with text; 5 pipeline unusable; 7 cannot write;
130 interrupted.
"""
_GRACE_SECONDS = 60.0
"""Longest time for a step and the writing of its state, on a slow machine."""


def train(
    pages: Annotated[
        list[Path],
        typer.Argument(
            help="Folders (searched through) or files: images with their PAGE XML or ALTO.", metavar="PAGES..."
        ),
    ],
    output: Annotated[Path, typer.Option("-o", "--output", help="New folder for the pipeline.", metavar="MODEL")],
    start: Annotated[
        str, typer.Option("--from", help="Pipeline whose recogniser is tuned: a bundled one, a folder or an archive.")
    ] = "print-latin",
    minutes: Annotated[float, typer.Option(min=0.1, help="Longest training time.")] = 20,
    passes: Annotated[int, typer.Option(min=1, help="How often each line is used, at most.")] = 60,
    held_out: Annotated[
        float, typer.Option(min=0.02, max=0.5, help="Share of the lines held out to evaluate the result.")
    ] = 0.1,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:N.")] = "auto",
    threads: Annotated[int | None, typer.Option(min=1, help="Threads on a CPU.", show_default="one per core")] = None,
    seed: Annotated[int, typer.Option(help="Random seed; another number holds out other lines.")] = 1,
    quiet: Annotated[bool, typer.Option("-q", "--quiet", help="No progress.")] = False,
) -> None:
    """Tune the recogniser to a hand or a typeface, with pages that are already transcribed."""
    lifetime = Lifetime(grace=_GRACE_SECONDS, status=ExitCode.INTERRUPTED)
    pipeline = load_pipeline(start, cache=pipeline_cache(), judge=judge_by(TrustedArchives(), word=False))
    try:
        import torch

        from pero_worker.training.fine_tune import Settings, fine_tune
        from pero_worker.training.loop import Stopped
        from pero_worker.training.result import Base
    except ImportError as error:
        raise StageError(f"training lacks a package ({error}): pip install 'pero-worker[train]'") from error

    def tell(text: str) -> None:
        if not quiet:
            warn(text)

    if threads:
        torch.set_num_threads(threads)
    lifetime.begin()
    settings = Settings(minutes=minutes, passes=passes, held_out=held_out, seed=seed)
    try:
        outcome = fine_tune(
            pages, output, Base.of(pipeline), settings, _device(torch, device), tell, lifetime.stop.is_set
        )
    except Stopped:
        warn(f"stopped: the same command goes on with what is in {output}")
        leave(ExitCode.INTERRUPTED)
    say(
        f"CER on {outcome.held_out} held-out lines: {outcome.before:.2%} before, {outcome.after:.2%} after;"
        f" read with it: pero-worker ocr SCANS -o OUT --pipeline {output}"
    )
    if outcome.after >= outcome.before:
        warn("it reads no better than before: give it more lines or more minutes")


def _device(torch: object, name: str) -> object:
    ready = torch.cuda.is_available()  # type: ignore[attr-defined]
    if name == "auto":
        name = "cuda" if ready else "cpu"
    if name.startswith("cuda") and not ready:
        raise UsageError(f"torch finds no GPU for {name}: use --device cpu, or install torch with CUDA")
    try:
        return torch.device(name)  # type: ignore[attr-defined]
    except RuntimeError:
        raise UsageError(f"there is no device {name}: use auto, cpu, cuda or cuda:N") from None


app = command_app("train", train, EPILOG)
