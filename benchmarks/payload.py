"""`make bench-payload`: what RabbitMQ carries and keeps when images are in a payload store, compared with inline ones.

Pages of 4 MB go through three stages that decode the image, each time through the broker, and results are taken out:
once with everything in the messages, and once with references for each kind of store. Bytes are what RabbitMQ counts on
its connections, in and out. Then pages wait in a queue, which shows what RabbitMQ holds for them in messages, on its
disk and in memory.
"""

from __future__ import annotations

import io
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from relay import cpu_seconds, hold, running, seconds_between

from pero_worker.brokers.access import BrokerAccess
from pero_worker.clock import SystemClock
from pero_worker.cluster.access import ClusterAccess
from pero_worker.cluster.opening import Cluster, open_cluster
from pero_worker.cluster.pages.sending import send_with_retry
from pero_worker.cluster.registry.changes import StageChange, save_stage
from pero_worker.cluster.registry.payloads import PayloadSettings, save_settings
from pero_worker.cluster.registry.servers import MQ, set_servers
from pero_worker.cluster.registry.workers import read_workers
from pero_worker.coordinators.access import ZooKeeperAccess
from pero_worker.coordinators.session import session
from pero_worker.request import Payload, Request
from pero_worker.servers.rabbitmq import RabbitServer
from pero_worker.servers.sftp import host_key
from pero_worker.servers.zookeeper import ZooKeeperServer
from pero_worker.stores.location import StoreAccess
from pero_worker.stores.objects import ObjectStore
from pero_worker.wire.requests import decode_request
from pero_worker.wire.servers import Server

STAGE = "[WORKER]\nDUMMY = yes\nTIME_SCALE = 0\nNEEDS_IMAGE = yes\nLINE = line\n"
STAGES = ("one", "two", "three")
PIXELS = (2000, 2000)
PAGES = 10
PASSWORD = "pero"  # noqa: S105 - of a server on the loopback, for a minute
WAITING = {"inline": 50, "reference": 1000}
SETTLING_SECONDS = 7.0
"""RabbitMQ updates the byte counts of its connections every five seconds."""


@dataclass
class Bench:
    """The servers, and the pages that go through them."""

    folder: Path
    rabbit: RabbitServer
    access: ClusterAccess
    image: bytes

    def octets(self) -> dict[str, int]:
        """Returns the bytes that each open connection has carried, in and out."""
        time.sleep(SETTLING_SECONDS)
        found: Any = self.rabbit.api("GET", "connections")
        return {one["name"]: one.get("recv_oct", 0) + one.get("send_oct", 0) for one in found}

    def kept(self) -> tuple[int, int]:
        """Returns the bytes on RabbitMQ's disk, and in its memory."""
        time.sleep(SETTLING_SECONDS)
        disk = sum(path.stat().st_size for path in self.rabbit.folder.rglob("*") if path.is_file())
        nodes: Any = self.rabbit.api("GET", "nodes")
        return disk, nodes[0]["mem_used"]

    def send(self, cluster: Cluster, count: int, *stages: str) -> None:
        for number in range(count):
            request = Request(
                uuid=f"{number:032x}",
                page_uuid=f"{number:032x}",
                stages=stages,
                results=(Payload(name="a.png", content=self.image),),
            )
            send_with_retry(cluster.broker, cluster.payloads, request, SystemClock())

    def take(self, cluster: Cluster, queue: str, count: int) -> None:
        """Takes results as a download does, but writes nothing."""
        for _ in range(count):
            delivery = cluster.broker.get((queue,), "bench", 60)
            if delivery is None:
                raise SystemExit(f"a page is missing in {queue}")
            request = cluster.payloads.whole(decode_request(delivery.body))
            if request.failed or request.results[0].content != self.image:
                raise SystemExit(f"a page is not as it should be: {request.logs[-1:]}")
            cluster.broker.ack(delivery)
            cluster.payloads.release(request.references)
        # Stops consuming: what comes to the queue from now on stays there.
        cluster.broker.get((), "bench", 0)


def main() -> None:
    noise = np.random.default_rng(1).integers(0, 255, PIXELS, dtype=np.uint8)
    stream = io.BytesIO()
    Image.fromarray(noise).save(stream, "PNG", compress_level=1)
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        rabbit = RabbitServer.on_free_ports(folder / "rabbitmq")
        zookeeper = ZooKeeperServer.on_free_port(folder / "zookeeper")
        rabbit.start()
        zookeeper.start()
        try:
            with sftp_server(folder) as (address, store):
                access = ClusterAccess(
                    zookeeper=ZooKeeperAccess(servers=(f"127.0.0.1:{zookeeper.port}",)),
                    broker=BrokerAccess(servers=(Server(host="127.0.0.1", port=rabbit.port),)),
                    store=store,
                )
                measure(Bench(folder, rabbit, access, stream.getvalue()), address)
        finally:
            rabbit.stop()
            zookeeper.stop()


def measure(bench: Bench, sftp: str) -> None:
    access = bench.access
    stores = {"inline": "", "folder": f"file://{bench.folder}/payloads", "SFTP": f"sftp://{sftp}/payloads"}
    environment = {
        **os.environ,
        "PERO_WORKER_ZOOKEEPER": access.zookeeper.servers[0],
        "PERO_WORKER_CACHE": str(bench.folder / "cache"),
        "PERO_WORKER_KNOWN_HOSTS": str(access.store.known_hosts),
    }
    with session(access.zookeeper) as client:
        set_servers(client, MQ, [str(access.broker.servers[0])])
        with open_cluster(access) as cluster:
            for name in STAGES:
                add_stage(client, cluster, name, STAGE)
            add_stage(client, cluster, "out", None)
        with running(environment, "worker", "--id", "w") as worker:
            while not any(found.status == "IDLE" for found in read_workers(client)):
                time.sleep(0.05)
            size = f"{len(bench.image) / 1e6:.1f} MB, three stages"
            print(
                f"| {size} | MB through RabbitMQ a page | inline / this | pages/s | worker, CPU ms | RabbitMQ, CPU ms |"
            )
            print("| --- | --- | --- | --- | --- | --- |")
            inline = 0.0
            for name, url in stores.items():
                inline = measure_stages(bench, client, worker.pid, name, url, inline)
    print("\n| pages that wait | of them | MB in messages | MB on RabbitMQ's disk | MB in its memory |")
    print("| --- | --- | --- | --- | --- |")
    # The smaller one first: when RabbitMQ gives memory back is up to RabbitMQ.
    measure_waiting(bench, "folder", stores["folder"], WAITING["reference"])
    measure_waiting(bench, "inline", "", WAITING["inline"])


def measure_stages(bench: Bench, client: Any, worker: int, name: str, url: str, inline: float) -> float:
    use(bench, client, url)
    hold(client)
    with open_cluster(bench.access) as cluster:
        # The worker's imports and connections are not counted.
        pass_through(bench, client, cluster, 2)
        before, cpu = bench.octets(), (cpu_seconds(worker), rabbit_cpu(bench))
        spent = pass_through(bench, client, cluster, PAGES)
        after = bench.octets()
    carried = sum(octets - before.get(one, 0) for one, octets in after.items()) / PAGES / 1e6
    of_worker = 1000 * (cpu_seconds(worker) - cpu[0]) / PAGES
    of_rabbit = 1000 * (rabbit_cpu(bench) - cpu[1]) / PAGES
    inline = inline or carried
    shown = f"{carried:.3f} | {inline / carried:.0f} | {PAGES / spent:.1f} | {of_worker:.0f} | {of_rabbit:.0f}"
    print(f"| {name} | {shown} |", flush=True)
    return inline


def pass_through(bench: Bench, client: Any, cluster: Cluster, count: int) -> float:
    """Sends pages through; returns the seconds that the worker took for all three stages."""
    hold(client)
    bench.send(cluster, count, *STAGES, "out")
    spent = 0.0
    for source, target in zip(STAGES, (*STAGES[1:], "out"), strict=True):
        hold(client, source)
        spent += seconds_between(cluster.broker, source, target, count)
    hold(client)
    bench.take(cluster, "out", count)
    return spent


def measure_waiting(bench: Bench, name: str, url: str, count: int) -> None:
    with session(bench.access.zookeeper) as client:
        use(bench, client, url)
    with open_cluster(bench.access) as cluster:
        disk, memory = bench.kept()
        bench.send(cluster, count, "one", "out")
        disk_after, memory_after = bench.kept()
        found: Any = bench.rabbit.api("GET", "queues/%2F/one")
        print(
            f"| {count} | {name} | {found['message_bytes'] / 1e6:.1f} | {(disk_after - disk) / 1e6:.1f} "
            f"| {(memory_after - memory) / 1e6:.1f} |",
            flush=True,
        )
        cluster.broker.delete("one")
        cluster.broker.declare("one")


def use(bench: Bench, client: Any, url: str) -> None:
    if url:
        store = ObjectStore(url, bench.access.store)
        store.prepare()
        store.close()
    save_settings(client, PayloadSettings(url=url, outputs=("out",)))


def add_stage(client: Any, cluster: Cluster, name: str, config: str | None) -> None:
    save_stage(client, cluster.broker, name, StageChange(config=config), SystemClock().now())


def rabbit_cpu(bench: Bench) -> float:
    """Returns the CPU seconds of RabbitMQ's virtual machine."""
    total = 0.0
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            if str(bench.folder) in (stat.parent / "cmdline").read_text() and "beam" in stat.read_text():
                fields = stat.read_text().rpartition(")")[2].split()
                total += (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
        except OSError:
            continue
    return total


@contextmanager
def sftp_server(folder: Path) -> Iterator[tuple[str, StoreAccess]]:
    root, key, known = folder / "sftp", folder / "host_key", folder / "known_hosts"
    root.mkdir()
    command = [sys.executable, "-m", "pero_worker.servers.sftp", "--user", "pero", "--root", str(root)]
    with subprocess.Popen(
        [*command, "--host-key", str(key)],
        env={**os.environ, "PERO_WORKER_SERVER_PASSWORD": PASSWORD},
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as process:
        try:
            if process.stdout is None:
                raise SystemExit("the SFTP server says nothing")
            address = process.stdout.readline().removeprefix("listening on ").strip()
            host, _, port = address.rpartition(":")
            public = host_key(key)
            known.write_text(f"[{host}]:{port} {public.get_name()} {public.get_base64()}\n")
            yield address, StoreAccess(user="pero", password=PASSWORD, known_hosts=known)
        finally:
            process.terminate()


if __name__ == "__main__":
    main()
