"""The command line: only parses and prints, with one module per command."""

from __future__ import annotations

import errno
import logging
import sys
from collections.abc import Mapping
from dataclasses import replace
from typing import Annotated

import typer

import pero_worker
from pero_worker.cli.examples import examples
from pero_worker.cli.late import LateCommand, LateGroup
from pero_worker.cli.say import say, warn
from pero_worker.errors import ExitCode, PeroWorkerError

_FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
"""Errors of a disk that cannot be written any further."""
_PANELS: Mapping[str, Mapping[str, LateCommand]] = {
    "On one machine": {
        "ocr": LateCommand(module="ocr", help="Turn scans into PAGE XML, ALTO, text, hOCR, JSON and searchable PDF."),
        "convert": LateCommand(module="convert", help="Write existing results in more formats, in seconds."),
        "review": LateCommand(
            module="review", help="List the worst pages and lines, and show each line's picture next to its text."
        ),
        "report": LateCommand(
            module="report", help="Sum up the outcome of the pages in result folders, and their cost."
        ),
        "train": LateCommand(
            module="train", help="Tune the recogniser to a hand or a typeface, with pages that are already transcribed."
        ),
        "pipelines": LateCommand(
            module="pipelines",
            help="List the bundled pipelines; any folder or archive with a pero-ocr config.ini is one too.",
        ),
        "engines": LateCommand(module="engines", help="List the OCR engines and whether they can run here."),
    },
    "With other programs of libraries": {
        "export": LateCommand(module="export", help="Results for other programs: IIIF viewers, eScriptorium."),
        "mets": LateCommand(
            module="mets",
            help="Enter a run's results into the METS that its pages came from; files are written next to it.",
        ),
        "ocrd-zip": LateCommand(module="mets", help="Pack a METS and its files as an OCRD-ZIP.", attribute="zip_app"),
        "kitodo": LateCommand(
            module="kitodo", help="Read the pictures of a process in Kitodo.Production; for the script of a task."
        ),
    },
    "A cluster's work": {
        "publish": LateCommand(module="publish", help="Send pages into the cluster."),
        "download": LateCommand(
            module="download",
            help="Collect results from an output queue; each page is written once, however often it is delivered.",
        ),
        "cancel": LateCommand(module="cancel", help="Cancel a job's pages that are not done."),
        "status": LateCommand(
            module="status",
            help="Show problems with their remedies, then stages and queues, workers and what they do, and who leads.",
        ),
        "dead": LateCommand(module="dead", help="Messages that no worker could use, in the queue pero.dead."),
    },
    "A cluster's parts": {
        "up": LateCommand(
            module="up", help="Start RabbitMQ, ZooKeeper and an FTP server for this machine, and register them."
        ),
        "down": LateCommand(module="down", help="Stop the servers that `up` started; their data is kept."),
        "set-up": LateCommand(
            module="setup",
            help="Create what RabbitMQ, ZooKeeper, a model store and all clients need to use TLS and passwords.",
        ),
        "payloads": LateCommand(
            module="payloads",
            help="Keep images and results in a store next to RabbitMQ, which then carries references.",
        ),
        "servers": LateCommand(module="servers", help="The servers registered in ZooKeeper."),
        "stage": LateCommand(module="stage", help="Stages: what is done to pages, and with which model."),
        "worker": LateCommand(module="worker", help="Serve the stages that the watchdog assigns, until told to stop."),
        "workers": LateCommand(module="workers", help="Workers: who they are, and what they should do."),
        "watchdog": LateCommand(module="watchdog", help="Assign workers to stages, until told to stop."),
        "queues": LateCommand(module="queues", help="Show exact numbers of waiting pages."),
        "log": LateCommand(module="log", help="The workers' log lines, from RabbitMQ's queue `log`."),
        "metrics": LateCommand(module="metrics", help="Metrics of the whole cluster in Prometheus' format."),
    },
    "Over HTTP": {
        "gateway": LateCommand(module="gateway", help="Serve the PERO API and DocAPI over HTTP."),
        "keys": LateCommand(module="keys", help="Keys of the gateway: add, list, revoke, import."),
        "jobs": LateCommand(module="jobs", help="Jobs of a gateway: list, show, cancel, retry."),
    },
}
"""The commands, in the order in which `--help` lists them."""
COMMANDS: Mapping[str, LateCommand] = {
    name: replace(command, panel=panel) for panel, commands in _PANELS.items() for name, command in commands.items()
}


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
    """Runs the program. A `PeroWorkerError` becomes one line on stderr and an exit status from the README's table."""
    # Without a handler Python prints libraries' warnings; the terminal is for what the user can act on.
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
