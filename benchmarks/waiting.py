"""`make bench-cluster`: how long a page waits in a cluster, with real RabbitMQ and ZooKeeper and dummy stages.

The servers are started for the run and removed afterwards. Next to each figure is upstream's, measured on the same kind
of machine with the same payloads (docs/benchmarks.md).
"""

from __future__ import annotations

import argparse
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from pero_worker.brokers.rabbitmq import RabbitBroker
from pero_worker.clock import SystemClock
from pero_worker.cluster.registry.changes import StageChange, save_stage
from pero_worker.cluster.registry.servers import MQ, set_servers
from pero_worker.cluster.registry.workers import WorkerState, assign, read_workers
from pero_worker.cluster.settings import cluster_access, options_in, read_settings
from pero_worker.cluster.status import leader
from pero_worker.coordinators.session import session
from pero_worker.request import Payload, Request
from pero_worker.servers.local import LocalServers, ended_by_signal
from pero_worker.wire.requests import encode_request
from pero_worker.wire.servers import parse_server
from pero_worker.wire.tree import TREE

WORK_A_PAGE = 0.005
"""Seconds of a page in a stage of the batch: 200 pages x 3 stages = 3 s of work."""
BURSTS = 20


class Bench:
    def __init__(self, client: Any, broker: RabbitBroker, environment: dict[str, str]) -> None:
        self.client, self.broker, self.environment = client, broker, environment

    def stage(self, name: str, seconds: float = 0.0) -> None:
        config = f"[WORKER]\nDUMMY = yes\nTIME_SCALE = 0\nTIME_DIFF_MIN = {seconds}\nTIME_DIFF_MAX = {seconds}\n"
        save_stage(self.client, self.broker, name, StageChange(config=config), SystemClock().now())

    def output(self, name: str) -> None:
        save_stage(self.client, self.broker, name, StageChange(), SystemClock().now())

    def publish(self, *stages: str) -> None:
        request = Request(
            uuid=os.urandom(8).hex(), page_uuid="p", stages=stages, results=(Payload(name="a.png", content=b"x" * 100),)
        )
        self.broker.publish(stages[0], encode_request(request))

    def collect(self, queue: str) -> float:
        delivery = self.broker.get((queue,), "bench", 60)
        if delivery is None:
            sys.exit("no page came out in a minute")
        self.broker.ack(delivery)
        return time.perf_counter()

    @contextmanager
    def running(self, *command: str) -> Iterator[subprocess.Popen[bytes]]:
        process = subprocess.Popen([sys.executable, "-m", "pero_worker", *command], env=self.environment)
        try:
            yield process
        finally:
            process.send_signal(signal.SIGCONT)
            process.send_signal(signal.SIGTERM)
            process.wait()

    def workers(self, name: str) -> list[WorkerState]:
        """Returns the workers whose names begin with `name`."""
        return [worker for worker in read_workers(self.client) if worker.name.startswith(name)]

    def wait_until_ready(self, *, watchdog: bool) -> None:
        while not any(worker.status == "IDLE" for worker in read_workers(self.client)) or (
            watchdog and not leader(self.client)
        ):
            time.sleep(0.02)


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--only", default="", help="rows whose titles hold these words")
    given = arguments.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        servers = LocalServers(Path(folder) / "cluster")
        addresses = servers.start()
        try:
            access = cluster_access(options_in(read_settings(addresses.client_file)))
            with session(access.zookeeper) as client:
                set_servers(client, MQ, [addresses.rabbitmq])
                broker = RabbitBroker(replace(access.broker, servers=(parse_server(addresses.rabbitmq),)))
                environment = {
                    **os.environ,
                    "PERO_WORKER_CONFIG": str(addresses.client_file),
                    "XDG_CACHE_HOME": folder,
                }
                show(Bench(client, broker, environment), given.only)
                broker.close()
        finally:
            servers.stop(wipe=True)


def show(bench: Bench, only: str) -> None:
    print("| what | pero-worker | upstream |")
    print("| --- | --- | --- |")
    rows: tuple[tuple[str, Callable[[], str], str], ...] = (
        (
            "one page, warm stage, p50 (max) of 50",
            lambda: "{:.3f} s ({:.3f} s)".format(*warm_page(bench)),
            "10.7 s; 0.05 s by hand",
        ),
        ("one page through three idle stages, one worker", lambda: f"{three_idle(bench):.2f} s", "27.6 s"),
        ("200 pages x 3 stages, one worker, 3 s of work", lambda: f"{batch(bench):.2f} s", "31 s"),
        (
            f"the same as a burst for three workers that hold nothing, p50 (worst) of {BURSTS}",
            lambda: "{:.2f} s ({:.2f} s)".format(*bursts(bench)),
            "31 s",
        ),
        ("steady 30 % load of one worker, three stages, p50", lambda: f"{steady(bench):.2f} s", "30 s"),
        ("one page of another stage beside bulk, one worker", lambda: f"{beside_bulk(bench):.2f} s", "70 s"),
        ("watchdog killed, sessions of 10 s: another leads", lambda: f"{new_lead(bench, signal.SIGKILL):.1f} s", "-"),
        ("watchdog frozen, sessions of 10 s: another leads", lambda: f"{new_lead(bench, signal.SIGSTOP):.1f} s", "-"),
    )
    for title, measure, upstream in rows:
        if only in title:
            print(f"| {title} | {measure()} | {upstream} |", flush=True)


def warm_page(bench: Bench) -> tuple[float, float]:
    bench.stage("warm")
    bench.output("out-warm")
    with bench.running("worker", "--id", "warm"):
        bench.wait_until_ready(watchdog=False)
        assign(bench.client, "warm", "warm")
        bench.publish("warm", "out-warm")
        bench.collect("out-warm")
        times = []
        for _ in range(50):
            begun = time.perf_counter()
            bench.publish("warm", "out-warm")
            times.append(bench.collect("out-warm") - begun)
    return statistics.median(times), max(times)


def three_idle(bench: Bench) -> float:
    for name in ("a", "b", "c"):
        bench.stage(name)
    bench.output("out-idle")
    with bench.running("watchdog"), bench.running("worker", "--id", "idle"):
        bench.wait_until_ready(watchdog=True)
        begun = time.perf_counter()
        bench.publish("a", "b", "c", "out-idle")
        return bench.collect("out-idle") - begun


def batch(bench: Bench) -> float:
    for name in ("x", "y", "z"):
        bench.stage(name, WORK_A_PAGE)
    bench.output("out-batch")
    with bench.running("watchdog"), bench.running("worker", "--id", "batch"):
        bench.wait_until_ready(watchdog=True)
        begun = time.perf_counter()
        for _ in range(200):
            bench.publish("x", "y", "z", "out-batch")
        for _ in range(200):
            ended = bench.collect("out-batch")
        return ended - begun


def bursts(bench: Bench) -> tuple[float, float]:
    """Times bursts of pages, median and maximum. It looks for one that stalls for a minute, for instance because a
    worker is taken to be loading."""
    for name in ("k", "l", "m"):
        bench.stage(name, WORK_A_PAGE)
    bench.output("out-burst")
    times = []
    with ExitStack() as stack:
        stack.enter_context(bench.running("watchdog"))
        for number in range(3):
            stack.enter_context(bench.running("worker", "--id", f"burst{number}"))
        while sum(one.status == "IDLE" for one in bench.workers("burst")) < 3 or not leader(bench.client):
            time.sleep(0.05)
        for _ in range(BURSTS):
            # Repeats until the watchdog, which may still be acting on the last pages, leaves the workers unassigned.
            while holding := [one for one in bench.workers("burst") if one.facts.get("stages") or one.stages]:
                for one in holding:
                    assign(bench.client, one.name, "")
                time.sleep(1)
            begun = time.perf_counter()
            for _ in range(200):
                bench.publish("k", "l", "m", "out-burst")
            for _ in range(200):
                ended = bench.collect("out-burst")
            times.append(ended - begun)
    return statistics.median(times), max(times)


def steady(bench: Bench) -> float:
    """Sends a page per second, which takes 0.1 s in each of three stages."""
    names = ("p", "q", "r")
    for name in names:
        bench.stage(name, 0.1)
    bench.output("out-steady")
    times = []
    with bench.running("watchdog"), bench.running("worker", "--id", "steady"):
        bench.wait_until_ready(watchdog=True)
        due = time.perf_counter()
        for _ in range(30):
            time.sleep(max(0.0, due - time.perf_counter()))
            begun = time.perf_counter()
            bench.publish(*names, "out-steady")
            times.append(bench.collect("out-steady") - begun)
            due += 1.0
    return statistics.median(times)


def beside_bulk(bench: Bench) -> float:
    """Sends a page while 100 s of bulk work are waiting."""
    bench.stage("bulk", 0.1)
    bench.stage("small", 0.1)
    bench.output("out-bulk")
    bench.output("out-small")
    with bench.running("watchdog"), bench.running("worker", "--id", "bulk"):
        bench.wait_until_ready(watchdog=True)
        for _ in range(1000):
            bench.publish("bulk", "out-bulk")
        for _ in range(10):
            bench.collect("out-bulk")
        begun = time.perf_counter()
        bench.publish("small", "out-small")
        return bench.collect("out-small") - begun


def new_lead(bench: Bench, number: signal.Signals) -> float:
    with bench.running("watchdog") as first:
        while not (name := leader(bench.client)):
            time.sleep(0.02)
        with bench.running("watchdog"):
            while len(bench.client.get_children(TREE.election)) < 2:
                time.sleep(0.02)
            first.send_signal(number)
            begun = time.perf_counter()
            while leader(bench.client) in {"", name}:
                time.sleep(0.02)
            return time.perf_counter() - begun


if __name__ == "__main__":
    with ended_by_signal():
        main()
