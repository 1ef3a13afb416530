"""Writes the reference of the command line from the program itself, so that it cannot be out of date.

An option or a command without a description is an error.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import typer

from pero_worker.cli import app

_MARKUP = re.compile(r"\[/?bold\]")
_HELP_OPTION = "--help"


def commands(command: Any, context: Any, name: str) -> Iterator[tuple[str, Any, Any]]:
    """The leaves below `command`: their whole name, the command, its context."""
    if not hasattr(command, "list_commands"):
        yield name, command, context
        return
    for short in command.list_commands(context):
        below = command.get_command(context, short)
        if below is not None and not below.hidden:
            yield from commands(below, type(context)(below, info_name=short, parent=context), f"{name} {short}")


def all_commands() -> list[tuple[str, Any, Any]]:
    program = typer.main.get_command(app)
    return list(commands(program, program.make_context("pero-worker", [], resilient_parsing=True), "pero-worker"))


def missing_descriptions() -> list[str]:
    """Commands and options that say nothing of themselves."""
    missing = []
    for name, command, _ in all_commands():
        if not (command.help or "").strip():
            missing.append(name)
        for parameter in command.params:
            option = parameter.opts[0].startswith("-") and not getattr(parameter, "hidden", False)
            if option and not (parameter.help or "").strip():
                missing.append(f"{name} {_names(parameter)}")
    return missing


def write_reference(path: Path) -> None:
    """ValueError: something is undocumented."""
    missing = missing_descriptions()
    if missing:
        raise ValueError(f"without a description: {', '.join(missing)}")
    parts = [
        "# Commands",
        "",
        "Made from the program by `docs/commands.py`; `pero-worker COMMAND --help` says the same.",
        "",
    ]
    for name, command, context in all_commands():
        parts += [f"## {name}", "", _escaped((command.help or "").strip()), "", "```text"]
        parts += [f"{name} {' '.join(command.collect_usage_pieces(context))}", "```", ""]
        rows = [_row(one, context) for one in command.params if not getattr(one, "hidden", False)]
        rows = [row for row in rows if _HELP_OPTION not in row]
        if rows:
            parts += ["| option | meaning |", "| --- | --- |", *rows, ""]
        if command.epilog:
            parts += ["```text", _MARKUP.sub("", command.epilog).strip(), "```", ""]
    text = "\n".join(parts)
    if not path.exists() or path.read_text("utf-8") != text:
        path.write_text(text, "utf-8")


def _names(parameter: Any) -> str:
    names = [*parameter.opts, *parameter.secondary_opts]
    return ", ".join(names) if names[0].startswith("-") else (parameter.metavar or parameter.name.upper())


def _row(parameter: Any, context: Any) -> str:
    value = getattr(parameter, "metavar", None) or ""
    names = _names(parameter)
    shown = f"`{names}`" + (f" {_escaped(value)}" if value and names != value else "")
    notes = [_escaped(getattr(parameter, "help", "") or "")]
    variable = getattr(parameter, "envvar", None)
    if variable:
        notes.append(f"Environment: `{variable}`.")
    default = parameter.get_default(context, call=False)
    if default not in (None, "", False, (), []) and not callable(default):
        notes.append(f"Default: `{default}`.")
    return f"| {shown} | {' '.join(note for note in notes if note)} |"


def _escaped(text: str) -> str:
    return text.replace("|", "\\|").replace("<", "&lt;").replace("[", "\\[").replace("*", "\\*").replace("\n", " ")
