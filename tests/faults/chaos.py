"""A farm under fire: pages go through two stages while servers, workers and connections fail, by a seed.

    python tests/faults/chaos.py [--pages N] [--faults N] [--seed N]      (make chaos)

At the end every page is on disk exactly once and as it was published, or listed as failed with its reason; no queue
holds a leftover; nobody had to help. Prints what was injected and how long the farm took to finish the next page.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from faults.proxy import Proxy

from pero_worker.brokers.rabbitmq import BrokerAccess, RabbitBroker
from pero_worker.clock import SystemClock
from pero_worker.cluster.download import Downloaded, download
from pero_worker.cluster.layouts import RequestFolders
from pero_worker.cluster.servers import MQ, set_servers
from pero_worker.cluster.stages import StageChange, save_stage
from pero_worker.cluster.workers import read_workers
from pero_worker.cluster.workforce import publish_surely
from pero_worker.coordinators.session import ZooKeeperAccess, session
from pero_worker.request import Payload, Request
from pero_worker.servers.rabbitmq import RabbitServer
from pero_worker.servers.zookeeper import ZooKeeperServer
from pero_worker.wire.queues import DEAD_LETTERS
from pero_worker.wire.requests import encode_request
from pero_worker.wire.servers import Server

WORKERS, WATCHDOGS = 2, 2
STAGES = ("layout", "ocr")
SECONDS_A_PAGE = 0.02
TICK = 250
"""Milliseconds: ZooKeeper then ends a session after 5 s at most."""
PATIENCE = 180.0


@dataclass
class Injected:
    """How often, and the seconds from the end of the fault to the next page."""

    times: int = 0
    recovery: list[float] = field(default_factory=list)


@dataclass
class Outcome:
    pages: int
    lost: list[str]
    changed: list[str]
    failed: list[tuple[str, str]]
    duplicates_seen: int
    leftovers: dict[str, int]
    injected: dict[str, Injected]
    seconds: float


class Chaos:
    def __init__(self, folder: Path, seed: int) -> None:
        self.folder = folder
        self.chance = random.Random(seed)
        self.rabbit = RabbitServer.on_free_ports(folder / "rabbitmq")
        self.zookeeper = ZooKeeperServer.on_free_port(folder / "zookeeper", tick=TICK)
        self.rabbit.start()
        self.zookeeper.start()
        self.amqp, self.zk = Proxy(self.rabbit.port), Proxy(self.zookeeper.port)
        self.processes: dict[str, subprocess.Popen[bytes]] = {}
        self.downloaded = Downloaded()
        self.faults: dict[str, Callable[[], None]] = {
            "worker killed": self.kill_worker,
            "worker's process group killed": self.kill_worker_whole,
            "worker stopped for 1 s": self.pause_worker,
            "RabbitMQ killed": lambda: self.restart_rabbit(signal.SIGKILL),
            "RabbitMQ restarted": lambda: self.restart_rabbit(signal.SIGTERM),
            "ZooKeeper killed": lambda: self.restart_zookeeper(signal.SIGKILL),
            "AMQP connections cut": lambda: self.cut(self.amqp),
            "ZooKeeper connections cut": lambda: self.cut(self.zk),
            "AMQP held for 2 s": lambda: self.hold(self.amqp, 2.0),
            "ZooKeeper sessions expired": lambda: self.hold(self.zk, 6.0),
            "AMQP half closed": self.amqp.half_close,
            "AMQP slow for 1 s": lambda: self.slow(self.amqp, 1.0),
            "watchdog killed": self.kill_watchdog,
        }

    # -- the farm ----------------------------------------------------------------------------------------------

    def set_up(self) -> None:
        with session(self.access) as client:
            broker = RabbitBroker(self.broker_access)
            set_servers(client, MQ, [f"127.0.0.1:{self.amqp.port}"])
            config = f"[WORKER]\nDUMMY = yes\nTIME_SCALE = 0\nTIME_DIFF_MIN = 0\nTIME_DIFF_MAX = {2 * SECONDS_A_PAGE}\n"
            for name in STAGES:
                save_stage(client, broker, name, StageChange(config), SystemClock().now())
            save_stage(client, broker, "out", StageChange(), SystemClock().now())
            broker.close()
        for number in range(WORKERS):
            self.start(f"worker{number}", "worker", "--id", f"w{number}", "--cache", str(self.folder / "cache"))
        for number in range(WATCHDOGS):
            self.start(f"watchdog{number}", "watchdog")

    def start(self, name: str, *arguments: str) -> None:
        environment = {**os.environ, "PERO_WORKER_ZOOKEEPER": f"127.0.0.1:{self.zk.port}"}
        with (self.folder / f"{name}.log").open("ab") as log:
            self.processes[name] = subprocess.Popen(
                [sys.executable, "-m", "pero_worker", *arguments], env=environment, stdout=log, stderr=log
            )
        self.commands[name] = arguments

    commands: dict[str, tuple[str, ...]] = {}  # noqa: RUF012 - of the one farm of this process

    @property
    def access(self) -> ZooKeeperAccess:
        return ZooKeeperAccess((f"127.0.0.1:{self.zk.port}",))

    @property
    def broker_access(self) -> BrokerAccess:
        return BrokerAccess((Server("127.0.0.1", self.amqp.port),), heartbeat=5)

    def close(self) -> None:
        for process in self.processes.values():
            process.send_signal(signal.SIGCONT)
            process.terminate()
        for process in self.processes.values():
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
        self.amqp.close()
        self.zk.close()
        self.rabbit.stop(signal.SIGKILL)
        self.zookeeper.stop(signal.SIGKILL)

    # -- faults ------------------------------------------------------------------------------------------------

    def kill_worker(self) -> None:
        """The process that has the page; its supervisor replaces it."""
        parent = self.processes[f"worker{self.chance.randrange(WORKERS)}"].pid
        for child in Path(f"/proc/{parent}/task/{parent}/children").read_text().split():
            if b"spawn_main" in Path(f"/proc/{child}/cmdline").read_bytes():
                os.kill(int(child), signal.SIGKILL)

    def kill_worker_whole(self) -> None:
        """As when the machine loses its power; somebody starts it again, as systemd would."""
        name = f"worker{self.chance.randrange(WORKERS)}"
        self.kill_worker()
        self.restart(name)

    def kill_watchdog(self) -> None:
        self.restart(f"watchdog{self.chance.randrange(WATCHDOGS)}")

    def restart(self, name: str) -> None:
        self.processes[name].kill()
        self.processes[name].wait()
        self.start(name, *self.commands[name])

    def pause_worker(self) -> None:
        parent = self.processes[f"worker{self.chance.randrange(WORKERS)}"].pid
        children = [int(pid) for pid in Path(f"/proc/{parent}/task/{parent}/children").read_text().split()]
        for pid in children:
            os.kill(pid, signal.SIGSTOP)
        time.sleep(1)
        for pid in children:
            os.kill(pid, signal.SIGCONT)

    def restart_rabbit(self, number: int) -> None:
        self.rabbit.daemon.stop(number)
        self.rabbit.start()

    def restart_zookeeper(self, number: int) -> None:
        self.zookeeper.stop(number)
        self.zookeeper.start()

    def cut(self, proxy: Proxy) -> None:
        proxy.cut()

    def hold(self, proxy: Proxy, seconds: float) -> None:
        proxy.held = True
        time.sleep(seconds)
        proxy.held = False

    def slow(self, proxy: Proxy, seconds: float) -> None:
        proxy.delay = 0.05
        time.sleep(seconds)
        proxy.delay = 0.0

    # -- the run -----------------------------------------------------------------------------------------------

    def run(self, pages: int, faults: int) -> Outcome:
        begun = time.monotonic()
        self.set_up()
        results = self.folder / "results"
        stopped = threading.Event()
        broker = RabbitBroker(self.broker_access)
        layout = RequestFolders(results)
        options = {"keep_running": True, "stopped": stopped, "downloaded": self.downloaded}
        downloading = threading.Thread(target=download, args=(broker, "out", layout, SystemClock()), kwargs=options)
        publishing = threading.Thread(target=self.publish, args=(pages,))
        broker.wait_connected(20)
        downloading.start()
        publishing.start()
        injected: dict[str, Injected] = defaultdict(Injected)
        try:
            names = list(self.faults)
            self.chance.shuffle(names)
            for number in range(faults):
                # Every kind comes up before any comes twice.
                name = names[number % len(names)]
                self.wait_for(lambda: self.downloaded.pages > 0)
                self.faults[name]()
                injected[name].times += 1
                self.measure(injected[name], pages)
                time.sleep(self.chance.uniform(0, 0.3))
            self.wait_for(lambda: self.downloaded.pages >= pages)
            publishing.join()
            leftovers = self.settled()
        finally:
            stopped.set()
            broker.wake()
            downloading.join(30)
            broker.close()
            layout.close()
        return self.judge(pages, results, injected, leftovers, time.monotonic() - begun)

    def publish(self, pages: int) -> None:
        broker = RabbitBroker(self.broker_access)
        for number in range(pages):
            name = f"p{number:06}"
            payload = Payload(f"{name}.png", content_of(name))
            body = encode_request(Request(name, name, (*STAGES, "out"), (payload,)))
            publish_surely(broker, STAGES[0], body, 0, SystemClock())
        broker.close()

    def wait_for(self, condition: Callable[[], bool]) -> None:
        deadline = time.monotonic() + PATIENCE
        last = -1
        while not condition():
            if self.downloaded.pages != last:
                last, deadline = self.downloaded.pages, time.monotonic() + PATIENCE
            if time.monotonic() > deadline:
                raise SystemExit(f"nothing moved for {PATIENCE:.0f} s after {last} pages\n{self.logs()}")
            time.sleep(0.02)

    def measure(self, injected: Injected, pages: int) -> None:
        before, begun = self.downloaded.pages, time.monotonic()
        if before < pages:
            self.wait_for(lambda: self.downloaded.pages > before)
            injected.recovery.append(time.monotonic() - begun)

    def settled(self) -> dict[str, int]:
        """What is left in the queues when all workers say that they are idle."""
        names = (*STAGES, "out", DEAD_LETTERS)
        deadline = time.monotonic() + 60
        while True:
            with session(self.access) as client:
                idle = all(worker.status == "IDLE" for worker in read_workers(client))
            broker = RabbitBroker(self.broker_access)
            states = {name: broker.state(name) for name in names}
            broker.close()
            left = {name: state.messages for name, state in states.items() if state and state.messages}
            if (idle and not left) or time.monotonic() > deadline:
                return left if left or idle else {"workers that are not idle": 1}

    def judge(
        self, pages: int, results: Path, injected: dict[str, Injected], leftovers: dict[str, int], seconds: float
    ) -> Outcome:
        lost, changed = [], []
        failed = {name for name, _ in self.downloaded.failed}
        for number in range(pages):
            name = f"p{number:06}"
            image = results / name / f"{name}.png"
            if not image.is_file():
                lost.append(name)
                continue
            logs = [(results / name / f"{stage}.log").is_file() for stage in STAGES]
            if image.read_bytes() != content_of(name) or (name not in failed and not all(logs)):
                changed.append(name)
        extra = {path.name for path in results.iterdir()} - {f"p{n:06}" for n in range(pages)} - {".pero-worker"}
        return Outcome(
            pages,
            lost,
            [*changed, *sorted(extra)],
            self.downloaded.failed,
            self.downloaded.duplicates,
            leftovers,
            dict(injected),
            seconds,
        )

    def logs(self) -> str:
        return "\n".join(f"-- {log.name}\n{log.read_text()[-3000:]}" for log in sorted(self.folder.glob("*.log")))


def content_of(name: str) -> bytes:
    return hashlib.sha256(name.encode()).digest() * 100


def show(outcome: Outcome) -> None:
    print("| fault | times | slowest recovery s |\n| --- | --- | --- |")
    for name, one in sorted(outcome.injected.items()):
        print(f"| {name} | {one.times} | {max(one.recovery, default=0.0):.1f} |")
    print(
        f"\n{outcome.pages} pages, {sum(one.times for one in outcome.injected.values())} faults in "
        f"{outcome.seconds:.0f} s: {len(outcome.lost)} lost, {len(outcome.changed)} changed or extra, "
        f"{len(outcome.failed)} listed as failed, {outcome.duplicates_seen} second deliveries recognised, "
        f"left in queues: {outcome.leftovers or 'nothing'}"
    )
    for name, reason in outcome.failed:
        print(f"  failed: {name}: {reason}")


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--pages", type=int, default=5000)
    arguments.add_argument("--faults", type=int, default=200)
    arguments.add_argument("--seed", type=int, default=random.SystemRandom().randrange(10**6))
    given = arguments.parse_args()
    print(f"seed {given.seed}\n", flush=True)
    folder = Path(tempfile.mkdtemp(prefix="pero-chaos-"))
    chaos = Chaos(folder, given.seed)
    try:
        outcome = chaos.run(given.pages, given.faults)
    finally:
        chaos.close()
    show(outcome)
    bad = outcome.lost or outcome.changed or outcome.leftovers
    if not bad:
        shutil.rmtree(folder)
    sys.exit(f"see {folder}" if bad else 0)


if __name__ == "__main__":
    main()
