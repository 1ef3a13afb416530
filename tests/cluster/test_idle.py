"""An idle worker and an idle watchdog have loaded no library that only pages need."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from start import family

from pero_worker.cluster.registry.workers import read_workers
from pero_worker.cluster.status import leader

if TYPE_CHECKING:
    from cluster.conftest import TestCluster

FOR_PAGES = ("numpy", "PIL", "lxml", "pypdfium2_raw", "pikepdf", "pi_heif", "shapely", "torch", "scipy")
"""Folders of compiled libraries: a process that imports one has some of its files mapped into memory."""
COMMANDS: dict[str, tuple[list[str], Callable[[object], bool]]] = {
    "worker": (["worker", "--id", "w"], lambda client: any(one.status == "IDLE" for one in read_workers(client))),
    "watchdog": (["watchdog"], lambda client: bool(leader(client))),
}


@pytest.mark.parametrize("name", COMMANDS)
def test_who_waits_for_pages_holds_no_library_for_them(cluster: TestCluster, tmp_path: Path, name: str) -> None:
    command, ready = COMMANDS[name]
    environment = cluster.environment() | {"PERO_WORKER_CACHE": str(tmp_path)}
    with (
        cluster.client() as client,
        subprocess.Popen([sys.executable, "-m", "pero_worker", *command], env=environment) as process,
    ):
        try:
            deadline = time.monotonic() + 60
            while not ready(client):
                assert time.monotonic() < deadline and process.poll() is None
                time.sleep(0.05)
            maps = "".join(Path(f"/proc/{one}/maps").read_text() for one in family(process.pid))
        finally:
            process.terminate()
    assert "/_ssl." in maps, "compiled modules would be seen"
    assert [library for library in FOR_PAGES if f"/{library}/" in maps] == []
