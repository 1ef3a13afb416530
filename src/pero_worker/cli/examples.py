"""The examples at the end of a command's help."""

from __future__ import annotations


def examples(*lines: str) -> str:
    """Returns the lines as an epilog; typer keeps lines apart only if there is an empty line between them."""
    return "\n\n".join(["[bold]Examples[/bold]" if len(lines) > 1 else "[bold]Example[/bold]", *lines])
