"""Commands that are loaded when they are used."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import import_module
from typing import Any, ClassVar

import typer
from typer.core import TyperCommand, TyperGroup


@dataclass(frozen=True, slots=True, kw_only=True)
class Command:
    """A command of the program."""

    module: str
    """Of this room; it is imported when the command is used."""
    help: str
    """Its line in the list of commands: how its own help begins."""
    attribute: str = "app"
    """What the module calls it: a `typer.Typer`."""


def command_app(name: str, function: Callable[..., Any], epilog: str) -> typer.Typer:
    """One command, to be loaded by a `LateGroup`."""
    app = typer.Typer(add_completion=False)
    app.command(name, epilog=epilog)(function)
    return app


class LateGroup(TyperGroup):
    """Commands of which only the names and a line of help are known, until one is used: a program starts in a tenth of
    the time."""

    table: ClassVar[Mapping[str, Command]] = {}
    """Names to commands, in the order of the list."""

    def __init__(self, **attributes: Any) -> None:
        super().__init__(**attributes)
        self.commands = {name: TyperCommand(name, help=command.help) for name, command in self.table.items()}

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        found = self.table.get(cmd_name)
        if found is None:
            return None
        app: typer.Typer = getattr(import_module(f"{__package__}.{found.module}"), found.attribute)
        single = app.registered_callback is None and len(app.registered_commands) == 1
        command = typer.main.get_command(app) if single else typer.main.get_group(app)
        command.name = cmd_name
        return command

    def format_help(self, ctx: Any, formatter: Any) -> None:
        outline = TyperGroup(
            name=self.name,
            commands=dict(self.commands),
            params=self.params,
            help=self.help,
            epilog=self.epilog,
            rich_markup_mode=self.rich_markup_mode,
        )
        outline.format_help(ctx, formatter)
