"""What a cluster costs while a server is unavailable, and how soon it stops or carries on (make bench-away).

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

from faults.chaos_cluster import WATCHDOGS, WORKERS, ClusterUnderFire, children
from faults.chaos_pages import Pipeline
from faults.proxy import Proxy

from pero_worker.brokers.rabbitmq import RabbitBroker
from pero_worker.clock import SystemClock
from pero_worker.cluster.pages.sending import publish_with_retry
from pero_worker.cluster.registry import workers
from pero_worker.cluster.registry.changes import StageChange, save_stage
from pero_worker.cluster.status import leader
from pero_worker.request import Payload, Request
from pero_worker.wire.queues import LOG_QUEUE
from pero_worker.wire.requests import encode_request
from pero_worker.wire.tree import TREE

DUMMY = "[WORKER]\nDUMMY = yes\nTIME_SCALE = 0\n"
LONG = 15
"""Seconds that a page takes; too long to wait for when a worker is told to stop."""
STAGES = {
    "fast": DUMMY,
    "slow": f"{DUMMY}TIME_DIFF_MIN = {LONG}\nTIME_DIFF_MAX = {LONG}\n",
    "failing": f"{DUMMY}FAIL_NAME = *\n",
}
PARTS = ("worker0", "watchdog0", "download", "log")
EXPIRY = 6.0
"""Seconds after which ZooKeeper has dropped a client that vanished without closing its session."""
TICKS = os.sysconf("SC_CLK_TCK")


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--seconds", type=float, default=20.0, help="how long a server is away")
    arguments.add_argument("--pages", type=int, default=3000, help="failing pages in a row")
    arguments.add_argument("--part", action="append", choices=["absence", "failures", "endings"], help="default: all")
    given = arguments.parse_args()
    parts: dict[str, Callable[[ClusterUnderFire], None]] = {
        "absence": lambda cluster: show_absence(cluster, given.seconds),
        "failures": lambda cluster: show_failures(cluster, given.pages),
        "endings": show_endings,
    }
    with tempfile.TemporaryDirectory(prefix="pero-away-") as name, cluster_of(Path(name)) as cluster:
        for part in given.part or parts:
            parts[part](cluster)


@contextmanager
def cluster_of(folder: Path) -> Iterator[ClusterUnderFire]:
    (folder / "model").mkdir()
    cluster = ClusterUnderFire(folder, Pipeline(STAGES, (), {}, folder / "model"), random.Random(1))
    try:
        cluster.set_up()
        with cluster.connected() as (client, broker):
            save_stage(client, broker, LOG_QUEUE, StageChange(), SystemClock().now())
        cluster.add("log", cluster.zk, "log", "daemon", "-o", str(folder / "logs"))
        done(cluster, send(cluster, "fast"))
        yield cluster
    finally:
        cluster.close()


# -- away, and back ----------------------------------------------------------------------------------------------


def show_absence(cluster: ClusterUnderFire, seconds: float) -> None:
    print(f"| away for {seconds:.0f} s | {' | '.join(f'{part}, % of a core' for part in PARTS)} | goes on after s |")
    print("| --- " * (len(PARTS) + 2) + "|")
    commands = (cluster.zk, *cluster.dogs)
    for name, go, come in (
        ("RabbitMQ, port closed", lambda: cluster.rabbit.daemon.stop(signal.SIGKILL), cluster.rabbit.start),
        ("RabbitMQ, connects but never answers", lambda: shut(cluster.amqp), lambda: open_up(cluster.amqp)),
        ("RabbitMQ, hangs up at once", lambda: hang_up(cluster.amqp), lambda: open_up(cluster.amqp)),
        ("ZooKeeper, port closed", lambda: cluster.zookeeper.stop(signal.SIGKILL), cluster.zookeeper.start),
        ("ZooKeeper, connects but never answers", lambda: shut(*commands), lambda: open_up(*commands)),
        ("ZooKeeper, hangs up at once", lambda: hang_up(*commands), lambda: open_up(*commands)),
    ):
        go()
        before = {part: cpu(cluster, part) for part in PARTS}
        time.sleep(seconds)
        used = [100 * (cpu(cluster, part) - before[part]) / seconds for part in PARTS]
        come()
        begun = time.monotonic()
        if name.startswith("RabbitMQ"):
            done(cluster, send(cluster, "fast"))
        else:
            wait(lambda: all_there(cluster))
        print(f"| {name} | {' | '.join(f'{part:.1f}' for part in used)} | {time.monotonic() - begun:.1f} |", flush=True)


def shut(*proxies: Proxy) -> None:
    for proxy in proxies:
        proxy.refusing = True
        proxy.cut()


def hang_up(*proxies: Proxy) -> None:
    for proxy in proxies:
        proxy.hanging_up = True
        proxy.cut()


def open_up(*proxies: Proxy) -> None:
    for proxy in proxies:
        proxy.refusing = proxy.hanging_up = False


def cpu(cluster: ClusterUnderFire, part: str) -> float:
    """Returns the CPU seconds that the process and its workers have used."""
    process = cluster.process(part)
    total = 0
    for pid in (process.pid, *children(process.pid)):
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        total += int(fields[11]) + int(fields[12])
    return total / TICKS


def all_there(cluster: ClusterUnderFire) -> bool:
    with cluster.connected() as (client, _):
        return bool(leader(client)) and all(worker.connected for worker in workers.read_workers(client))


# -- failing pages -----------------------------------------------------------------------------------------------


def show_failures(cluster: ClusterUnderFire, pages: int) -> None:
    pids = worker_processes(cluster)
    begun = time.monotonic()
    for _ in range(pages):
        send(cluster, "failing")
    done(cluster, NUMBERS[-1])
    same = pids == worker_processes(cluster)
    records = cluster.report.count(b'"status":"failed"')
    print(
        f"\n{pages} pages in a row that fail three times each: {records} listed as failed after "
        f"{time.monotonic() - begun:.0f} s, workers are {'the same processes' if same else 'OTHER PROCESSES'}"
    )


def worker_processes(cluster: ClusterUnderFire) -> list[int]:
    return [pid for number in range(WORKERS) for pid in cluster.processes_of(f"worker{number}")]


# -- endings -----------------------------------------------------------------------------------------------------


def show_endings(cluster: ClusterUnderFire) -> None:
    time.sleep(EXPIRY)
    print("\n| told to end | while | seconds | status, connected |\n| --- | --- | --- | --- |")
    for part in ("worker0", "watchdog0", "download", "log"):
        for state, proxies in (
            ("idle", ()),
            ("RabbitMQ does not answer", (cluster.amqp,)),
            ("ZooKeeper does not answer", (cluster.zk, *cluster.dogs)),
        ):
            shut(*proxies)
            time.sleep(3 if proxies else 0)
            seconds = end(cluster, part, signal.SIGTERM)
            open_up(*proxies)
            tell(cluster, part, state, seconds)
    for how in ("SIGTERM", "SIGINT", "workers stop"):
        number = send(cluster, "slow")
        wait(lambda: busy(cluster))
        part = busy(cluster)
        seconds = end(cluster, part, stop_from_afar if how == "workers stop" else getattr(signal, how))
        tell(cluster, part, f"a page of {LONG} s, by {how}", seconds)
        done(cluster, number)
    scans = cluster.folder / "scans"
    scans.mkdir()
    (scans / "a.png").write_bytes(b"no image, but nobody looks")
    for name, command in (
        ("publish", ["publish", str(scans), "--stages", "slow,out"]),
        (
            "ocr --cluster",
            ["ocr", str(scans), "-o", str(cluster.folder / "text"), "--cluster", zoo(cluster), "--stages", "slow"],
        ),
    ):
        shut(cluster.amqp)
        process = subprocess.Popen([sys.executable, "-m", "pero_worker", *command], env=environment(cluster))
        time.sleep(8)
        begun = time.monotonic()
        process.send_signal(signal.SIGTERM)
        process.wait(120)
        open_up(cluster.amqp)
        print(f"| {name} | RabbitMQ does not answer | {time.monotonic() - begun:.1f} | |", flush=True)


def end(cluster: ClusterUnderFire, part: str, how: int | Callable[[ClusterUnderFire, str], None]) -> float:
    process = cluster.process(part)
    begun = time.monotonic()
    if callable(how):
        how(cluster, part)
    else:
        process.send_signal(how)
    process.wait(120)
    return time.monotonic() - begun


def tell(cluster: ClusterUnderFire, part: str, state: str, seconds: float) -> None:
    """Prints the row for a part that was stopped, and starts it again."""
    about = ""
    if part.startswith("worker"):
        time.sleep(EXPIRY if "ZooKeeper" in state else 0)
        with cluster.connected() as (client, _):
            worker = workers.read_worker(client, id_of(part))
            about = f"{worker.status}, {'still connected' if worker.connected else 'not connected'}"
    print(f"| {part.rstrip('01')} | {state} | {seconds:.1f} | {about} |", flush=True)
    cluster.start(part)
    time.sleep(EXPIRY)
    wait(lambda: is_there(cluster, part))


def is_there(cluster: ClusterUnderFire, part: str) -> bool:
    """Whether the process that was started last is up."""
    with cluster.connected() as (client, broker):
        if part.startswith("worker"):
            worker = workers.read_worker(client, id_of(part))
            return worker.connected and worker.facts.get("pid") in cluster.processes_of(part)
        if part.startswith("watchdog"):
            return len(client.get_children(TREE.election)) == WATCHDOGS
        state = broker.state({"download": "out"}.get(part, LOG_QUEUE))
        return state is not None and state.consumers == 1


def id_of(part: str) -> str:
    return part.replace("worker", "w")


def stop_from_afar(cluster: ClusterUnderFire, part: str) -> None:
    with cluster.connected() as (client, _):
        workers.stop(client, id_of(part))


def busy(cluster: ClusterUnderFire) -> str:
    """Returns the worker that has a page of the slow stage in hand; '' if none has."""
    with cluster.connected() as (client, _):
        found = [w.name for w in workers.read_workers(client) if w.status == "PROCESSING" and w.stage == "slow"]
    return found[0].replace("w", "worker") if found else ""


# -- pages -------------------------------------------------------------------------------------------------------

NUMBERS: list[int] = []


def send(cluster: ClusterUnderFire, stage: str) -> int:
    number = len(NUMBERS)
    NUMBERS.append(number)
    name = f"page{number}"
    request = Request(
        uuid=name,
        page_uuid=name,
        stages=(stage, "out"),
        results=(Payload(name=f"{name}.png", content=b"image"),),
        source=name,
    )
    publish_with_retry(publisher(cluster), stage, encode_request(request), 0, SystemClock())
    return number


def publisher(cluster: ClusterUnderFire, kept: list[RabbitBroker] = []) -> RabbitBroker:  # noqa: B006 - one for the program
    if not kept:
        kept.append(RabbitBroker(cluster.way_in))
    return kept[0]


def done(cluster: ClusterUnderFire, number: int) -> None:
    wait(lambda: b'"page":"page%d"' % number in cluster.report)


def wait(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + 300
    while not condition():
        if time.monotonic() > deadline:
            raise SystemExit("it never came true")
        time.sleep(0.02)


def zoo(cluster: ClusterUnderFire) -> str:
    return f"127.0.0.1:{cluster.zk.port}"


def environment(cluster: ClusterUnderFire) -> dict[str, str]:
    return {**os.environ, "PERO_WORKER_ZOOKEEPER": zoo(cluster)}


if __name__ == "__main__":
    main()
