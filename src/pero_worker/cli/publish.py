"""`pero-worker publish`: sends pages into a cluster."""

from __future__ import annotations

import uuid
from pathlib import Path
from typing import Annotated

import typer

from pero_worker.cli.access import cluster_command
from pero_worker.cli.late import command_app
from pero_worker.cli.progress import count_bar, print_passed_over
from pero_worker.cli.running import run_in_terminal
from pero_worker.cli.say import say, warn
from pero_worker.clock import SystemClock
from pero_worker.cluster.opening import open_cluster
from pero_worker.cluster.pages.publish import PublishCounts, PublishOptions, publish_job
from pero_worker.cluster.pages.sending import FIRST_PAGES
from pero_worker.cluster.pages.workforce import cluster_workforce
from pero_worker.cluster.settings import ConnectionOptions, cluster_access, split_servers
from pero_worker.errors import ExitCode, UsageError
from pero_worker.formats import formats_help, parse_formats
from pero_worker.inputs.bounds import DEFAULT_MAX_PAGES
from pero_worker.inputs.discover import Discovery, discover
from pero_worker.inputs.mets.pages import MetsOptions
from pero_worker.inputs.opening import BookOptions
from pero_worker.inputs.web.addresses import AddressRules
from pero_worker.inputs.web.fetch import FetchOptions
from pero_worker.jobs.books import MAX_WARNINGS, BookSettings, check_pages, named_hosts, opened_books
from pero_worker.jobs.claims import results_of
from pero_worker.jobs.job import JobRequest
from pero_worker.jobs.options import RunOptions
from pero_worker.names import counted

EPILOG = """
[bold]Examples[/bold]

  pero-worker publish scans/ --stages layout,ocr,out

  pero-worker publish scans/ --stages layout,ocr,out --wait -o text/

  pero-worker publish box7.pdf 'box8/*.tif' --stages ocr,out --job box7-8 --priority 1

  pero-worker publish https://library.example.org/7/manifest.json --stages ocr,out --pages 1-20

  pero-worker publish scans/ --stages ocr,out --job box7 --retry-failed results/

The same --job again sends only what was not sent before. pero-worker ocr --cluster sends, waits and downloads in one
step.
"""


def publish_pages(
    connection: ConnectionOptions,
    paths: Annotated[
        list[str],
        typer.Argument(
            help="Images, PDFs, folders (searched through) or patterns; IIIF and METS as files or addresses.",
            metavar="PATH...",
        ),
    ],
    stages: Annotated[
        list[str], typer.Option("-s", "--stages", help="Stages in order, the output queue last.", metavar="NAMES")
    ],
    job: Annotated[str, typer.Option("-j", "--job", help="Name on every page.", show_default="random")] = "",
    priority: Annotated[
        int | None,
        typer.Option(
            min=0, max=255, help="1 goes before 0.", show_default=f"1 for the first {FIRST_PAGES} pages, then 0"
        ),
    ] = None,
    dpi: Annotated[int, typer.Option(min=36, max=2400, help="Resolution for PDF pages that are not scans.")] = 300,
    max_pages: Annotated[int, typer.Option(min=1, help="Refuse longer documents.")] = DEFAULT_MAX_PAGES,
    pages: Annotated[
        str, typer.Option(help="Pages of IIIF and METS, by number or id: 1-5,8,20- or PHYS_0003..PHYS_0007.")
    ] = "",
    mets_group: Annotated[
        str, typer.Option(help="Group of pictures in a METS.", show_default="the best available", metavar="USE")
    ] = "",
    follow_collections: Annotated[
        bool, typer.Option("--follow-collections", help="Send all manifests of a IIIF collection.")
    ] = False,
    wait: Annotated[
        bool, typer.Option("-w", "--wait", help="Follow the job to its end and write results to --output.")
    ] = False,
    output: Annotated[
        Path | None, typer.Option("-o", "--output", help="With --wait: folder for the results.", metavar="DIR")
    ] = None,
    formats: Annotated[str, typer.Option("-f", "--formats", help=f"With --wait: {formats_help()}.")] = "page,alto,text",
    retry_failed: Annotated[
        Path | None,
        typer.Option(
            help="Send failed pages of this download again; needs the same paths, stages and --job.", metavar="DIR"
        ),
    ] = None,
    force: Annotated[
        bool, typer.Option("--force", help="Other programs serve the stages without a model here.")
    ] = False,
    quiet: Annotated[bool, typer.Option("-q", "--quiet", help="No progress and no summary.")] = False,
) -> None:
    """Send pages into the cluster."""
    if retry_failed and not job:
        raise UsageError("--retry-failed needs --job: the name that the pages were sent with")
    books = BookSettings(
        reading=BookOptions(pages=pages, mets=MetsOptions(group=mets_group), follow_collections=follow_collections),
        fetching=FetchOptions(rules=AddressRules(named=named_hosts(paths))),
    )
    if wait:
        if output is None:
            raise UsageError("--wait needs --output: the folder for the results")
        # The job's results come through a queue of its own, so that nobody else takes them.
        workforce = cluster_workforce(
            cluster_access(connection), split_servers(stages)[:-1], dpi=dpi, priority=priority
        )
        options = RunOptions(formats=parse_formats(formats), dpi=dpi, max_pages=max_pages)
        request = JobRequest(paths=paths, output=output, options=options, workforce=workforce, books=books)
        run_in_terminal(request, quiet=quiet)
        return
    sending = PublishOptions(
        job=job or uuid.uuid4().hex[:16],
        stages=split_servers(stages),
        priority=priority,
        dpi=dpi,
        force=force,
        failed_in=retry_failed,
        max_pages=max_pages,
    )
    published = PublishCounts()
    found: Discovery | None = None
    try:
        with count_bar(visible=not quiet) as bar, opened_books(books, SystemClock()) as opened:
            found = discover(paths, open_book=opened.open, results_of=results_of)
            check_pages(found.documents, pages)
            for warning in found.documents.warnings(MAX_WARNINGS):
                warn(warning)
            task = bar.add_task("publishing", total=len(found.documents))
            with open_cluster(cluster_access(connection)) as cluster:
                cluster.broker.tell_notices(warn)
                publish_job(
                    found.documents,
                    cluster,
                    sending,
                    published,
                    lambda number: bar.update(task, completed=number),
                    bring=opened.bring,
                    bring_layout=opened.bring_layout,
                )
    finally:
        if not quiet and found is not None and (published.sent or published.failed):
            print_published(published, sending.job)
            print_passed_over(found)
    if published.failed or found.unreadable.count:
        raise typer.Exit(ExitCode.SOME_PAGES_FAILED)


def print_published(published: PublishCounts, job: str) -> None:
    """Prints on stdout what was sent."""
    before = f", {published.before} sent before" if published.before else ""
    before += f", {published.again} that failed sent again" if published.again else ""
    say(f"{counted(published.pages, 'page')} sent as job {job}{before}, {len(published.failed)} not sent")
    for name, reason in published.failed:
        say(f"  not sent: {name}: {reason}")


app = command_app("publish", cluster_command(publish_pages), EPILOG)
