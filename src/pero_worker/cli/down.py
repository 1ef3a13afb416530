"""`pero-worker down`: stops what `pero-worker up` started."""

from __future__ import annotations

from typing import Annotated

import typer

from pero_worker.cli.examples import examples
from pero_worker.cli.late import command_app
from pero_worker.cli.say import say
from pero_worker.cli.up import Folder, folder_of
from pero_worker.servers.local import LocalServers


def down(
    folder: Folder = None,
    wipe: Annotated[bool, typer.Option("--wipe", help="Also delete their data: pages, stages, models.")] = False,
) -> None:
    """Stop the servers that `up` started; their data is kept."""
    stopped = LocalServers(folder_of(folder)).stop(wipe=wipe)
    say(f"stopped: {', '.join(stopped) or 'none ran'}")


app = command_app("down", down, examples("pero-worker down", "pero-worker down --wipe"))
