"""`make bench-start`: what starting costs, and what an idle worker and an idle watchdog use.

    python benchmarks/start.py [commands] [idle]
    python benchmarks/start.py first PAGES_DIR         the smallest page of a folder, against importing torch

Times are CPU seconds, which a busy machine changes little. Memory is what all processes of a command hold alone or
share only with each other (PSS), and the resident size of the largest.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median

from relay import running

import pero_worker
from pero_worker.brokers.rabbitmq import RabbitBroker
from pero_worker.clock import SystemClock
from pero_worker.cluster.registry.changes import StageChange, save_stage
from pero_worker.cluster.registry.servers import MQ, set_servers
from pero_worker.cluster.registry.workers import assign, read_workers
from pero_worker.cluster.settings import cluster_access, options_in, read_settings
from pero_worker.coordinators.session import session
from pero_worker.servers.local import LocalServers, ended_by_signal
from pero_worker.wire.servers import parse_server

COMMANDS = ("--help", "--version", "pipelines", "engines", *(f"{name} --help" for name in (
    "ocr", "worker", "watchdog", "publish", "download", "status", "stage", "gateway", "train", "review"
)))  # fmt: skip
ROUNDS = 5
SETTLE_SECONDS = 5.0
DUMMY = "[WORKER]\nDUMMY = yes\nTIME_SCALE = 0\n"
MODEL = Path(pero_worker.__file__).parent / "pipelines/print-latin"
LOAD = """
import sys
import torch
torch.set_num_threads(1)
from pathlib import Path
for path in sorted(Path(sys.argv[1]).glob("*.pt")):
    torch.jit.load(path, map_location="cpu")
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Spent:
    """What a finished process took."""

    cpu: float
    """CPU seconds, including those of its children."""
    wall: float
    peak_mb: float


def spent(command: list[str], rounds: int = ROUNDS) -> Spent:
    """Returns the median of several runs."""
    found = []
    for _ in range(rounds):
        begun = time.monotonic()
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            sys.exit(f"{' '.join(command)} failed ({process.returncode})")
        cpu = usage.ru_utime + usage.ru_stime
        found.append(Spent(cpu=cpu, wall=time.monotonic() - begun, peak_mb=usage.ru_maxrss / 1024))
    return Spent(
        cpu=median(one.cpu for one in found),
        wall=median(one.wall for one in found),
        peak_mb=median(one.peak_mb for one in found),
    )


def commands() -> None:
    print("| command | CPU s | peak MB |\n| --- | --- | --- |")
    for command in COMMANDS:
        one = spent([sys.executable, "-m", "pero_worker", *command.split()])
        print(f"| `{command}` | {one.cpu:.2f} | {one.peak_mb:.0f} |", flush=True)


def family(process: int) -> list[int]:
    """Returns the process and all its descendants."""
    parents: dict[int, int] = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            parents[int(stat.parent.name)] = int(stat.read_text().rpartition(")")[2].split()[1])
        except OSError:
            continue
    found = [process]
    for one in found:
        found.extend(child for child, parent in parents.items() if parent == one)
    return found


def memory(process: int) -> list[tuple[float, float]]:
    """Returns RSS and PSS of the process and each of its descendants, in MB."""
    sizes = []
    for one in family(process):
        lines = Path(f"/proc/{one}/smaps_rollup").read_text().splitlines()[1:]
        values = {line.split(":")[0]: int(line.split()[1]) for line in lines}
        sizes.append((values["Rss"] / 1024, values["Pss"] / 1024))
    return sizes


def idle() -> None:
    print("\n| idle | processes | RSS MB, summed | PSS MB, summed |\n| --- | --- | --- | --- |")
    with tempfile.TemporaryDirectory() as folder:
        servers = LocalServers(Path(folder) / "cluster")
        addresses = servers.start()
        environment = {
            **os.environ,
            "PERO_WORKER_CONFIG": str(addresses.client_file),
            "PERO_WORKER_CACHE": f"{folder}/cache",
        }
        access = cluster_access(options_in(read_settings(addresses.client_file)))
        try:
            with session(access.zookeeper) as client:
                set_servers(client, MQ, [addresses.rabbitmq])
                broker = RabbitBroker(replace(access.broker, servers=(parse_server(addresses.rabbitmq),)))
                broker.wait_connected(15)
                for name, config in (("dummy", DUMMY), ("out", None)):
                    save_stage(client, broker, name, StageChange(config=config), SystemClock().now())
                broker.close()
                with (
                    running(environment, "watchdog") as watchdog,
                    running(environment, "worker", "--id", "w") as worker,
                ):
                    while not any(found.status == "IDLE" for found in read_workers(client)):
                        time.sleep(0.05)
                    time.sleep(SETTLE_SECONDS)
                    show("worker", worker.pid)
                    assign(client, "w", "dummy")
                    while not read_workers(client)[0].facts.get("stages"):
                        time.sleep(0.05)
                    time.sleep(SETTLE_SECONDS)
                    show("worker that holds a dummy stage", worker.pid)
                    show("watchdog", watchdog.pid)
        finally:
            servers.stop(wipe=True)


def show(name: str, process: int) -> None:
    sizes = memory(process)
    rss, pss = (sum(column) for column in zip(*sizes, strict=True))
    each = " + ".join(f"{one:.0f}" for one, _ in sizes)
    print(f"| {name} | {len(sizes)} | {rss:.0f} ({each}) | {pss:.0f} |", flush=True)


def first(folder: Path) -> None:
    image = min(folder.iterdir(), key=lambda path: (path.suffix not in {".jpg", ".png"}, path.stat().st_size))
    print("\n| until the first page is done | CPU s | wall s |\n| --- | --- | --- |")
    with tempfile.TemporaryDirectory() as out:
        bare = spent([sys.executable, "-c", LOAD, str(MODEL)])
        options = ["-f", "page", "-q", "--jobs", "1"]
        one = spent([sys.executable, "-m", "pero_worker", "ocr", str(image), "-o", f"{out}/one", *options], 1)
        print(f"| import torch, load the nets | {bare.cpu:.2f} | {bare.wall:.2f} |")
        print(f"| `ocr` of one page | {one.cpu:.2f} | {one.wall:.2f} |")


if __name__ == "__main__":
    wanted = sys.argv[1:] or ["commands", "idle"]
    if wanted[0] == "first":
        first(Path(wanted[1]))
    if "commands" in wanted:
        commands()
    if "idle" in wanted:
        with ended_by_signal():
            idle()
