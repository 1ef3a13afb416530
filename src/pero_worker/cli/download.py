"""`pero-worker download`: collects results from a cluster."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from pero_worker.cli.access import cluster_command
from pero_worker.cli.late import command_app
from pero_worker.cli.progress import count_bar
from pero_worker.cli.say import say, warn
from pero_worker.cli.textoptions import OutputOption
from pero_worker.clock import SystemClock
from pero_worker.cluster.opening import open_cluster
from pero_worker.cluster.pages.download import DownloadCounts, download
from pero_worker.cluster.pages.requestfolders import RequestFolders
from pero_worker.cluster.pages.resulttree import ResultTree
from pero_worker.cluster.pages.route import check_output
from pero_worker.cluster.settings import ConnectionOptions, cluster_access
from pero_worker.errors import ExitCode
from pero_worker.formats import formats_help, parse_formats
from pero_worker.jobs.outputs import OutputFolder
from pero_worker.names import counted
from pero_worker.processes import Lifetime

EPILOG = """
[bold]Examples[/bold]

  pero-worker download out -o results/ --formats page,alto,text

  pero-worker download out -o results/ --keep-running

  pero-worker download out -o results/ --layout requests      (folders as upstream writes them)
"""


def download_results(
    connection: ConnectionOptions,
    queue: Annotated[str, typer.Argument(help="The output queue.", metavar="QUEUE")],
    output: OutputOption,
    keep_running: Annotated[
        bool, typer.Option("-k", "--keep-running", help="Wait for more when the queue is empty.")
    ] = False,
    formats: Annotated[
        str, typer.Option("-f", "--formats", help=f"Comma-separated: {formats_help(page_only=True)}.")
    ] = "page,alto,text",
    layout: Annotated[
        str, typer.Option(help="tree (names as published) or requests (a folder each, as upstream).")
    ] = "tree",
    keep_failed: Annotated[
        bool, typer.Option("--keep-failed", help="Keep messages of failed pages, for pero-worker dead replay.")
    ] = False,
    force: Annotated[
        bool, typer.Option("--force", help="Also from a stage with a model: takes its pages away unprocessed.")
    ] = False,
    quiet: Annotated[bool, typer.Option("-q", "--quiet", help="No progress and no summary.")] = False,
) -> None:
    """Collect results from an output queue; each page is written once, however often it is delivered."""
    if layout not in {"tree", "requests"}:
        raise typer.BadParameter("choose tree or requests", param_hint="--layout")
    wanted = parse_formats(formats)
    lifetime = Lifetime()
    lifetime.begin()
    clock = SystemClock()
    downloaded = DownloadCounts()
    with open_cluster(cluster_access(connection)) as cluster:
        waiting = check_output(cluster, queue, force=force)
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
                    warn=warn,
                    keep_failed=keep_failed,
                    payloads=cluster.payloads,
                )
        finally:
            writer.close()
            if not quiet:
                print_downloaded(downloaded, output)
    if downloaded.failed or downloaded.cancelled:
        raise typer.Exit(ExitCode.SOME_PAGES_FAILED)


def print_downloaded(downloaded: DownloadCounts, folder: Path) -> None:
    """Prints on stdout what was collected."""
    more = f", {downloaded.cancelled} cancelled" if downloaded.cancelled else ""
    more += f", {downloaded.duplicates} delivered before" if downloaded.duplicates else ""
    more += f", {counted(downloaded.refused, 'message')} set aside" if downloaded.refused else ""
    say(f"{counted(downloaded.pages, 'page')} in {folder}, {downloaded.failed} of them failed{more}")
    for name, reason in downloaded.failures:
        say(f"  failed: {name}: {reason}")
    if downloaded.failed > len(downloaded.failures):
        say(f"  and {downloaded.failed - len(downloaded.failures)} more")
    for stage, seconds in downloaded.stages.items():
        say(f"  stage {stage}: {counted(seconds.runs, 'run')}, mean {seconds.total / seconds.runs:.3f} s")


app = command_app("download", cluster_command(download_results), EPILOG)
