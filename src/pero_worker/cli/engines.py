"""`pero-worker engines` and `pero-worker pipelines`: what is there."""

from __future__ import annotations

import typer

from pero_worker.engines import installed_engines
from pero_worker.engines.registry import engine_name
from pero_worker.models.pipelines import bundled_pipelines


def engines() -> None:
    """List the OCR engines and whether they can run here."""
    for engine in installed_engines():
        state = "ready" if engine.available else f"not installed: {engine.note}"
        typer.echo(f"{engine.name:12} {engine.version:12} {state}")


def pipelines() -> None:
    """List the bundled pipelines; any folder or archive with a pero-ocr config.ini is one, too."""
    for pipeline in bundled_pipelines():
        used = "+".join(dict.fromkeys(engine_name(stage.parsed()) for stage in pipeline.stages))
        typer.echo(f"{pipeline.name:14} {used:10} {pipeline.description}")
