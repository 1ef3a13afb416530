"""What is said to a person; nothing of what others wrote has a say over the terminal."""

from __future__ import annotations

import typer

from pero_worker.text import clean_lines, one_line


def say(text: str) -> None:
    """A line on stdout, whatever names and reasons are in it."""
    typer.echo(one_line(text))


def say_lines(text: str) -> None:
    """Several lines on stdout."""
    typer.echo(clean_lines(text))


def warn(text: str) -> None:
    """A line on stderr."""
    typer.echo(one_line(text), err=True)
