"""`pero-worker ocr`: scans into text on this machine."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import platformdirs
import typer

from pero_worker.cli.access import options_from_environment
from pero_worker.cli.progress import Progress, print_summary
from pero_worker.clock import SystemClock
from pero_worker.cluster.access import open_cluster
from pero_worker.cluster.pages.workforce import ClusterWorkforce, pipeline_of
from pero_worker.cluster.registry.workers import read_workers
from pero_worker.cluster.settings import ConnectionOptions, cluster_access, split_servers
from pero_worker.errors import ExitCode, UsageError
from pero_worker.formats import formats_help, parse_formats
from pero_worker.inputs.discover import discover
from pero_worker.inputs.images import DEFAULT_MAX_PIXELS
from pero_worker.jobs.outputs import OutputFolder
from pero_worker.jobs.run import RunOptions, Summary, run
from pero_worker.jobs.workforce import Workforce
from pero_worker.local.workforce import LocalSettings, LocalWorkforce
from pero_worker.models.pipelines import load_pipeline
from pero_worker.processes import Lifetime, OnSignal, leave

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
        float, typer.Option(min=0, help="Seconds a page may take in a stage that sets no TIME_LIMIT; 0: any.")
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

    @contextmanager
    def here(folder: OutputFolder) -> Iterator[Crew]:
        loaded = load_pipeline(pipeline, cache=Path(platformdirs.user_cache_dir("pero-worker")) / "pipelines")
        settings = LocalSettings(dpi, device, jobs, max_megapixels * 1_000_000, 3, time_limit, folder.worker_log)
        yield Crew(LocalWorkforce(loaded, settings, SystemClock()), loaded.name, loaded.version)

    def there(folder: OutputFolder) -> AbstractContextManager[Crew]:
        names = split_servers([stages])
        if not names:
            raise UsageError("--cluster needs --stages: which of its stages a page goes through, as layout,ocr")
        return on_cluster(options_from_environment(cluster), names, folder, dpi)

    run_documents(paths, output, parse_formats(formats), there if cluster else here, dpi=dpi, quiet=quiet)


@dataclass(frozen=True, slots=True)
class Crew:
    """Who does the work, and the name and version of what is done."""

    workforce: Workforce
    pipeline: str
    version: str


@contextmanager
def on_cluster(
    given: ConnectionOptions, stages: Sequence[str], folder: OutputFolder, dpi: int, priority: int | None = None
) -> Iterator[Crew]:
    """The cluster's `stages` as the crew of the job that `folder` stands for."""
    with open_cluster(cluster_access(given)) as cluster:
        name, version = pipeline_of(cluster.zookeeper, stages)
        if all(worker.dead for worker in read_workers(cluster.zookeeper)):
            typer.echo("no worker runs: pages wait until one is started (pero-worker worker)", err=True)
        crew = ClusterWorkforce(cluster.broker, stages, folder.job_id, SystemClock(), dpi=dpi, priority=priority)
        yield Crew(crew, name, version)


def run_documents(
    paths: Sequence[str],
    output: Path,
    formats: tuple[str, ...],
    crew: Callable[[OutputFolder], AbstractContextManager[Crew]],
    *,
    dpi: int,
    quiet: bool,
) -> None:
    """From paths to results, with progress and a summary; ends the program when something failed."""
    Lifetime(status=ExitCode.INTERRUPTED, on_signal=OnSignal.INTERRUPT).begin()
    found = discover(paths, exclude=output)
    folder = OutputFolder(output)
    try:
        with crew(folder) as who, Progress(visible=not quiet and sys.stderr.isatty()) as progress:
            options = RunOptions(who.pipeline, who.version, formats, dpi)
            summary = run(found.documents, who.workforce, folder, options, progress, SystemClock())
    finally:
        folder.close()
    if not quiet:
        print_summary(summary, folder.root, found.skipped)
    _leave(summary)


def _leave(summary: Summary) -> None:
    if summary.interrupted:
        # Not sys.exit: a half-made PDF in a thread would be waited for, and nothing of it is in place yet.
        leave(ExitCode.INTERRUPTED)
    if summary.failed or summary.documents_failed:
        raise typer.Exit(ExitCode.SOME_PAGES_FAILED)
