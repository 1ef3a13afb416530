"""What is said to a person; nothing of what others wrote has a say over the terminal."""

from __future__ import annotations

import typer

from pero_worker.text import clean_lines


def say(text: str) -> None:
    """On stdout."""
    typer.echo(clean_lines(text))


def warn(text: str) -> None:
    """On stderr."""
    typer.echo(clean_lines(text), err=True)
