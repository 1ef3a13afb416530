"""`pero-worker cancel`: cancels a published job."""

from __future__ import annotations

from typing import Annotated

import typer

from pero_worker.cli.access import cluster_command
from pero_worker.cli.examples import examples
from pero_worker.cli.late import command_app
from pero_worker.cli.progress import count_bar
from pero_worker.cli.say import say
from pero_worker.clock import SystemClock
from pero_worker.cluster.opening import open_cluster
from pero_worker.cluster.pages.cancel import cancel_job
from pero_worker.cluster.settings import ConnectionOptions, cluster_access
from pero_worker.coordinators.cancelled import unmark_cancelled
from pero_worker.errors import UsageError
from pero_worker.names import counted


def cancel(
    connection: ConnectionOptions,
    job: Annotated[str, typer.Argument(help="The job's name, as given to or printed by publish.", metavar="JOB")],
    undo: Annotated[
        bool, typer.Option("--undo", help="Let pages of the job be sent and processed again.", show_default=False)
    ] = False,
    quiet: Annotated[bool, typer.Option("-q", "--quiet", help="No progress and no summary.")] = False,
) -> None:
    """Cancel a job's pages that are not done: no worker begins another, and no more are sent. They leave the output
    queue as cancelled, so that every page is accounted for; finished pages are kept."""
    with open_cluster(cluster_access(connection)) as cluster:
        if undo:
            if not unmark_cancelled(cluster.zookeeper, job):
                raise UsageError(f"no job {job!r} is cancelled")
            if not quiet:
                say(f"job {job} goes on; what was cancelled is sent by publish --job {job} --retry-failed DIR")
            return
        with count_bar(visible=not quiet) as bar:
            task = bar.add_task("taking back", total=None)
            taken, whole = cancel_job(cluster, job, SystemClock(), lambda: bar.advance(task))
    if not quiet:
        say(f"job {job} is cancelled: {counted(taken, 'page')} taken back")
        if not taken and whole:
            say("  none waited to be processed; if that is not its name, take it back with --undo")
        if not whole:
            say("  others stand behind many pages of other jobs: workers take them back when it is their turn")


app = command_app(
    "cancel",
    cluster_command(cancel),
    examples("pero-worker cancel box7", "pero-worker cancel box7 --undo"),
)
