"""`pero-worker pipelines`: lists the bundled pipelines."""

from __future__ import annotations

import json
from typing import Annotated

import typer

from pero_worker.cli.examples import examples
from pero_worker.cli.late import command_app
from pero_worker.cli.listing import print_list
from pero_worker.engines.registry import engine_name
from pero_worker.models.pipelines import bundled_pipelines


def pipelines(as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False) -> None:
    """List the bundled pipelines; any folder or archive with a pero-ocr config.ini is one too."""
    found = [
        {
            "name": pipeline.name,
            "engines": list(dict.fromkeys(engine_name(stage.parsed()) for stage in pipeline.stages)),
            "version": pipeline.version,
            "description": pipeline.description,
        }
        for pipeline in bundled_pipelines()
    ]
    if as_json:
        typer.echo(json.dumps(found))
        return
    print_list(
        ("pipeline", "engine", "for"),
        [(one["name"], "+".join(one["engines"]), one["description"]) for one in found],
        empty="no pipeline is bundled",
    )


app = command_app("pipelines", pipelines, examples("pero-worker pipelines", "pero-worker pipelines --json"))
