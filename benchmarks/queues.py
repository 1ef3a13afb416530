"""`make bench-queues`: what a message costs RabbitMQ in classic and quorum queues, on one node and on three.

One client publishes messages with confirmations and takes them out again, in one run, on servers started for it.
"""

from __future__ import annotations

import queue
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from cluster.rabbitnodes import rabbit_nodes
from relay import cpu_seconds

from pero_worker.brokers.access import BrokerAccess
from pero_worker.brokers.rabbitmq import RabbitBroker
from pero_worker.servers.rabbitmq import RabbitServer
from pero_worker.wire.servers import Server
from pero_worker.work import QueueKind

LOADS = ((10_000, 4000), (1_000_000, 150))
WINDOW = 32


def main() -> None:
    print("| nodes | queue | message | a second | RabbitMQ's CPU ms, all nodes |\n| --- | --- | --- | --- | --- |")
    for count in (1, 3):
        with tempfile.TemporaryDirectory() as folder, rabbit_nodes(Path(folder), count) as nodes:
            for kind in QueueKind:
                for size, messages in LOADS:
                    rate, cpu = through(nodes, kind, size, messages)
                    print(f"| {count} | {kind} | {size // 1000} kB | {rate:.0f} | {cpu:.2f} |", flush=True)


def through(nodes: Sequence[RabbitServer], kind: QueueKind, size: int, messages: int) -> tuple[float, float]:
    broker = RabbitBroker(BrokerAccess(servers=(Server(host="127.0.0.1", port=nodes[0].port),)), prefetch=WINDOW)
    broker.wait_connected(30)
    broker.declare("through", kind=kind)
    if kind is QueueKind.QUORUM:
        broker._connection.limit_by_consumer()
    processes = [pid for node in nodes if (pid := node.daemon.pid)]
    spent, begun = sum(map(cpu_seconds, processes)), time.perf_counter()
    became: queue.SimpleQueue[object] = queue.SimpleQueue()
    body = bytes(size)
    for number in range(messages):
        broker.publish_soon("through", body, 0, became.put)
        if number >= WINDOW:
            became.get()
    taken = 0
    while taken < messages:
        delivery = broker.get(("through",), "bench", 10)
        if delivery is not None:
            broker.ack(delivery)
            taken += 1
    seconds, cpu = time.perf_counter() - begun, sum(map(cpu_seconds, processes)) - spent
    broker.delete("through")
    broker.close()
    return messages / seconds, 1000 * cpu / messages


if __name__ == "__main__":
    main()
