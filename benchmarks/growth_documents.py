"""A run over many documents, in a process of its own, with a workforce that answers at once and does nothing: what
remains is finding documents, planning them, and recording what became of each."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import closing
from dataclasses import asdict, dataclass
from pathlib import Path

from PIL import Image

from pero_worker.clock import SystemClock
from pero_worker.errors import PageError
from pero_worker.inputs.discover import discover
from pero_worker.jobs.listener import NullListener
from pero_worker.jobs.options import RunOptions
from pero_worker.jobs.outputs import OutputFolder
from pero_worker.jobs.plan import PageTask
from pero_worker.jobs.run import run
from pero_worker.jobs.workforce import DeathListener, PageOutcome

IN_A_FOLDER = 1000
LINKS = 30_000
"""Hard links to one file, within what file systems allow."""


@dataclass(frozen=True, kw_only=True)
class RunCost:
    """What a run cost."""

    rate: float
    """Documents per second."""
    cpu_ms: float
    """CPU time per document, in milliseconds."""
    memory_mb: float
    """Peak memory, in megabytes."""


class Idle:
    """`Workforce` without results: a failed page leaves a line in the report but no file."""

    pipeline, version, wants_layout = "none", "1", False

    def __init__(self) -> None:
        self._in_hand: list[PageOutcome] = []

    def start(self, pages: int, on_death: DeathListener) -> int:
        return 1

    def wants_more(self) -> bool:
        return len(self._in_hand) < 100

    def hand_in(self, page_id: str, task: PageTask) -> None:
        self._in_hand.append(PageOutcome(page_id=page_id, error_class=PageError.failure_class, error="not done"))

    def outcomes(self, timeout: float) -> Sequence[PageOutcome]:
        found, self._in_hand = self._in_hand, []
        return found

    def stop(self, finished: bool) -> None: ...


def measure_documents(count: int) -> RunCost:
    # In memory; otherwise this would measure the disk, to which each group of sixteen is synced.
    with tempfile.TemporaryDirectory(dir="/dev/shm") as folder:
        make_scans(Path(folder) / "scans", count)
        command = [sys.executable, __file__, folder]
        answer = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    return RunCost(**json.loads(answer))


def make_scans(folder: Path, count: int) -> None:
    """Creates one picture under many names."""
    first = folder
    for number in range(count):
        path = folder / f"box{number // IN_A_FOLDER:04}" / f"{number:07}.png"
        if number % IN_A_FOLDER == 0:
            path.parent.mkdir(parents=True)
        if number % LINKS == 0:
            first = path
            Image.new("L", (1, 1)).save(path)
        else:
            os.link(first, path)


def run_here(folder: Path) -> RunCost:
    begun, spent = time.perf_counter(), time.process_time()
    documents = discover([str(folder / "scans")]).documents
    with closing(OutputFolder(folder / "out")) as output:
        summary = run(documents, Idle(), output, RunOptions(formats=("text",)), NullListener(), SystemClock())
    seconds, cpu = time.perf_counter() - begun, time.process_time() - spent
    # Not `ru_maxrss`, which is inherited from the program that started this one.
    [peak] = [line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM:")]
    memory = int(peak.split()[1]) / 1000
    return RunCost(rate=summary.failed / seconds, cpu_ms=1000 * cpu / summary.failed, memory_mb=memory)


if __name__ == "__main__":
    print(json.dumps(asdict(run_here(Path(sys.argv[1])))))
