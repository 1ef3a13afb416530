"""Settings that hold for all tests."""

from __future__ import annotations

import os
import shutil
import signal
import tempfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from pero_worker.servers.daemon import Daemon

# Speed is measured by benchmarks: a busy machine must not fail a test. A change is judged by the same cases every time;
# new ones are looked for by `make fuzz`, which says how many for each property.
CASES = int(os.environ.get("PERO_WORKER_FUZZ", "0"))
settings.register_profile(
    "untimed",
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
    derandomize=not CASES,
    max_examples=CASES or 100,
)
settings.load_profile("untimed")

SERVERS = "PERO_WORKER_TEST_SERVERS"


def pytest_configure(config: pytest.Config) -> None:
    """The folder of the servers that all processes of this run share. Ctrl-C works in the programs that are started,
    also when this run is a job in the background."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    if not hasattr(config, "workerinput"):
        # As Ctrl-C: what tests began, servers above all, does not go on without them.
        signal.signal(signal.SIGTERM, lambda *_: pytest.exit("ended by SIGTERM", returncode=128 + signal.SIGTERM))
        os.environ[SERVERS] = tempfile.mkdtemp(prefix="pero-servers-")
        # Where commands would find the cluster that whoever runs the tests has started.
        os.environ["XDG_STATE_HOME"] = str(Path(os.environ[SERVERS]) / "state")


def pytest_unconfigure(config: pytest.Config) -> None:
    if hasattr(config, "workerinput"):
        return
    folder = Path(os.environ.pop(SERVERS))
    for pid_file in folder.glob("*/*.pid"):
        Daemon(name=pid_file.stem, folder=pid_file.parent).stop(signal.SIGKILL)
    shutil.rmtree(folder, ignore_errors=True)
