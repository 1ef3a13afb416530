"""`make bench-relay`: what a page costs a worker, compared with a bare relay over the same broker in the same run.

One worker serves a stage that does nothing. The relay is a pika SelectConnection that takes up to 32 messages,
publishes each onward and acknowledges it when that is confirmed: what network and broker cost by themselves. Then pages
go through three such stages, once through the broker after each and once directly in a worker that holds all three;
finally, the CPU time of worker and watchdog together is measured.
"""

from __future__ import annotations

import json
import os
import queue
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import pika

from pero_worker.brokers.rabbitmq import RabbitBroker
from pero_worker.clock import SystemClock
from pero_worker.cluster.registry.changes import StageChange, save_stage
from pero_worker.cluster.registry.servers import MQ, set_servers
from pero_worker.cluster.registry.workers import read_workers
from pero_worker.cluster.settings import cluster_access, options_in, read_settings
from pero_worker.coordinators.session import session
from pero_worker.request import Payload, Request
from pero_worker.servers.local import Addresses, LocalServers, ended_by_signal
from pero_worker.wire.requests import encode_request
from pero_worker.wire.servers import parse_server
from pero_worker.wire.tree import TREE

DUMMY = "[WORKER]\nDUMMY = yes\nTIME_SCALE = 0\n"
LOADS = ((10_000, 2000), (1_000_000, 200))
ROUNDS = 3
STRAIGHT = (10_000, 2000)
STAGES = ("one", "two", "three")
WINDOW = 32


def fill(broker: RabbitBroker, size: int, count: int, *stages: str) -> None:
    image = os.urandom(size)
    became: queue.SimpleQueue[object] = queue.SimpleQueue()
    for number in range(count):
        request = Request(
            uuid=f"{number:032x}",
            page_uuid=f"{number:032x}",
            stages=stages,
            results=(Payload(name="a.png", content=image),),
        )
        broker.publish_soon(stages[0], encode_request(request), 0, became.put)
        if number >= WINDOW and (error := became.get()):
            raise SystemExit(str(error))
    for _ in range(min(count, WINDOW)):
        became.get()


def relay(addresses: Addresses, source: str, target: str, count: int) -> float:
    """Returns the pages per second of a bare relay with pipelined confirms."""
    channel: Any = None
    state: dict[str, Any] = {"published": 0, "confirmed": 0, "tags": {}}

    def confirmed(frame: Any) -> None:
        last = frame.method.delivery_tag
        first = last if not frame.method.multiple else min(state["tags"])
        for number in range(first, last + 1):
            channel.basic_ack(state["tags"].pop(number))
            state["confirmed"] += 1
        if state["confirmed"] == count:
            connection.close()

    def arrived(channel: Any, method: Any, _properties: Any, body: bytes) -> None:
        state["published"] += 1
        state["tags"][state["published"]] = method.delivery_tag
        channel.basic_publish("", target, body, pika.BasicProperties(delivery_mode=2))

    def opened(opened_channel: Any) -> None:
        nonlocal channel
        channel = opened_channel
        channel.confirm_delivery(confirmed)
        channel.basic_qos(prefetch_count=WINDOW)
        channel.basic_consume(source, arrived)

    login = pika.PlainCredentials(addresses.user, addresses.password)
    parameters = pika.ConnectionParameters("127.0.0.1", parse_server(addresses.rabbitmq).port, "/", login)
    connection = pika.SelectConnection(
        parameters,
        on_open_callback=lambda connection: connection.channel(on_open_callback=opened),
        on_close_callback=lambda connection, _reason: connection.ioloop.stop(),
    )
    begun = time.perf_counter()
    connection.ioloop.start()
    return count / (time.perf_counter() - begun)


def cpu_seconds(process: int) -> float:
    """Returns the CPU seconds of the process and its living children."""
    total = 0.0
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(stat.parent.name) == process or int(fields[1]) == process:
            total += (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    return total


@contextmanager
def running(environment: dict[str, str], *command: str) -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen([sys.executable, "-m", "pero_worker", *command], env=environment)
    try:
        yield process
    finally:
        process.terminate()
        process.wait()


def zookeeper_writes(client: Any) -> int:
    """Returns the number of transactions so far: each raises the newest node's zxid by one."""
    path = "/pero/bench-zxid"
    client.ensure_path(path)
    return int(client.set(path, b"").mzxid)


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        servers = LocalServers(Path(folder) / "cluster")
        addresses = servers.start()
        try:
            measure(folder, addresses)
        finally:
            servers.stop(wipe=True)


def measure(folder: str, addresses: Addresses) -> None:
    environment = {
        **os.environ,
        "PERO_WORKER_CONFIG": str(addresses.client_file),
        "PERO_WORKER_CACHE": f"{folder}/cache",
    }
    access = cluster_access(options_in(read_settings(addresses.client_file)))
    with session(access.zookeeper) as client:
        set_servers(client, MQ, [addresses.rabbitmq])
        broker = RabbitBroker(replace(access.broker, servers=(parse_server(addresses.rabbitmq),)))
        broker.wait_connected(15)
        for name, config in (*((name, DUMMY) for name in STAGES), ("raw", None), ("out", None)):
            save_stage(client, broker, name, StageChange(config=config), SystemClock().now())
        with running(environment, "worker", "--id", "w") as worker:
            while not any(found.status == "IDLE" for found in read_workers(client)):
                time.sleep(0.05)
            print("| page | bare relay, pages/s | worker, pages/s | ratio | CPU ms a page | ZooKeeper writes a page |")
            print("| --- | --- | --- | --- | --- | --- |")
            for size, count in LOADS:
                for _ in range(ROUNDS):
                    measure_once(client, broker, worker.pid, addresses, size, count)
            print("\n| three stages of 10 kB pages | through the broker, pages/s | straight on, pages/s | ratio |")
            print("| --- | --- | --- | --- |")
            for _ in range(ROUNDS):
                measure_straight(client, broker, *STRAIGHT)
            print("\n| 10 kB, CPU ms a page | worker | watchdog | together |")
            print("| --- | --- | --- | --- |")
            hold(client)
            with running(environment, "watchdog") as watchdog:
                # A first round is not counted: the worker imports and looks around first.
                fill(broker, LOADS[0][0], 50, "one", "out")
                seconds_between(broker, "one", "out", 50)
                empty(broker, "out")
                for _ in range(ROUNDS):
                    measure_cpu(broker, (worker.pid, watchdog.pid), *LOADS[0])
        broker.close()


def measure_once(client: Any, broker: RabbitBroker, worker: int, addresses: Addresses, size: int, count: int) -> None:
    fill(broker, size, count, "raw", "out")
    bare = relay(addresses, "raw", "out", count)
    hold(client)
    fill(broker, size, count, "one", "out")
    cpu, writes = cpu_seconds(worker), zookeeper_writes(client)
    client.set(TREE.worker("w", "stages"), b"")
    client.set(TREE.worker("w", "queue"), b"one")
    while broker.lengths(["one"])["one"] == count:
        time.sleep(0.002)
    begun = time.perf_counter()
    while broker.lengths(["out"])["out"] < 2 * count:
        time.sleep(0.005)
    ours = count / (time.perf_counter() - begun)
    spent = 1000 * (cpu_seconds(worker) - cpu) / count
    per_page = (zookeeper_writes(client) - writes) / count
    print(
        f"| {size // 1000} kB | {bare:.0f} | {ours:.0f} | {ours / bare:.2f} | {spent:.2f} | {per_page:.3f} |",
        flush=True,
    )
    empty(broker, "out")


def measure_straight(client: Any, broker: RabbitBroker, size: int, count: int) -> None:
    hold(client)
    fill(broker, size, count, *STAGES, "out")
    through = 0.0
    for source, target in pairwise((*STAGES, "out")):
        hold(client, source)
        through += seconds_between(broker, source, target, count)
    empty(broker, "out")
    hold(client)
    fill(broker, size, count, *STAGES, "out")
    hold(client, *STAGES)
    straight = seconds_between(broker, STAGES[0], "out", count)
    empty(broker, "out")
    print(f"| | {count / through:.0f} | {count / straight:.0f} | {through / straight:.1f} |", flush=True)


def measure_cpu(broker: RabbitBroker, processes: tuple[int, int], size: int, count: int) -> None:
    before = [cpu_seconds(process) for process in processes]
    fill(broker, size, count, "one", "out")
    seconds_between(broker, "one", "out", count)
    worker, watchdog = (
        1000 * (cpu_seconds(process) - spent) / count for process, spent in zip(processes, before, strict=True)
    )
    empty(broker, "out")
    print(f"| | {worker:.2f} | {watchdog:.2f} | {worker + watchdog:.2f} |", flush=True)


def hold(client: Any, *stages: str) -> None:
    """Returns when the worker holds `stages` and no other; it may have started on pages by then."""
    client.set(TREE.worker("w", "stages"), json.dumps(stages).encode())
    client.set(TREE.worker("w", "queue"), (stages[0] if stages else "").encode())
    while set(read_workers(client)[0].facts.get("stages", ())) != set(stages):
        time.sleep(0.002)


def seconds_between(broker: RabbitBroker, source: str, target: str, count: int) -> float:
    """Returns the seconds from when the first page has left `source` until all are in `target`."""
    while broker.lengths([source])[source] == count:
        time.sleep(0.002)
    begun = time.perf_counter()
    while broker.lengths([target])[target] < count:
        time.sleep(0.005)
    return time.perf_counter() - begun


def empty(broker: RabbitBroker, queue: str) -> None:
    broker.delete(queue)
    broker.declare(queue)


if __name__ == "__main__":
    with ended_by_signal():
        main()
