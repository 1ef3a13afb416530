"""The ends of processes, in processes of their own."""

from __future__ import annotations

import signal
import subprocess
import sys
import time

import pytest

HEAD = """
import multiprocessing, sys, time
from pero_worker.processes import Lifetime, OnSignal, end_now
"""


def begun(program: str) -> subprocess.Popen[str]:
    process = subprocess.Popen(
        [sys.executable, "-c", HEAD + program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "begun\n"
    return process


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_asks_the_program_to_stop(number: signal.Signals) -> None:
    program = """
lifetime = Lifetime(grace=None)
lifetime.begin()
print("begun", flush=True)
lifetime.stop.wait()
print("stopped")
"""
    with begun(program) as process:
        process.send_signal(number)
        assert process.communicate(timeout=30)[0] == "stopped\n"
        assert process.returncode == 0


def test_what_does_not_listen_is_ended_by_force() -> None:
    program = """
Lifetime(grace=0.1, status=9).begin()
print("begun", flush=True)
while True:
    time.sleep(600)
"""
    with begun(program) as process:
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 9


def test_an_interrupt_reaches_the_main_thread() -> None:
    program = """
Lifetime(on_signal=OnSignal.INTERRUPT).begin()
try:
    print("begun", flush=True)
    time.sleep(600)
except KeyboardInterrupt:
    print("interrupted")
"""
    with begun(program) as process:
        process.send_signal(signal.SIGTERM)
        assert process.communicate(timeout=30)[0] == "interrupted\n"


def test_a_child_does_not_outlive_its_parent() -> None:
    """The pipe to the child's standard output closes when the child is gone."""
    program = """
def child():
    Lifetime(grace=0.0, status=1, on_signal=OnSignal.LEAVE_TO_PARENT, with_parent=True).begin()
    print("begun", flush=True)
    time.sleep(600)

multiprocessing.get_context("fork").Process(target=child).start()
time.sleep(600)
"""
    with begun(program) as process:
        process.kill()
        assert process.communicate(timeout=30)[0] == ""


@pytest.mark.parametrize(("left", "said"), [("True", "told\nleft\n"), ("False", "told\nlate\n")])
def test_a_guarded_block_that_is_not_left_in_time_ends_the_process(left: str, said: str) -> None:
    program = f"""
lifetime = Lifetime(grace=None, status=7)
lifetime.begin()
with lifetime.guard(60 if {left} else 0.1, lambda: print("told", flush=True), lambda: print("late", flush=True)):
    print("begun", flush=True)
    lifetime.stop.wait()
    while not {left}:
        time.sleep(600)
time.sleep(1)
print("left")
"""
    with begun(program) as process:
        process.send_signal(signal.SIGTERM)
        assert process.communicate(timeout=30)[0] == said
        assert process.returncode == (0 if left == "True" else 7)


BUSY = """
busy = [True]
lifetime = Lifetime(grace=0.1, status=9)
lifetime.begin()
late = lambda: print("late", flush=True)
with lifetime.guard(0.3, lambda: print("told", flush=True), late, busy=lambda: busy[0], busy_seconds={seconds}):
    print("begun", flush=True)
    lifetime.stop.wait()
    sys.stdin.readline()
    busy[0] = {then_busy}
    if not busy[0]:
        time.sleep(600)
print("left", flush=True)
"""


def test_what_is_in_hand_may_take_longer() -> None:
    with begun(BUSY.format(seconds=600, then_busy=True)) as process:
        process.send_signal(signal.SIGTERM)
        assert process.stdout is not None
        assert process.stdout.readline() == "told\n"
        time.sleep(1)
        assert process.poll() is None
        assert process.communicate("\n", timeout=30)[0] == "left\n"


def test_what_is_in_hand_has_a_limit() -> None:
    with begun(BUSY.format(seconds=0.1, then_busy=True)) as process:
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 9


def test_what_hangs_with_nothing_in_hand_has_no_more_time_than_ever() -> None:
    with begun(BUSY.format(seconds=600, then_busy=False)) as process:
        process.send_signal(signal.SIGTERM)
        process.communicate("\n", timeout=30)
        assert process.returncode == 9


def test_asked_twice_it_hurries() -> None:
    with begun(BUSY.format(seconds=600, then_busy=True)) as process:
        process.send_signal(signal.SIGTERM)
        assert process.stdout is not None
        assert process.stdout.readline() == "told\n"
        process.send_signal(signal.SIGINT)
        time.sleep(1)
        assert process.poll() is None, "Ctrl-C and the parent's SIGTERM together are one wish"
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 9
