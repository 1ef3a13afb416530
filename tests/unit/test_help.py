"""What `--help` tells of every command."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import typer

from pero_worker.cli import app


def commands(command: Any, name: str = "pero-worker") -> Iterator[tuple[str, Any]]:
    below = getattr(command, "commands", None)
    if not below:
        yield name, command
        return
    for short, one in below.items():
        yield from commands(one, f"{name} {short}")


@pytest.mark.parametrize(("name", "command"), list(commands(typer.main.get_command(app))))
def test_every_command_has_examples_of_itself(name: str, command: Any) -> None:
    assert command.help
    assert "Example" in command.epilog and name in command.epilog
