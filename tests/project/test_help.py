"""What `--help` tells of every command, and what it costs."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest
import typer

from pero_worker.cli import COMMANDS, app

PROGRAM: Any = typer.main.get_command(app)
HEAVY = {"numpy", "PIL", "lxml", "pypdfium2", "pikepdf", "kazoo", "pika", "torch", "cv2", "fsspec", "paramiko"}

TELLS_MODULES = """
import sys
from pero_worker.cli import main
try: main()
finally: print(*sys.modules, file=sys.stderr)
"""
"""The program, which then writes the names of all modules to stderr."""


def commands(command: Any, name: str = "pero-worker") -> Iterator[tuple[str, Any]]:
    if not hasattr(command, "list_commands"):
        yield name, command
        return
    for short in command.list_commands(None):
        yield from commands(command.get_command(None, short), f"{name} {short}")


@pytest.mark.parametrize(("name", "command"), list(commands(PROGRAM)))
def test_every_command_has_examples_of_itself(name: str, command: Any) -> None:
    assert command.help
    assert "Example" in command.epilog and name in command.epilog


@pytest.mark.parametrize("name", COMMANDS)
def test_the_list_of_commands_tells_what_each_tells_of_itself(name: str) -> None:
    own = " ".join(PROGRAM.get_command(None, name).help.split())
    assert own.startswith(COMMANDS[name].help.removesuffix("."))


@pytest.mark.parametrize(
    "arguments",
    [["--help"], ["--version"], ["-V"], ["engines"], ["pipelines"], ["ocr", "--help"], ["worker", "-h"]],
)
def test_what_needs_no_page_loads_nothing_heavy(arguments: list[str]) -> None:
    ran = subprocess.run([sys.executable, "-c", TELLS_MODULES, *arguments], capture_output=True, text=True, check=True)
    assert ran.stdout
    assert not HEAVY & set(ran.stderr.split())


@pytest.mark.parametrize("arguments", [["--help"], ["ocr", "--help"], ["stage", "add", "-h"]])
def test_help_does_not_load_what_checks_options(arguments: list[str]) -> None:
    ran = subprocess.run([sys.executable, "-c", TELLS_MODULES, *arguments], capture_output=True, text=True, check=True)
    assert "Usage" in ran.stdout
    assert "pydantic" not in ran.stderr.split()


@pytest.mark.parametrize("arguments", [["nothing", "--help"], ["stage", "nothing", "--help"], ["stage", "--hlep"]])
def test_help_of_what_is_no_command_is_refused(arguments: list[str]) -> None:
    ran = subprocess.run([sys.executable, "-m", "pero_worker", *arguments], capture_output=True, text=True, check=False)
    assert (ran.returncode, ran.stdout) == (2, "") and "No such" in ran.stderr


def test_the_list_names_every_command() -> None:
    command = [sys.executable, "-m", "pero_worker", "--help"]
    shown = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert all(f" {name} " in shown for name in COMMANDS)


def test_a_command_that_is_no_command_is_refused_with_one_like_it() -> None:
    command = [sys.executable, "-m", "pero_worker", "statsu"]
    ran = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (ran.returncode, ran.stdout) == (2, "") and "'status'" in ran.stderr


def test_output_that_nobody_reads_is_no_bug() -> None:
    command = [sys.executable, "-m", "pero_worker", "ocr", "--help"]
    ran = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert ran.stdout is not None and ran.stderr is not None
    ran.stdout.close()
    assert (ran.stderr.read(), ran.wait()) == (b"", 141)
    ran.stderr.close()


def test_a_shell_gets_its_completion() -> None:
    command = [sys.executable, "-m", "pero_worker", "--show-completion", "bash"]
    # Else the shell is looked for among the parents of the process, and there may be none.
    environment = {**os.environ, "_TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION": "1"}
    ran = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert "COMPLETE" in ran.stdout, ran.stderr
