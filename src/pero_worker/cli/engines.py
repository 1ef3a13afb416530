"""`pero-worker engines`: lists the engines that can run here."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Annotated

import typer

from pero_worker.cli.examples import examples
from pero_worker.cli.late import command_app
from pero_worker.cli.listing import print_list
from pero_worker.engines.registry import installed_engines


def engines(as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False) -> None:
    """List the OCR engines and whether they can run here."""
    found = installed_engines()
    if as_json:
        typer.echo(json.dumps([asdict(engine) for engine in found]))
        return
    print_list(
        ("engine", "version", "state"),
        [(one.name, one.version, "ready" if one.available else f"not installed: {one.note}") for one in found],
        empty="no engine is installed: pip install 'pero-worker[pero]'",
    )


app = command_app("engines", engines, examples("pero-worker engines", "pero-worker engines --json"))
