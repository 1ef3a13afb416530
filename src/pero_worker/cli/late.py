"""Commands that are loaded only when they are used."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import Any, ClassVar

import typer
from typer.core import TyperCommand, TyperGroup


@dataclass(frozen=True, slots=True, kw_only=True)
class LateCommand:
    """A command of the program."""

    module: str
    """The command's module in this package, imported when the command is used."""
    help: str
    """The command's line in the list of commands, with which its own help begins."""
    attribute: str = "app"
    """Name of the command's `typer.Typer` in the module."""
    panel: str | None = None
    """The section of the list that the command appears in."""


def command_app(name: str, function: Callable[..., Any], epilog: str) -> typer.Typer:
    """Returns the app of a single command, to be loaded by a `LateGroup`."""
    app = typer.Typer(add_completion=False)
    app.command(name, epilog=epilog)(function)
    return app


class LateGroup(TyperGroup):
    """Commands of which only the names and a line of help are known until one is used: this cuts the start to a tenth
    of the time."""

    table: ClassVar[Mapping[str, LateCommand]] = {}
    """Commands by name, in the order of the list."""

    def __init__(self, **attributes: Any) -> None:
        super().__init__(**attributes)
        self.commands = {
            name: TyperCommand(name, help=command.help, rich_help_panel=command.panel)
            for name, command in self.table.items()
        }

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Shows a command's help without reading any options: what checks their values takes longer to load than
        everything else."""
        if args and args[-1] in ctx.help_option_names:
            _show_help(self, ctx, args[:-1])
        return super().parse_args(ctx, args)

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


def _show_help(command: Any, context: Any, names: Sequence[str]) -> None:
    """Shows the help of the command that `names` lead to and ends the program; does nothing if they lead to none."""
    for name in names:
        inner = command.get_command(context, name) if isinstance(command, TyperGroup) else None
        if inner is None:
            return
        context = inner.context_class(inner, info_name=name, parent=context, **inner.context_settings)
        command = inner
    typer.echo(command.get_help(context), color=context.color)
    context.exit()
