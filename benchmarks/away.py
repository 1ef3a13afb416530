"""What a farm costs and how soon it ends or goes on while a server is away (make bench-away).

python benchmarks/away.py [--seconds N] [--pages N]
"""

from __future__ import annotations

import argparse
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from faults.chaos_farm import WATCHDOGS, WORKERS, FarmUnderFire, children
from faults.chaos_pages import Pipeline

from pero_worker.brokers.rabbitmq import RabbitBroker
from pero_worker.clock import SystemClock
from pero_worker.cluster import workers
from pero_worker.cluster.stages import StageChange, save_stage
from pero_worker.cluster.status import leader
from pero_worker.cluster.workforce import publish_surely
from pero_worker.request import Payload, Request
from pero_worker.wire.queues import LOG_QUEUE
from pero_worker.wire.requests import encode_request
from pero_worker.wire.tree import TREE

DUMMY = "[WORKER]\nDUMMY = yes\nTIME_SCALE = 0\n"
LONG = 15
"""Seconds that a page takes which nobody waits for when a worker is told to end."""
STAGES = {
    "fast": DUMMY,
    "slow": f"{DUMMY}TIME_DIFF_MIN = {LONG}\nTIME_DIFF_MAX = {LONG}\n",
    "failing": f"{DUMMY}FAILTEST = yes\n",
}
PARTS = ("worker0", "watchdog0", "download", "log")
EXPIRY = 6.0
"""Seconds after which ZooKeeper has forgotten who did not say good-bye."""
TICKS = os.sysconf("SC_CLK_TCK")


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--seconds", type=float, default=20.0, help="how long a server is away")
    arguments.add_argument("--pages", type=int, default=3000, help="failing pages in a row")
    arguments.add_argument("--part", action="append", choices=["absence", "failures", "endings"], help="default: all")
    given = arguments.parse_args()
    parts = {
        "absence": lambda: show_absence(farm, given.seconds),
        "failures": lambda: show_failures(farm, given.pages),
        "endings": lambda: show_endings(farm),
    }
    with tempfile.TemporaryDirectory(prefix="pero-away-") as name, farm_of(Path(name)) as farm:
        for part in given.part or parts:
            parts[part]()


@contextmanager
def farm_of(folder: Path) -> Iterator[FarmUnderFire]:
    (folder / "model").mkdir()
    farm = FarmUnderFire(folder, Pipeline(STAGES, (), {}, folder / "model"), random.Random(1))
    try:
        farm.set_up()
        with farm.connected() as (client, broker):
            save_stage(client, broker, LOG_QUEUE, StageChange(), SystemClock().now())
        farm.add("log", farm.zk, "log", "daemon", "-o", str(folder / "logs"))
        done(farm, send(farm, "fast"))
        yield farm
    finally:
        farm.close()


# -- away, and back ----------------------------------------------------------------------------------------------


def show_absence(farm: FarmUnderFire, seconds: float) -> None:
    print(f"| away for {seconds:.0f} s | {' | '.join(f'{part}, % of a core' for part in PARTS)} | goes on after s |")
    print("| --- " * (len(PARTS) + 2) + "|")
    doors = (farm.zk, *farm.dogs)
    for name, go, come in (
        ("RabbitMQ, port closed", lambda: farm.rabbit.daemon.stop(signal.SIGKILL), farm.rabbit.start),
        ("RabbitMQ, connects but never answers", lambda: shut(farm.amqp), lambda: open_up(farm.amqp)),
        ("RabbitMQ, hangs up at once", lambda: hang_up(farm.amqp), lambda: open_up(farm.amqp)),
        ("ZooKeeper, port closed", lambda: farm.zookeeper.stop(signal.SIGKILL), farm.zookeeper.start),
        ("ZooKeeper, connects but never answers", lambda: shut(*doors), lambda: open_up(*doors)),
        ("ZooKeeper, hangs up at once", lambda: hang_up(*doors), lambda: open_up(*doors)),
    ):
        go()
        before = {part: cpu(farm, part) for part in PARTS}
        time.sleep(seconds)
        used = [100 * (cpu(farm, part) - before[part]) / seconds for part in PARTS]
        come()
        begun = time.monotonic()
        if name.startswith("RabbitMQ"):
            done(farm, send(farm, "fast"))
        else:
            wait(lambda: all_there(farm))
        print(f"| {name} | {' | '.join(f'{part:.1f}' for part in used)} | {time.monotonic() - begun:.1f} |", flush=True)


def shut(*proxies: object) -> None:
    for proxy in proxies:
        proxy.refusing = True
        proxy.cut()


def hang_up(*proxies: object) -> None:
    for proxy in proxies:
        proxy.hanging_up = True
        proxy.cut()


def open_up(*proxies: object) -> None:
    for proxy in proxies:
        proxy.refusing = proxy.hanging_up = False


def cpu(farm: FarmUnderFire, part: str) -> float:
    """Seconds that the process and its workers have used."""
    process = farm.process(part)
    total = 0
    for pid in (process.pid, *children(process.pid)):
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        total += int(fields[11]) + int(fields[12])
    return total / TICKS


def all_there(farm: FarmUnderFire) -> bool:
    with farm.connected() as (client, _):
        return bool(leader(client)) and all(worker.connected for worker in workers.read_workers(client))


# -- failing pages -----------------------------------------------------------------------------------------------


def show_failures(farm: FarmUnderFire, pages: int) -> None:
    pids = worker_processes(farm)
    begun = time.monotonic()
    for _ in range(pages):
        send(farm, "failing")
    done(farm, NUMBERS[-1])
    same = pids == worker_processes(farm)
    records = farm.report.count(b'"status":"failed"')
    print(
        f"\n{pages} pages in a row that fail three times each: {records} listed as failed after "
        f"{time.monotonic() - begun:.0f} s, workers are {'the same processes' if same else 'OTHER PROCESSES'}"
    )


def worker_processes(farm: FarmUnderFire) -> list[int]:
    return [pid for number in range(WORKERS) for pid in farm.processes_of(f"worker{number}")]


# -- endings -----------------------------------------------------------------------------------------------------


def show_endings(farm: FarmUnderFire) -> None:
    time.sleep(EXPIRY)
    print("\n| told to end | while | seconds | status, connected |\n| --- | --- | --- | --- |")
    for part in ("worker0", "watchdog0", "download", "log"):
        for state, proxies in (
            ("idle", ()),
            ("RabbitMQ does not answer", (farm.amqp,)),
            ("ZooKeeper does not answer", (farm.zk, *farm.dogs)),
        ):
            shut(*proxies)
            time.sleep(3 if proxies else 0)
            seconds = end(farm, part, signal.SIGTERM)
            open_up(*proxies)
            tell(farm, part, state, seconds)
    for how in ("SIGTERM", "SIGINT", "workers stop"):
        number = send(farm, "slow")
        wait(lambda: busy(farm))
        part = busy(farm)
        seconds = end(farm, part, stop_from_afar if how == "workers stop" else getattr(signal, how))
        tell(farm, part, f"a page of {LONG} s, by {how}", seconds)
        done(farm, number)
    scans = farm.folder / "scans"
    scans.mkdir()
    (scans / "a.png").write_bytes(b"no image, but nobody looks")
    for name, command in (
        ("publish", ["publish", str(scans), "--stages", "slow,out"]),
        (
            "ocr --cluster",
            ["ocr", str(scans), "-o", str(farm.folder / "text"), "--cluster", zoo(farm), "--stages", "slow"],
        ),
    ):
        shut(farm.amqp)
        process = subprocess.Popen([sys.executable, "-m", "pero_worker", *command], env=environment(farm))
        time.sleep(8)
        begun = time.monotonic()
        process.send_signal(signal.SIGTERM)
        process.wait(120)
        open_up(farm.amqp)
        print(f"| {name} | RabbitMQ does not answer | {time.monotonic() - begun:.1f} | |", flush=True)


def end(farm: FarmUnderFire, part: str, how: int | Callable[[FarmUnderFire, str], None]) -> float:
    process = farm.process(part)
    begun = time.monotonic()
    if callable(how):
        how(farm, part)
    else:
        process.send_signal(how)
    process.wait(120)
    return time.monotonic() - begun


def tell(farm: FarmUnderFire, part: str, state: str, seconds: float) -> None:
    """And starts it again."""
    about = ""
    if part.startswith("worker"):
        time.sleep(EXPIRY if "ZooKeeper" in state else 0)
        with farm.connected() as (client, _):
            worker = workers.read_worker(client, id_of(part))
            about = f"{worker.status}, {'still connected' if worker.connected else 'not connected'}"
    print(f"| {part.rstrip('01')} | {state} | {seconds:.1f} | {about} |", flush=True)
    farm.start(part)
    time.sleep(EXPIRY)
    wait(lambda: is_there(farm, part))


def is_there(farm: FarmUnderFire, part: str) -> bool:
    """The process that was started last."""
    with farm.connected() as (client, broker):
        if part.startswith("worker"):
            worker = workers.read_worker(client, id_of(part))
            return worker.connected and worker.facts.get("pid") in farm.processes_of(part)
        if part.startswith("watchdog"):
            return len(client.get_children(TREE.election)) == WATCHDOGS
        state = broker.state({"download": "out"}.get(part, LOG_QUEUE))
        return state is not None and state.consumers == 1


def id_of(part: str) -> str:
    return part.replace("worker", "w")


def stop_from_afar(farm: FarmUnderFire, part: str) -> None:
    with farm.connected() as (client, _):
        workers.stop(client, id_of(part))


def busy(farm: FarmUnderFire) -> str:
    """The worker that has a page of the slow stage."""
    with farm.connected() as (client, _):
        found = [w.name for w in workers.read_workers(client) if w.status == "PROCESSING" and w.stage == "slow"]
    return found[0].replace("w", "worker") if found else ""


# -- pages -------------------------------------------------------------------------------------------------------

NUMBERS: list[int] = []


def send(farm: FarmUnderFire, stage: str) -> int:
    number = len(NUMBERS)
    NUMBERS.append(number)
    name = f"page{number}"
    request = Request(name, name, (stage, "out"), (Payload(f"{name}.png", b"image"),), source=name)
    publish_surely(publisher(farm), stage, encode_request(request), 0, SystemClock())
    return number


def publisher(farm: FarmUnderFire, kept: list[RabbitBroker] = []) -> RabbitBroker:  # noqa: B006 - one for the program
    if not kept:
        kept.append(RabbitBroker(farm.way_in))
    return kept[0]


def done(farm: FarmUnderFire, number: int) -> None:
    wait(lambda: b'"page":"page%d"' % number in farm.report)


def wait(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 300
    while not condition():
        if time.monotonic() > deadline:
            raise SystemExit("it never came true")
        time.sleep(0.02)


def zoo(farm: FarmUnderFire) -> str:
    return f"127.0.0.1:{farm.zk.port}"


def environment(farm: FarmUnderFire) -> dict[str, str]:
    return {**os.environ, "PERO_WORKER_ZOOKEEPER": zoo(farm)}


if __name__ == "__main__":
    main()
