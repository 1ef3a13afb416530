"""`pero-worker ocr`: scans into text on this machine."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path
from typing import Annotated

import platformdirs
import typer

from pero_worker.cli.progress import Progress, print_summary
from pero_worker.clock import SystemClock
from pero_worker.errors import ExitCode
from pero_worker.formats import parse_formats
from pero_worker.formats.discover import discover
from pero_worker.formats.images import DEFAULT_MAX_PIXELS
from pero_worker.local.outputs import OutputFolder
from pero_worker.local.run import RunOptions, Summary, run
from pero_worker.models.pipelines import load_pipeline

EPILOG = """
[bold]Examples[/bold]

  pero-worker ocr scans/ -o text/

  pero-worker ocr 'box7/**/*.tif' report.pdf -o out --formats text,pdf

  pero-worker ocr scans/ -o out --pipeline rapidocr --jobs 4

  pero-worker ocr scans/ -o out --pipeline my-model.tar.xz --device cuda

Run the same command again and it goes on where it stopped. OUT/report.jsonl says what became of every page.

[bold]Exit status[/bold]  0 all done; 2 wrong usage; 3 some pages failed; 4 no input; 5 pipeline unusable;
7 cannot write; 130 interrupted.
"""


def ocr(
    paths: Annotated[
        list[str], typer.Argument(help="Images, PDFs, folders (searched through) or patterns.", metavar="PATH...")
    ],
    output: Annotated[Path, typer.Option("-o", "--output", help="Folder for the results.", metavar="DIR")],
    pipeline: Annotated[
        str, typer.Option("-p", "--pipeline", help="A bundled pipeline, or a folder or archive with a config.ini.")
    ] = "print-latin",
    formats: Annotated[
        str, typer.Option("-f", "--formats", help="Comma-separated: page, alto, text, hocr, json, pdf; or all.")
    ] = "page,alto,text",
    jobs: Annotated[
        int | None, typer.Option("-j", "--jobs", min=1, help="Worker processes.", show_default="one per core or GPU")
    ] = None,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:N.")] = "auto",
    dpi: Annotated[
        int,
        typer.Option(min=36, max=2400, help="Resolution for PDF pages that are not scans, and for PDFs out of images."),
    ] = 300,
    max_megapixels: Annotated[
        int, typer.Option(min=1, help="Refuse larger pages, before they are decoded.")
    ] = DEFAULT_MAX_PIXELS // 1_000_000,
    quiet: Annotated[bool, typer.Option("-q", "--quiet", help="No progress and no summary.")] = False,
) -> None:
    """Turn scans into PAGE XML, ALTO, text, hOCR, JSON and searchable PDF."""
    signal.signal(signal.SIGTERM, _as_interrupt)
    options = RunOptions(parse_formats(formats), dpi, device, jobs, max_megapixels * 1_000_000)
    found = discover(paths, exclude=output)
    loaded = load_pipeline(pipeline, cache=Path(platformdirs.user_cache_dir("pero-worker")) / "pipelines")
    folder = OutputFolder(output)
    try:
        with Progress(visible=not quiet and sys.stderr.isatty()) as progress:
            summary = run(found.documents, loaded, folder, options, progress, SystemClock())
    finally:
        folder.close()
    if not quiet:
        print_summary(summary, folder.root, found.skipped)
    _leave(summary)


def _leave(summary: Summary) -> None:
    if summary.interrupted:
        sys.stdout.flush()
        sys.stderr.flush()
        # Not sys.exit: a half-made PDF in a thread would be waited for, and nothing of it is in place yet.
        os._exit(ExitCode.INTERRUPTED)
    if summary.failed or summary.unbound:
        raise typer.Exit(ExitCode.SOME_PAGES_FAILED)


def _as_interrupt(signum: int, frame: object) -> None:
    raise KeyboardInterrupt
