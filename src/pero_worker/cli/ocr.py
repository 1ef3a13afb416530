"""`pero-worker ocr`: scans into text on this machine."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from pero_worker.cli.access import options_from_environment
from pero_worker.cli.running import run_in_terminal
from pero_worker.cluster.pages.workforce import cluster_workforce
from pero_worker.cluster.settings import cluster_access, split_servers
from pero_worker.errors import UsageError
from pero_worker.formats import formats_help, parse_formats
from pero_worker.inputs.images import DEFAULT_MAX_PIXELS
from pero_worker.jobs.job import JobRequest
from pero_worker.jobs.run import RunOptions
from pero_worker.local.workforce import LocalSettings, local_workforce

EPILOG = """
[bold]Examples[/bold]

  pero-worker ocr scans/ -o text/

  pero-worker ocr 'box7/**/*.tif' report.pdf -o out --formats text,pdf

  pero-worker ocr scans/ -o out --pipeline rapidocr --jobs 4

  pero-worker ocr scans/ -o out --pipeline my-model.tar.xz --device cuda

  pero-worker ocr scans/ -o out --cluster zoo1.example.org --stages layout,ocr

Run the same command again and it goes on where it stopped. OUT/report.jsonl says what became of every page.

[bold]Exit status[/bold]  0 all done; 2 wrong usage; 3 some pages failed; 4 no input; 5 pipeline unusable;
6 server unreachable; 7 cannot write; 130 interrupted.
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
        str, typer.Option("-f", "--formats", help=f"Comma-separated: {formats_help()}.")
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
    time_limit: Annotated[
        float, typer.Option(min=0, help="Seconds a page may take in a stage that sets no TIME_LIMIT; 0: no limit.")
    ] = 0,
    quiet: Annotated[bool, typer.Option("-q", "--quiet", help="No progress and no summary.")] = False,
    cluster: Annotated[
        str,
        typer.Option(
            help="ZooKeeper of a cluster that does the work; login and TLS are those of PERO_WORKER_CONFIG.",
            metavar="HOST[:PORT]",
        ),
    ] = "",
    stages: Annotated[
        str, typer.Option(help="With --cluster: its stages in their order, with commas.", metavar="NAMES")
    ] = "",
) -> None:
    """Turn scans into PAGE XML, ALTO, text, hOCR, JSON and searchable PDF."""

    if cluster:
        names = split_servers([stages])
        if not names:
            raise UsageError("--cluster needs --stages: which of its stages a page goes through, as layout,ocr")
        workforce = cluster_workforce(cluster_access(options_from_environment(cluster)), names, dpi=dpi)
    else:
        if stages:
            raise UsageError("--stages are those of a cluster: name it with --cluster, or leave them out")
        settings = LocalSettings(
            dpi=dpi, device=device, jobs=jobs, max_pixels=max_megapixels * 1_000_000, time_limit=time_limit
        )
        workforce = local_workforce(pipeline, settings)
    options = RunOptions(formats=parse_formats(formats), dpi=dpi)
    run_in_terminal(JobRequest(paths=paths, output=output, options=options, workforce=workforce), quiet=quiet)
