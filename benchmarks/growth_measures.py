"""The measurements of `growth.py`, one dimension after the other, with real servers."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from growth_documents import measure_documents
from relay import cpu_seconds, empty, fill, running

from pero_worker.brokers.rabbitmq import RabbitBroker
from pero_worker.clock import SystemClock
from pero_worker.cluster.registry.changes import StageChange, remove_stage, save_stage
from pero_worker.cluster.registry.workers import read_workers
from pero_worker.wire.tree import TREE

PAGE_SECONDS = 0.1
"""Time the simulated engine takes when workers are added: it only waits, so that two cores are enough for sixteen."""
KB, MB = 1000, 1_000_000
SIZES = (10 * KB, 100 * KB, MB, 10 * MB, 50 * MB)
BYTES_A_SIZE = 200 * MB
WATCHED_SECONDS = 10
WORKER_NODES = {
    "": b"",
    "status": b"PROCESSING",
    "queue": b"watched0",
    "enabled": b"true",
    "stages": b'["watched0"]',
    "unlock_time": b"",
    "info": b"{}",
}
SEEN = 2000
"""Pages that a worker processes while the others wait in its queue."""


@dataclass(frozen=True, kw_only=True)
class Row:
    """What was measured at one amount."""

    amount: int
    """How much there was of what there may be more of."""
    rate: float
    """Pages or documents per second."""
    cpu_ms: float
    """CPU time of our processes per page, in milliseconds."""
    memory_mb: float
    """Memory of all our processes, in megabytes."""
    broker_mb: float | None = None
    """Memory of RabbitMQ in megabytes, for comparison."""
    broker_ms: float | None = None
    """CPU time of RabbitMQ per page, in milliseconds."""


class Bench:
    """The servers, and what the measurements do with them."""

    def __init__(self, client: Any, broker: RabbitBroker, environment: dict[str, str], server: int) -> None:
        self.client, self.broker, self.environment, self.server = client, broker, environment, server

    def stage(self, name: str, seconds: float = 0.0) -> None:
        config = f"[WORKER]\nDUMMY = yes\nTIME_SCALE = 0\nTIME_DIFF_MIN = {seconds}\nTIME_DIFF_MAX = {seconds}\n"
        self.change(name, StageChange(config=config))

    def output(self) -> None:
        self.change("out", StageChange())

    def change(self, stage: str, change: StageChange) -> None:
        save_stage(self.client, self.broker, stage, change, SystemClock().now())

    def hold(self, worker: str, *stages: str) -> None:
        """Returns when the worker holds these and no others."""
        self.client.set(TREE.worker(worker, "stages"), json.dumps(stages).encode())
        self.client.set(TREE.worker(worker, "queue"), "".join(stages[:1]).encode())
        while self.held(worker) != set(stages):
            time.sleep(0.01)

    def held(self, worker: str) -> set[str]:
        return {name for one in read_workers(self.client) if one.name == worker for name in one.facts.get("stages", ())}

    def wait_for_workers(self, count: int) -> None:
        while sum(one.status == "IDLE" for one in read_workers(self.client)) < count:
            time.sleep(0.05)

    def measure(self, amount: int, processes: Sequence[int], pages: int, act: Callable[[], object]) -> Row:
        """Measures from calling `act` until `pages` more have come out."""
        before = self.broker.lengths(["out"])["out"]
        spent, of_broker = sum(map(cpu_seconds, processes)), cpu_seconds(self.server)
        begun = time.perf_counter()
        act()
        while self.broker.lengths(["out"])["out"] < before + pages:
            time.sleep(0.01)
        seconds = time.perf_counter() - begun
        done = self.broker.lengths(["out"])["out"] - before
        return Row(
            amount=amount,
            rate=done / seconds,
            cpu_ms=1000 * (sum(map(cpu_seconds, processes)) - spent) / done,
            memory_mb=sum(map(memory_mb, processes)),
            broker_mb=memory_mb(self.server),
            broker_ms=1000 * (cpu_seconds(self.server) - of_broker) / done,
        )


def memory_mb(process: int) -> float:
    """Returns the megabytes that the process and its children hold in memory."""
    pages = 0
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            parent = stat.read_text().rpartition(")")[2].split()[1]
            if int(stat.parent.name) == process or int(parent) == process:
                pages += int((stat.parent / "statm").read_text().split()[1])
        except OSError:
            continue
    return pages * os.sysconf("SC_PAGESIZE") / MB


def more_workers(bench: Bench, most: int) -> Iterator[Row]:
    bench.stage("slow", PAGE_SECONDS)
    bench.output()
    with ExitStack() as stack:
        processes: list[int] = []
        for count in amounts(1, min(most, 16), 2):
            while len(processes) < count:
                name = f"w{len(processes)}"
                processes.append(stack.enter_context(running(bench.environment, "worker", "--id", name)).pid)
            bench.wait_for_workers(count)
            names = [f"w{number}" for number in range(count)]

            def begin(names: list[str] = names) -> None:
                for name in names:
                    bench.hold(name, "slow")

            # The first pages, for which workers import what they need, are not counted.
            for pages in (4 * count, 40 * count):
                fill(bench.broker, KB, pages, "slow", "out")
                row = bench.measure(count, processes, pages, begin)
                for name in names:
                    bench.hold(name)
                empty(bench.broker, "out")
            yield row


def more_stages(bench: Bench, most: int) -> Iterator[Row]:
    bench.output()
    for count in amounts(1, min(most, 100), 10):
        names = [f"stage{number:03}" for number in range(count)]
        for name in names:
            bench.stage(name)
        worker = f"of{count}"
        with (
            running(bench.environment, "watchdog") as watchdog,
            running(bench.environment, "worker", "--id", worker) as w,
        ):
            bench.wait_for_workers(1)

            def begin(names: list[str] = names) -> None:
                for name in names:
                    fill(bench.broker, KB, SEEN // len(names), name, "out")

            yield bench.measure(count, (w.pid, watchdog.pid), SEEN, begin)
        empty(bench.broker, "out")
        for name in names:
            remove_stage(bench.client, bench.broker, name)


def longer_queue(bench: Bench, most: int) -> Iterator[Row]:
    bench.output()
    bench.stage("long")
    with running(bench.environment, "watchdog") as watchdog, running(bench.environment, "worker", "--id", "long") as w:
        bench.wait_for_workers(1)
        for count in amounts(10, min(most, 1_000_000), 10):
            bench.change("long", StageChange(priority=-1))
            while bench.held("long"):
                time.sleep(0.05)
            fill(bench.broker, 100, count - bench.broker.lengths(["long"])["long"], "long", "out")

            def begin() -> None:
                bench.change("long", StageChange(priority=0))

            yield bench.measure(count, (w.pid, watchdog.pid), min(count, SEEN), begin)
            empty(bench.broker, "out")
    remove_stage(bench.client, bench.broker, "long")


def larger_pages(bench: Bench, most: int) -> Iterator[Row]:
    bench.output()
    bench.stage("large")
    with running(bench.environment, "worker", "--id", "large") as worker:
        bench.wait_for_workers(1)
        for size in [size for size in SIZES if size <= most]:
            pages = min(SEEN, max(4, BYTES_A_SIZE // size))
            fill(bench.broker, size, pages, "large", "out")
            yield bench.measure(size, (worker.pid,), pages, lambda: bench.hold("large", "large"))
            bench.hold("large")
            empty(bench.broker, "out")
    remove_stage(bench.client, bench.broker, "large")


def more_watched(bench: Bench, most: int) -> Iterator[Row]:
    """Measures with ZooKeeper nodes like those of workers, which change like those of busy workers. As there are many,
    they are left behind: no other measurement comes after this one."""
    client = bench.client
    for number in range(20):
        bench.stage(f"watched{number}")
    known: list[str] = []
    client.ensure_path(TREE.workers)
    with running(bench.environment, "watchdog") as watchdog:
        for count in amounts(1, min(most, 1000), 10):
            for name in [f"busy{number:04}" for number in range(len(known), count)]:
                known.append(name)
                for leaf, value in WORKER_NODES.items():
                    client.create_async(TREE.worker(name, leaf), value)
                client.create_async(TREE.worker(name, "status/connected"), b"true", ephemeral=True)
            client.sync(TREE.workers)  # Requests are served in order, so these nodes exist now, too.
            time.sleep(2)  # The watchdog sees them all, the cost of which does not count.
            spent = cpu_seconds(watchdog.pid)
            begun = time.perf_counter()
            for second in range(WATCHED_SECONDS):
                for number, name in enumerate(known):
                    due = begun + second + number / count
                    time.sleep(max(0.0, due - time.perf_counter()))
                    facts = {"kind": "cuda", "memory": 10**10, "stages": ["watched0"], "pages": 20 * second}
                    client.set_async(TREE.worker(name, "info"), json.dumps(facts).encode())
            seconds = time.perf_counter() - begun
            cpu = 1000 * (cpu_seconds(watchdog.pid) - spent) / (count * WATCHED_SECONDS)
            yield Row(
                amount=count,
                rate=count * WATCHED_SECONDS / seconds,
                cpu_ms=cpu,
                memory_mb=memory_mb(watchdog.pid),
            )


def more_documents(_bench: Bench, most: int) -> Iterator[Row]:
    for count in amounts(1, min(most, 1_000_000), 10):
        found = measure_documents(count)
        yield Row(amount=count, rate=found.rate, cpu_ms=found.cpu_ms, memory_mb=found.memory_mb)


def amounts(first: int, last: int, factor: int) -> Iterator[int]:
    while first <= last:
        yield first
        first *= factor
