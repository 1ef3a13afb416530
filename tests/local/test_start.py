"""The first second of the program."""

from __future__ import annotations

import signal
import subprocess
import sys

PROGRAM = """
import builtins, signal, sys
from pero_worker.__main__ import main

real = builtins.__import__

def interrupted(name, *arguments):
    if name == "typer":
        signal.raise_signal(signal.SIGINT)
    return real(name, *arguments)

builtins.__import__ = interrupted
sys.argv = ["pero-worker", "engines"]
main()
"""


def test_an_interrupt_while_modules_are_imported_leaves_no_trace() -> None:
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (128 + signal.SIGINT, "", "")


def test_worker_processes_do_not_import_the_command_line() -> None:
    code = "import sys, pero_worker.__main__, pero_worker.local.process; sys.exit('typer' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
