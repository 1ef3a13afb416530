"""`make bench-durability`: what it costs to have results survive a power cut, as a share of a run and of a download.

Syncs are timed within the process, so that a busy machine does not spoil the comparison.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

from PIL import Image

from pero_worker.brokers.rabbitmq import RabbitBroker
from pero_worker.clock import SystemClock
from pero_worker.cluster.settings import cluster_access, options_in, read_settings
from pero_worker.formats import pagexml
from pero_worker.page import Line, Page, Region
from pero_worker.request import Payload, Request, StageLog, StageStatus
from pero_worker.servers.local import Addresses, LocalServers, ended_by_signal
from pero_worker.wire.requests import encode_request
from pero_worker.wire.servers import parse_server

TIMED = """
import atexit, json, os, sys, time
from pero_worker.jobs.report import Report
from pero_worker.jobs.claims import Claims
from pero_worker.cluster.pages.download import _Download
spent = {"seconds": 0.0, "commits": 0}
begun = time.perf_counter()
def timed(kind, name):
    call = getattr(kind, name)
    def measured(*arguments, **options):
        start = time.perf_counter()
        try:
            return call(*arguments, **options)
        finally:
            spent["seconds"] += time.perf_counter() - start
            spent["commits"] += 1
    setattr(kind, name, measured)
timed(Report, "commit"); timed(Claims, "sync"); timed(_Download, "_end_commit")
def tell():
    spent["all"] = time.perf_counter() - begun
    open(os.environ["TIMES"], "w").write(json.dumps(spent))
atexit.register(tell)
from pero_worker.__main__ import main
main()
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("scans", nargs="?", type=Path, help="pages for a run; drawn ones if none are named, -: no run")
    parser.add_argument("--pages", type=int, default=2000, help="results for a download")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=Path.cwd()) as name:
        home = Path(name)
        print("| what | seconds | of that syncing | share |\n| --- | --- | --- | --- |", flush=True)
        if options.scans != Path("-"):
            scans = options.scans or drawn(home / "scans", 20)
            run(home, "ocr, one process", "ocr", scans, "-o", home / "out", "-p", "rapidocr", "-j", "1", "-q")
        servers = LocalServers(home / "cluster")
        addresses = servers.start()
        os.environ["PERO_WORKER_CONFIG"] = str(addresses.client_file)
        try:
            subprocess.run([*COMMAND, "servers", "add", "mq", addresses.rabbitmq], check=True)
            for layout in ("tree", "requests"):
                fill(addresses, f"out-{layout}", options.pages)
                folder = home / layout
                run(home, f"download, {layout}", "download", f"out-{layout}", "-o", folder, "--layout", layout, "-q")
        finally:
            servers.stop(wipe=True)


COMMAND = [sys.executable, "-m", "pero_worker"]


def run(home: Path, title: str, *arguments: object) -> None:
    times = home / "times"
    command = [sys.executable, "-c", TIMED, *map(str, arguments)]
    subprocess.run(command, check=False, env={**os.environ, "TIMES": str(times)})
    found = json.loads(times.read_text())
    share = found["seconds"] / found["all"]
    print(f"| {title} | {found['all']:.1f} | {found['seconds']:.2f} | {share:.1%} |", flush=True)


def drawn(folder: Path, count: int) -> Path:
    folder.mkdir()
    for number in range(count):
        Image.new("L", (1000, 1400), 255).save(folder / f"{number}.png")
    return folder


def fill(addresses: Addresses, queue: str, count: int) -> None:
    now = SystemClock().now()
    box = ((10.0, 10.0), (90.0, 10.0), (90.0, 20.0), (10.0, 20.0))
    lines = tuple(
        Line(id=f"l{number}", baseline=box[:2], polygon=box, heights=(8.0, 2.0), text="a line of text", confidence=0.9)
        for number in range(40)
    )
    xml = pagexml.write(
        Page(name="a.png", width=100, height=100, regions=(Region(id="r", polygon=box, lines=lines),)),
        created=now,
        creator="bench",
    )
    results = (Payload(name="a.png", content=os.urandom(10_000)), Payload(name="a.png_page.xml", content=xml))
    log = StageLog(host_id="w", stage="ocr", start=now, end=now, status=StageStatus.OK)
    access = cluster_access(options_in(read_settings(addresses.client_file))).broker
    broker = RabbitBroker(replace(access, servers=(parse_server(addresses.rabbitmq),)))
    broker.wait_connected(30)
    broker.declare(queue)
    request = Request(uuid="u", page_uuid="p", stages=(queue,), results=results, logs=(log,), start_time=now)
    for number in range(count):
        page = f"{number:032x}"
        body = encode_request(replace(request, uuid=page, page_uuid=page, source=f"box{number // 100}/{number}"))
        broker.publish(queue, body)
    broker.close()
    time.sleep(1)


if __name__ == "__main__":
    with ended_by_signal():
        main()
