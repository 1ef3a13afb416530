"""Examples under a command's help."""

from __future__ import annotations


def examples(*lines: str) -> str:
    """As an epilog: typer keeps lines apart that an empty one parts."""
    return "\n\n".join(["[bold]Examples[/bold]" if len(lines) > 1 else "[bold]Example[/bold]", *lines])
