"""The command line: parsing and printing only, one module a command."""

from __future__ import annotations

import errno
import logging
import sys
from collections.abc import Mapping
from typing import Annotated

import typer

import pero_worker
from pero_worker.cli.examples import examples
from pero_worker.cli.late import Command, LateGroup
from pero_worker.cli.say import say, warn
from pero_worker.errors import ExitCode, PeroWorkerError

_FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
"""Errors of a disk that takes no more."""
COMMANDS: Mapping[str, Command] = {
    "ocr": Command(module="ocr", help="Turn scans into PAGE XML, ALTO, text, hOCR, JSON and searchable PDF."),
    "convert": Command(module="convert", help="Make more formats of the results that are there, in seconds."),
    "review": Command(
        module="review", help="List the worst pages and lines, and show each line's picture beside its text."
    ),
    "report": Command(module="report", help="Sum up what became of the pages in result folders, and what they cost."),
    "train": Command(
        module="train", help="Tune the recogniser to a hand or a face, with pages that are transcribed already."
    ),
    "mets": Command(
        module="mets", help="Enter a run's results into the METS that its pages came from; files are written beside it."
    ),
    "ocrd-zip": Command(module="mets", help="Pack a METS and its files as an OCRD-ZIP.", attribute="zip_app"),
    "export": Command(module="export", help="Results for other programs: IIIF viewers, eScriptorium."),
    "kitodo": Command(
        module="kitodo", help="Read the pictures of a process of Kitodo.Production; for a task's script."
    ),
    "engines": Command(module="engines", help="List the OCR engines and whether they can run here."),
    "pipelines": Command(
        module="pipelines",
        help="List the bundled pipelines; any folder or archive with a pero-ocr config.ini is one, too.",
    ),
    "worker": Command(module="worker", help="Serve the stages that the watchdog assigns, until told to stop."),
    "watchdog": Command(module="watchdog", help="Assign workers to stages, until told to stop."),
    "stage": Command(module="stage", help="Stages: what is done to pages, with which model."),
    "servers": Command(module="servers", help="The servers registered in ZooKeeper."),
    "workers": Command(module="workers", help="The workers: who they are, and what they should do."),
    "publish": Command(module="publish", help="Send pages into the cluster."),
    "download": Command(
        module="download",
        help="Take results out of an output queue; each page is written once, however often it is delivered.",
    ),
    "status": Command(
        module="status",
        help="What is wrong and what to do, then stages with their queues, workers with what they do, and who leads.",
    ),
    "metrics": Command(module="metrics", help="Metrics of the whole cluster in Prometheus' format."),
    "gateway": Command(module="gateway", help="Serve the PERO API and DocAPI over HTTP."),
    "jobs": Command(module="jobs", help="Jobs of a gateway: list, show, cancel, retry."),
    "keys": Command(module="keys", help="Keys of the gateway: add, list, revoke, import."),
    "dead": Command(module="dead", help="Messages that no worker could use, in the queue pero.dead."),
    "log": Command(module="log", help="The workers' log lines, from RabbitMQ's queue `log`."),
    "set-up": Command(
        module="setup",
        help="Make what RabbitMQ, ZooKeeper, a model store and all clients need to talk by TLS, with passwords.",
    ),
    "up": Command(module="up", help="Start RabbitMQ, ZooKeeper and an FTP server for this machine, and register them."),
    "down": Command(module="down", help="Stop the servers that `up` started; their data stay."),
    "queues": Command(module="queues", help="Exact numbers of waiting pages."),
}
"""In the order of the list in `--help`."""


class _Program(LateGroup):
    table = COMMANDS


app = typer.Typer(
    cls=_Program,
    name="pero-worker",
    help="Turns scans into text with PERO OCR.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog=examples(
        "pero-worker ocr scans/ -o text/          (on this machine)",
        "pero-worker up                           (the servers of a cluster on this machine)",
        "pero-worker COMMAND --help               (examples of each)",
    ),
)


def _version(wanted: bool) -> None:
    if wanted:
        say(f"pero-worker {pero_worker.__version__}")
        raise typer.Exit


@app.callback()
def _program(
    version: Annotated[
        bool, typer.Option("-V", "--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    pass


def main() -> None:
    """The program; an error of ours is one line on stderr and an exit status of the README's table."""
    # Without a handler Python prints what libraries warn of; the terminal is for what the user can act on.
    logging.getLogger().addHandler(logging.NullHandler())
    try:
        app()
    except PeroWorkerError as error:
        warn(f"pero-worker: {error}")
        sys.exit(error.exit_code)
    except OSError as error:
        if error.errno not in _FULL:
            raise
        warn(f"pero-worker: cannot write: {error.strerror}: make room, then run the command again")
        sys.exit(ExitCode.OUTPUT)
    except SystemExit as end:
        if isinstance(end.__context__, OSError) and end.__context__.errno == errno.EPIPE:
            sys.exit(ExitCode.BROKEN_PIPE)
        raise
