"""A cluster of real servers and processes, and every fault that can be injected into it."""

from __future__ import annotations

import os
import random
import resource
import signal
import subprocess
import sys
import threading
import time
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from faults import forgetful
from faults.chaos_pages import Pipeline
from faults.member import CLOCK, SYNCS
from faults.proxy import AMQP_NONSENSE, ZOOKEEPER_NONSENSE, Proxy

from pero_worker.brokers.access import BrokerAccess
from pero_worker.brokers.rabbitmq import RabbitBroker
from pero_worker.clock import SystemClock
from pero_worker.cluster.registry.changes import StageChange, save_stage
from pero_worker.cluster.registry.payloads import PayloadSettings, save_settings
from pero_worker.cluster.registry.servers import FTP, MQ, set_servers
from pero_worker.cluster.status import leader
from pero_worker.coordinators.access import ZooKeeperAccess
from pero_worker.coordinators.session import session
from pero_worker.errors import ExitCode
from pero_worker.servers.daemon import Daemon, answers, free_port
from pero_worker.servers.rabbitmq import RabbitServer
from pero_worker.servers.zookeeper import ZooKeeperServer
from pero_worker.stores.location import StoreAccess
from pero_worker.stores.objects import ObjectStore
from pero_worker.wire.servers import Server

WORKERS, WATCHDOGS = 2, 2
TICK = 250
"""Milliseconds: ZooKeeper then ends a session after 5 s at most."""
HEARTBEAT = 4
PAYLOAD_BYTES = 1500
"""Images and results of this size or more are kept in the payload store."""
LONG_PAUSE = 14.0
"""Seconds: longer than RabbitMQ and ZooKeeper wait for a sign of life."""
ENDING = 120.0
JOINING = 60.0
"""Seconds in which a new process may find ZooKeeper cut off: then it ends and says so, as it must for a wrong address.
On a busy machine it takes half a minute until it has tried."""

MEMBER = Path(__file__).with_name("member.py")


@dataclass
class Member:
    """A process of the cluster; whoever ended it says so in `expected`."""

    command: tuple[str, ...]
    zookeeper: int
    log: Path
    process: subprocess.Popen[bytes] | None = None
    expected: bool = False
    started: float = 0.0


@dataclass
class ClusterUnderFire:
    """`faults` maps a name to what does it; a fault has ended when its function returns."""

    folder: Path
    pipeline: Pipeline
    chance: random.Random
    members: dict[str, Member] = field(default_factory=dict)
    surprises: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.rabbit = RabbitServer.on_free_ports(self.folder / "rabbitmq", extra=f"heartbeat = {HEARTBEAT}")
        self.zookeeper = ZooKeeperServer.on_free_port(self.folder / "zookeeper", tick=TICK)
        self.store = Daemon(name="ftp", folder=self.folder / "ftp")
        self.store_port = free_port()
        self.payloads = Daemon(name="payloads", folder=self.folder / "payloads")
        self.payload_port = free_port()
        self.results = self.folder / "results"
        self.versions = 1
        self.rabbit.start()
        self.zookeeper.start()
        self.start_store()
        self.start_payloads()
        self.syncs = self.folder / "syncs"
        self.amqp, self.zk = Proxy(self.rabbit.port), Proxy(self.zookeeper.port)
        self.dogs = [Proxy(self.zookeeper.port) for _ in range(WATCHDOGS)]

    @property
    def faults(self) -> dict[str, Callable[[], object]]:
        return {
            "worker process killed": self.kill_worker,
            "worker's supervisor killed": self.kill_supervisor,
            "worker killed with its supervisor": self.kill_worker_whole,
            "worker stopped for 1 s": lambda: self.pause_worker(1.0),
            f"worker stopped for {LONG_PAUSE:.0f} s": lambda: self.pause_worker(LONG_PAUSE),
            "RabbitMQ killed": lambda: self.restart_rabbit(signal.SIGKILL),
            "RabbitMQ restarted": lambda: self.restart_rabbit(signal.SIGTERM),
            "RabbitMQ refuses messages for 3 s (memory alarm)": self.alarm_rabbit,
            "RabbitMQ connections cut": self.amqp.cut,
            "RabbitMQ connections half closed": self.amqp.half_close,
            "RabbitMQ held for 2 s": lambda: self.hold(2.0, self.amqp),
            "RabbitMQ slow for 1 s": lambda: self.slow(1.0, self.amqp),
            "RabbitMQ's answers garbled": lambda: self.amqp.garble(AMQP_NONSENSE),
            "ZooKeeper's answers garbled": lambda: [
                proxy.garble(ZOOKEEPER_NONSENSE) for proxy in (self.zk, *self.dogs)
            ],
            "ZooKeeper killed": lambda: self.restart_zookeeper(signal.SIGKILL),
            "ZooKeeper restarted": lambda: self.restart_zookeeper(signal.SIGTERM),
            "ZooKeeper connections cut": lambda: [proxy.cut() for proxy in (self.zk, *self.dogs)],
            "ZooKeeper sessions expired": lambda: self.hold(6.0, self.zk, *self.dogs),
            "watchdog that leads killed": self.kill_leader,
            "watchdog that leads cut from ZooKeeper": self.cut_leader_off,
            "model store away for 2 s, at a new version": self.stop_store,
            "payload store away for 2 s": self.stop_payloads,
            "download killed": lambda: self.restart("download"),
            "power cut where results are written": self.cut_power,
            "worker's clock set back by 5 h": lambda: self.set_clock(self.any_worker(), -5),
            "watchdog's clock set ahead by 30 h": lambda: self.set_clock(f"watchdog{self.leading()}", 30),
            "second worker under a name that is taken": self.take_name_twice,
            "disk of the results full": self.fill_disk,
        }

    # -- the cluster ----------------------------------------------------------------------------------------------

    def set_up(self) -> None:
        with self.connected() as (client, broker):
            set_servers(client, MQ, [f"127.0.0.1:{self.amqp.port}"])
            set_servers(client, FTP, [f"127.0.0.1:{self.store_port}"])
            url = f"ftp://127.0.0.1:{self.payload_port}/farm"
            store = ObjectStore(url, StoreAccess(user="pero", password="pero"))
            store.prepare()
            store.close()
            # Of larger images and results; the others travel in messages beside them.
            save_settings(client, PayloadSettings(url=url, min_bytes=PAYLOAD_BYTES, outputs=("out",)))
            for name, config in self.pipeline.stages.items():
                change = StageChange(config=config, archive=f"/{name}.zip", version="1")
                save_stage(client, broker, name, change, SystemClock().now())
            save_stage(client, broker, "out", StageChange(), SystemClock().now())
        for number in range(WORKERS):
            arguments = ("worker", "--id", f"w{number}", "--cache", str(self.folder / "cache"), "--trust-archives")
            self.add(f"worker{number}", self.zk, *arguments)
        for number, proxy in enumerate(self.dogs):
            self.add(f"watchdog{number}", proxy, "watchdog", "--verbose")
        self.add("download", self.zk, "download", "out", "-o", str(self.results), "--keep-running", "-f", "page,text")

    def start_store(self) -> None:
        root = self.folder / "ftp" / "root"
        root.mkdir(parents=True, exist_ok=True)
        for name in self.pipeline.stages:
            with zipfile.ZipFile(root / f"{name}.zip", "w") as archive:
                archive.writestr("note.txt", "a model")
                for path in sorted(self.pipeline.directory.glob("*")):
                    archive.write(path, path.name)
        start_ftp(self.store, self.store_port, root)

    def start_payloads(self) -> None:
        root = self.folder / "payloads" / "root"
        root.mkdir(parents=True, exist_ok=True)
        start_ftp(self.payloads, self.payload_port, root)

    @contextmanager
    def connected(self) -> Iterator[tuple[Any, RabbitBroker]]:
        """Connects without the proxies: the harness itself has no faults."""
        with session(ZooKeeperAccess(servers=(f"127.0.0.1:{self.zookeeper.port}",))) as client:
            broker = RabbitBroker(BrokerAccess(servers=(Server(host="127.0.0.1", port=self.rabbit.port),)))
            try:
                broker.wait_connected(60)
                yield client, broker
            finally:
                broker.close()

    @property
    def way_in(self) -> BrokerAccess:
        """Of whoever publishes: as bad as the workers' own."""
        return BrokerAccess(servers=(Server(host="127.0.0.1", port=self.amqp.port),))

    def add(self, name: str, zookeeper: Proxy, *arguments: str) -> None:
        self.members[name] = Member(arguments, zookeeper.port, self.folder / f"{name}.log")
        self.start(name)

    def start(self, name: str) -> None:
        member = self.members[name]
        if name == "download":
            forgetful.note_all(self.results, self.syncs)
        # Through a pipe: a process that cannot write files can still say so.
        process = member.process = subprocess.Popen(
            [sys.executable, str(MEMBER), *member.command],
            env=self.environment(name),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        in_thread(lambda: copy(process, member.log))
        member.expected = False
        member.started = time.monotonic()

    def environment(self, name: str) -> dict[str, str]:
        self.clock(name).write_text("0")
        return {
            **os.environ,
            "PERO_WORKER_ZOOKEEPER": f"127.0.0.1:{self.members[name].zookeeper}",
            CLOCK: str(self.clock(name)),
            SYNCS: str(self.syncs) if name == "download" else "",
        }

    def clock(self, name: str) -> Path:
        return self.folder / f"{name}.clock"

    def look_after(self) -> None:
        """Restarts what ended, as systemd would, and remembers what ended by itself."""
        for name, member in self.members.items():
            if member.process is not None and member.process.poll() is not None and not member.expected:
                status = member.process.returncode
                if status != ExitCode.UNAVAILABLE or time.monotonic() - member.started > JOINING:
                    self.surprises.append(f"{name} ended with {status}")
                self.start(name)

    @property
    def report(self) -> bytes:
        """Returns what the download reports about each page, one line each."""
        try:
            return (self.results / "report.jsonl").read_bytes()
        except FileNotFoundError:
            return b""

    @property
    def finished(self) -> int:
        return self.report.count(b"\n")

    def stop_all(self) -> dict[str, float]:
        """Returns the seconds until each process had ended after SIGTERM; one that does not end well is a surprise."""
        seconds: dict[str, float] = {}
        for name, member in self.members.items():
            process = self.process(name)
            begun = time.monotonic()
            process.send_signal(signal.SIGTERM)
            try:
                status = process.wait(ENDING)
            except subprocess.TimeoutExpired:
                process.kill()
                status = process.wait()
            seconds[name] = time.monotonic() - begun
            if status not in {ExitCode.OK, ExitCode.SOME_PAGES_FAILED}:
                self.surprises.append(f"{name} ended with {status} when it was stopped")
            member.process = None
        return seconds

    def close(self) -> None:
        for member in self.members.values():
            if member.process is not None:
                for pid in (*children(member.process.pid), member.process.pid):
                    send(pid, signal.SIGKILL)
                member.process.wait()
        for proxy in (self.amqp, self.zk, *self.dogs):
            proxy.close()
        self.store.stop(signal.SIGKILL)
        self.payloads.stop(signal.SIGKILL)
        self.rabbit.stop(signal.SIGKILL)
        self.zookeeper.stop(signal.SIGKILL)

    def logs(self) -> str:
        return "\n".join(f"-- {log.name}\n{log.read_text()[-3000:]}" for log in sorted(self.folder.glob("*.log")))

    # -- faults ------------------------------------------------------------------------------------------------

    def process(self, name: str) -> subprocess.Popen[bytes]:
        process = self.members[name].process
        assert process is not None
        return process

    def any_worker(self) -> str:
        return f"worker{self.chance.randrange(WORKERS)}"

    def processes_of(self, name: str) -> list[int]:
        """Returns the processes of a worker that have pages in hand."""
        return children(self.process(name).pid)

    def kill_worker(self) -> None:
        for pid in self.processes_of(self.any_worker()):
            send(pid, signal.SIGKILL)

    def kill_supervisor(self) -> None:
        self.restart(self.any_worker())

    def kill_worker_whole(self) -> None:
        """Kills a worker with all its processes, as a power failure of its machine would."""
        name = self.any_worker()
        for pid in self.processes_of(name):
            send(pid, signal.SIGKILL)
        self.restart(name)

    def pause_worker(self, seconds: float) -> None:
        stopped = self.processes_of(self.any_worker())
        for pid in stopped:
            send(pid, signal.SIGSTOP)
        time.sleep(seconds)
        for pid in stopped:
            send(pid, signal.SIGCONT)

    def restart(self, name: str) -> None:
        member = self.members[name]
        member.expected = True
        if member.process is not None:
            member.process.kill()
            member.process.wait()
        self.start(name)

    def restart_rabbit(self, number: int) -> None:
        self.rabbit.daemon.stop(number, timeout=60)
        self.rabbit.start()

    def alarm_rabbit(self) -> None:
        self.rabbit.control("set_vm_memory_high_watermark", "0.00001")
        time.sleep(3)
        self.rabbit.control("set_vm_memory_high_watermark", "0.4")

    def restart_zookeeper(self, number: int) -> None:
        self.zookeeper.stop(number)
        self.zookeeper.start()

    def hold(self, seconds: float, *proxies: Proxy) -> None:
        for proxy in proxies:
            proxy.held = True
        time.sleep(seconds)
        for proxy in proxies:
            proxy.held = False

    def slow(self, seconds: float, proxy: Proxy) -> None:
        proxy.delay = 0.05
        time.sleep(seconds)
        proxy.delay = 0.0

    def leading(self) -> int:
        """Returns the number of the watchdog that leads, or of any if none leads at the moment."""
        with session(ZooKeeperAccess(servers=(f"127.0.0.1:{self.zookeeper.port}",))) as client:
            name = leader(client)
        for number in range(WATCHDOGS):
            if name and f"watchdog {name} leads" in self.members[f"watchdog{number}"].log.read_text():
                return number
        return self.chance.randrange(WATCHDOGS)

    def kill_leader(self) -> None:
        self.restart(f"watchdog{self.leading()}")

    def cut_leader_off(self) -> None:
        proxy = self.dogs[self.leading()]
        proxy.refusing = proxy.held = True
        time.sleep(6)
        proxy.refusing = proxy.held = False
        proxy.cut()

    def stop_store(self) -> None:
        """Stops the model store while workers have to fetch the last stage's archive again."""
        self.store.stop(signal.SIGKILL)
        self.versions += 1
        with self.connected() as (client, broker):
            change = StageChange(version=str(self.versions))
            save_stage(client, broker, list(self.pipeline.stages)[-1], change, SystemClock().now())
        time.sleep(2)
        self.start_store()

    def stop_payloads(self) -> None:
        self.payloads.stop(signal.SIGKILL)
        time.sleep(2)
        self.start_payloads()

    def cut_power(self) -> None:
        """Cuts the power where the results are: of what was not synced, a random half is gone."""
        self.members["download"].expected = True
        self.process("download").kill()
        self.process("download").wait()
        forgetful.cut_power(self.results, self.syncs, self.chance)
        self.start("download")

    def set_clock(self, name: str, hours: float) -> None:
        """Sets a clock wrong for three seconds: what is noted meanwhile lies in the future, or long ago."""
        for wrong in (hours, 0.0):
            self.clock(name).write_text(str(wrong))
            time.sleep(3)

    def take_name_twice(self) -> None:
        """Starts a worker under the name of one that is working: it waits, and disturbs no one."""
        name = self.any_worker()
        twin = subprocess.Popen(
            [sys.executable, str(MEMBER), *self.members[name].command],
            env=self.environment(name),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        time.sleep(4)
        twin.send_signal(signal.SIGTERM)
        try:
            status = twin.wait(ENDING)
        except subprocess.TimeoutExpired:
            twin.kill()
            status = twin.wait()
        # It may have given up waiting, or not have started when it was told to stop.
        if status not in {ExitCode.OK, ExitCode.UNAVAILABLE, ExitCode.USAGE, -signal.SIGTERM}:
            self.surprises.append(f"a second {name} ended with {status}")

    def fill_disk(self) -> None:
        """A quota: no file of the process that downloads may grow. It ends, and is started when there is room again."""
        self.members["download"].expected = True
        process = self.process("download")
        _, most = resource.prlimit(process.pid, resource.RLIMIT_FSIZE)
        resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (0, most))
        try:
            status = process.wait(60)
        except subprocess.TimeoutExpired:
            status = -1
            process.kill()
            process.wait()
        if status != ExitCode.OUTPUT:
            self.surprises.append(f"download ended with {status} on a full disk")
        self.start("download")


def start_ftp(daemon: Daemon, port: int, root: Path) -> None:
    options = ["--port", str(port), "--root", str(root), "--user", "pero"]
    daemon.start([sys.executable, "-m", "pero_worker.servers.ftp", *options], {"PERO_WORKER_SERVER_PASSWORD": "pero"})
    daemon.wait_until(lambda: answers(port))


def children(pid: int) -> list[int]:
    """The worker processes of a supervisor."""
    try:
        found = [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
        return [child for child in found if b"spawn_main" in Path(f"/proc/{child}/cmdline").read_bytes()]
    except OSError:
        return []


def copy(process: subprocess.Popen[bytes], log: Path) -> None:
    assert process.stdout is not None
    with process.stdout, log.open("ab") as stream:
        for line in process.stdout:
            stream.write(line)
            stream.flush()


def send(pid: int, number: int) -> None:
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return


def in_thread(target: Callable[[], None]) -> threading.Thread:
    thread = threading.Thread(target=target, daemon=True)
    thread.start()
    return thread
