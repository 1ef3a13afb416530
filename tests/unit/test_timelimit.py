"""Pages that take too long, in processes of their own: a process that is late does not come back."""

from __future__ import annotations

import signal
import subprocess
import sys
import time

PROGRAM = """
import os, sys
from pero_worker.worker.timelimit import time_limit
with time_limit({limit}, lambda: os._exit(75)):
    print("begun", flush=True)
    sys.stdin.readline()
print("done")
"""


def begun(limit: float) -> subprocess.Popen[str]:
    process = subprocess.Popen(
        [sys.executable, "-c", PROGRAM.format(limit=limit)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "begun\n"
    return process


def test_a_block_that_takes_too_long_ends_the_process() -> None:
    with begun(0.1) as process:
        assert process.wait(30) == 75


def test_one_that_is_in_time_goes_on() -> None:
    with begun(60) as process:
        assert process.communicate("\n", 30)[0] == "done\n"


def test_the_time_in_which_the_process_is_stopped_does_not_count() -> None:
    with begun(2) as process:
        process.send_signal(signal.SIGSTOP)
        time.sleep(2.5)
        process.send_signal(signal.SIGCONT)
        assert process.communicate("\n", 30)[0] == "done\n"
