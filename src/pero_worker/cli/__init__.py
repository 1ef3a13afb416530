"""The command line: parsing and printing only, one module a command."""

from __future__ import annotations

import logging
import sys
from typing import Annotated

import typer

import pero_worker
from pero_worker.cli import (
    dead,
    engines,
    gateway,
    keys,
    log,
    ocr,
    publish,
    queues,
    servers,
    servers_local,
    setup,
    stage,
    status,
    train,
    watchdog,
    worker,
    workers,
)
from pero_worker.cli.access import cluster_command
from pero_worker.cli.examples import examples
from pero_worker.errors import PeroWorkerError

app = typer.Typer(
    name="pero-worker",
    help="Turns scans into text with PERO OCR.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog=examples(
        "pero-worker ocr scans/ -o text/          (on this machine)",
        "pero-worker up                           (the servers of a cluster on this machine)",
        "pero-worker COMMAND --help               (examples of each)",
    ),
)
app.command("ocr", epilog=ocr.EPILOG)(ocr.ocr)
app.command("train", epilog=train.EPILOG)(train.train)
app.command("engines", epilog=examples("pero-worker engines"))(engines.engines)
app.command("pipelines", epilog=examples("pero-worker pipelines"))(engines.pipelines)
app.command("worker", epilog=worker.EPILOG)(cluster_command(worker.worker))
app.add_typer(watchdog.app, name="watchdog")
app.add_typer(stage.app, name="stage")
app.add_typer(servers.app, name="servers")
app.add_typer(workers.app, name="workers")
app.command("publish", epilog=publish.PUBLISH_EPILOG)(cluster_command(publish.publish_command))
app.command("download", epilog=publish.DOWNLOAD_EPILOG)(cluster_command(publish.download_command))
app.command("status", epilog=status.EPILOG)(cluster_command(status.status))
app.command("gateway", epilog=gateway.EPILOG)(gateway.gateway)
app.add_typer(keys.app, name="keys")
app.add_typer(dead.app, name="dead")
app.add_typer(log.app, name="log")
app.command("set-up", epilog=setup.EPILOG)(setup.set_up)
app.command("up", epilog=servers_local.UP_EPILOG)(servers_local.up)
app.command("down", epilog=examples("pero-worker down", "pero-worker down --wipe"))(servers_local.down)
app.command("queues", epilog=examples("pero-worker queues", "pero-worker queues out results"))(
    cluster_command(queues.queues)
)


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"pero-worker {pero_worker.__version__}")
        raise typer.Exit


@app.callback()
def _program(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
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
        typer.echo(f"pero-worker: {error}", err=True)
        sys.exit(error.exit_code)
