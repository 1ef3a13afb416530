"""Prints messages for people; text from outside cannot control the terminal."""

from __future__ import annotations

import typer

from pero_worker.text import clean_lines, one_line


def say(text: str) -> None:
    """Prints a line on stdout, whatever names and reasons it contains."""
    typer.echo(one_line(text))


def say_lines(text: str) -> None:
    """Prints several lines on stdout."""
    typer.echo(clean_lines(text))


def warn(text: str) -> None:
    """Prints a line on stderr."""
    typer.echo(one_line(text), err=True)
