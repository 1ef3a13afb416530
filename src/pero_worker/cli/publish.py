"""`pero-worker publish` and `pero-worker download`: pages into a cluster, results out of it."""

from __future__ import annotations

import statistics
import uuid
from pathlib import Path
from typing import Annotated

import typer

from pero_worker.cli.progress import count_bar
from pero_worker.cli.running import run_in_terminal
from pero_worker.clock import SystemClock
from pero_worker.cluster.access import open_cluster
from pero_worker.cluster.pages.download import DownloadCounts, download, messages_in
from pero_worker.cluster.pages.layouts import RequestFolders, ResultTree
from pero_worker.cluster.pages.publish import PublishCounts, PublishOptions, publish_job
from pero_worker.cluster.pages.sending import FIRST_PAGES
from pero_worker.cluster.pages.workforce import cluster_workforce
from pero_worker.cluster.settings import ConnectionOptions, cluster_access, split_servers
from pero_worker.errors import ExitCode, UsageError
from pero_worker.formats import formats_help, parse_formats
from pero_worker.inputs.discover import discover
from pero_worker.jobs.job import JobRequest
from pero_worker.jobs.outputs import OutputFolder
from pero_worker.jobs.run import RunOptions
from pero_worker.processes import Lifetime

PUBLISH_EPILOG = """
[bold]Examples[/bold]

  pero-worker publish scans/ --stages layout,ocr,out

  pero-worker publish scans/ --stages layout,ocr,out --wait -o text/

  pero-worker publish box7.pdf 'box8/*.tif' --stages ocr,out --job box7-8 --priority 1

The same --job again sends only what was not sent before. pero-worker ocr --cluster sends, waits and downloads in one.
"""
DOWNLOAD_EPILOG = """
[bold]Examples[/bold]

  pero-worker download out -o results/ --formats page,alto,text

  pero-worker download out -o results/ --keep-running

  pero-worker download out -o results/ --layout requests      (folders as upstream writes them)
"""


def publish_command(
    given: ConnectionOptions,
    paths: Annotated[
        list[str], typer.Argument(help="Images, PDFs, folders (searched through) or patterns.", metavar="PATH...")
    ],
    stages: Annotated[
        list[str], typer.Option("-s", "--stages", help="In their order, the output queue last.", metavar="NAMES")
    ],
    job: Annotated[str, typer.Option("-j", "--job", help="Name on every page.", show_default="random")] = "",
    priority: Annotated[
        int | None,
        typer.Option(
            min=0, max=255, help="1 goes before 0.", show_default=f"1 for the first {FIRST_PAGES} pages, then 0"
        ),
    ] = None,
    dpi: Annotated[int, typer.Option(min=36, max=2400, help="Resolution for PDF pages that are not scans.")] = 300,
    wait: Annotated[
        bool, typer.Option("-w", "--wait", help="Follow the job to its end; results go to --output.")
    ] = False,
    output: Annotated[Path | None, typer.Option("-o", "--output", help="With --wait.", metavar="DIR")] = None,
    formats: Annotated[str, typer.Option("-f", "--formats", help=f"With --wait: {formats_help()}.")] = "page,alto,text",
    quiet: Annotated[bool, typer.Option("-q", "--quiet", help="No progress and no summary.")] = False,
) -> None:
    """Send pages into the cluster."""
    if wait:
        if output is None:
            raise UsageError("--wait needs --output: the folder for the results")
        # The job's results come through a queue of its own, so that nobody else takes them.
        workforce = cluster_workforce(cluster_access(given), split_servers(stages)[:-1], dpi=dpi, priority=priority)
        options = RunOptions(formats=parse_formats(formats), dpi=dpi)
        run_in_terminal(JobRequest(paths=paths, output=output, options=options, workforce=workforce), quiet=quiet)
        return
    found = discover(paths)
    sending = PublishOptions(job=job or uuid.uuid4().hex[:16], stages=split_servers(stages), priority=priority, dpi=dpi)
    published = PublishCounts()
    try:
        with count_bar(visible=not quiet) as bar:
            task = bar.add_task("publishing", total=len(found.documents))
            with open_cluster(cluster_access(given)) as cluster:
                publish_job(
                    found.documents,
                    cluster.broker,
                    sending,
                    published,
                    lambda number: bar.update(task, completed=number),
                )
    finally:
        if not quiet:
            print_published(published, sending.job)
    if published.failed:
        raise typer.Exit(ExitCode.SOME_PAGES_FAILED)


def download_command(
    given: ConnectionOptions,
    queue: Annotated[str, typer.Argument(help="The output queue.", metavar="QUEUE")],
    output: Annotated[Path, typer.Option("-o", "--output", help="Folder for the results.", metavar="DIR")],
    keep_running: Annotated[
        bool, typer.Option("-k", "--keep-running", help="Wait for more when the queue is empty.")
    ] = False,
    formats: Annotated[
        str, typer.Option("-f", "--formats", help=f"Comma-separated: {formats_help(page_only=True)}.")
    ] = "page,alto,text",
    layout: Annotated[
        str, typer.Option(help="tree (names as published) or requests (a folder each, as upstream).")
    ] = "tree",
    quiet: Annotated[bool, typer.Option("-q", "--quiet", help="No progress and no summary.")] = False,
) -> None:
    """Take results out of an output queue; each page is written once, however often it is delivered."""
    if layout not in {"tree", "requests"}:
        raise typer.BadParameter("choose tree or requests", param_hint="--layout")
    wanted = parse_formats(formats)
    lifetime = Lifetime()
    lifetime.begin()
    clock = SystemClock()
    downloaded = DownloadCounts()
    with open_cluster(cluster_access(given)) as cluster:
        waiting = messages_in(cluster.broker, queue)
        writer = RequestFolders(output) if layout == "requests" else ResultTree(OutputFolder(output), wanted, clock)
        try:
            with count_bar(visible=not quiet) as bar:
                task = bar.add_task("downloading", total=None if keep_running else waiting)
                download(
                    cluster.broker,
                    queue,
                    writer,
                    clock,
                    keep_running=keep_running,
                    stopped=lifetime.stop,
                    downloaded=downloaded,
                    on_page=lambda _request: bar.advance(task),
                )
        finally:
            writer.close()
            if not quiet:
                print_downloaded(downloaded, output)
    if downloaded.failed:
        raise typer.Exit(ExitCode.SOME_PAGES_FAILED)


def print_published(published: PublishCounts, job: str) -> None:
    """What was sent, on stdout."""
    before = f", {published.before} sent before" if published.before else ""
    typer.echo(f"{published.pages} pages sent as job {job}{before}, {len(published.failed)} not sent")
    for name, reason in published.failed:
        typer.echo(f"  not sent: {name}: {reason}")


def print_downloaded(downloaded: DownloadCounts, folder: Path) -> None:
    """What came, on stdout."""
    more = f", {downloaded.duplicates} delivered before" if downloaded.duplicates else ""
    more += f", {downloaded.refused} messages set aside" if downloaded.refused else ""
    typer.echo(f"{downloaded.pages} pages in {folder}, {len(downloaded.failed)} of them failed{more}")
    for name, reason in downloaded.failed[:20]:
        typer.echo(f"  failed: {name}: {reason}")
    for stage, seconds in downloaded.seconds.items():
        typer.echo(f"  stage {stage}: {len(seconds)} runs, mean {statistics.fmean(seconds):.3f} s")
