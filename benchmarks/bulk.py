"""`make bench-bulk`: time and peak memory of publishing and downloading many small pages, and a few large ones.

Uses real RabbitMQ and ZooKeeper servers, started for the run and removed afterwards, and a worker with a dummy stage.
"""

from __future__ import annotations

import argparse
import io
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from PIL import Image

from pero_worker.servers.local import LocalServers, ended_by_signal

DUMMY = "[WORKER]\nDUMMY = yes\nTIME_SCALE = 0\n"
LARGE = 4500
"""Side of a large page in pixels, which makes 61 MB per page."""


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--pages", type=int, default=20_000)
    options.add_argument("--large", type=int, default=8)
    given = options.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        servers = LocalServers(folder / "cluster")
        addresses = servers.start()
        os.environ.update(PERO_WORKER_CONFIG=str(addresses.client_file), XDG_STATE_HOME=name, XDG_CACHE_HOME=name)
        worker = None
        try:
            (folder / "config.ini").write_text(DUMMY)
            run("servers", "add", "mq", addresses.rabbitmq)
            run("stage", "add", "dummy", "-c", str(folder / "config.ini"))
            worker = subprocess.Popen([sys.executable, "-m", "pero_worker", "worker", "--id", "w"])
            print("| pages | command | seconds | pages/s | peak MB |\n| --- | --- | --- | --- | --- |", flush=True)
            measure(folder / "small", small_pages(folder / "small", given.pages))
            measure(folder / "large", large_pages(folder / "large", given.large))
        finally:
            if worker:
                worker.send_signal(signal.SIGTERM)
                worker.wait()
            servers.stop(wipe=True)


def measure(scans: Path, pages: int) -> None:
    queue = f"out-{scans.name}"
    run("stage", "add", queue)
    row(pages, "publish", run("publish", str(scans), "--stages", f"dummy,{queue}", "--job", scans.name))
    while "w " not in (listed := said("workers", "list")) or "IDLE" not in listed:
        time.sleep(0.1)
    run("workers", "assign", "w", "dummy")
    while f" {pages} waiting" not in said("queues", queue):
        time.sleep(0.5)
    row(pages, "download", run("download", queue, "-o", str(scans) + "-out"))


def row(pages: int, command: str, found: tuple[float, float]) -> None:
    seconds, peak = found
    print(f"| {pages:,} | {command} | {seconds:.1f} | {pages / seconds:.1f} | {peak:.0f} |", flush=True)


def small_pages(folder: Path, count: int) -> int:
    stream = io.BytesIO()
    Image.new("L", (64, 64), 255).save(stream, "PNG")
    for number in range(count):
        path = folder / f"box{number // 1000}" / f"page{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(stream.getvalue())
    return count


def large_pages(folder: Path, count: int) -> int:
    folder.mkdir()
    noise = np.random.default_rng(0).integers(0, 256, (LARGE, LARGE, 3), dtype=np.uint8)
    for number in range(count):
        Image.fromarray(np.roll(noise, number, 0)).save(folder / f"page{number}.png", compress_level=0)
    return count


def said(*command: str) -> str:
    return subprocess.check_output([sys.executable, "-m", "pero_worker", *command], text=True)


def run(*command: str) -> tuple[float, float]:
    """Runs a pero-worker command; returns its seconds and peak MB."""
    begun = time.perf_counter()
    process = subprocess.Popen([sys.executable, "-m", "pero_worker", *command], stdout=subprocess.DEVNULL)
    _, status, used = os.wait4(process.pid, 0)
    if status:
        sys.exit(f"{' '.join(command)} failed")
    return time.perf_counter() - begun, used.ru_maxrss / 1024


if __name__ == "__main__":
    with ended_by_signal():
        main()
