"""A gateway under fire: jobs go through it into a cluster while it, its database, the broker and workers are killed.

    python tests/faults/chaos_gateway.py [--pages N] [--faults N] [--seed N]      (a part of make chaos)

At the end every page whose upload was answered with 2xx is done, once, and its text is what an undisturbed worker makes of
it; no one had to help. Prints what was injected, and how long it took until the next page was done.
"""

from __future__ import annotations

import argparse
import json
import random
import shutil
import signal
import statistics
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parents[1]), str(Path(__file__).parents[2])]

from faults.chaos_cluster import ClusterUnderFire
from faults.chaos_pages import Pipeline
from gateway.conftest import V1, PostgreSQL, Roles, RunningGateway, own_postgresql, picture, roles_of

from pero_worker.client.gateway import GatewayClient, GatewayRefused
from pero_worker.clock import SystemClock
from pero_worker.cluster.registry.changes import StageChange, save_stage
from pero_worker.cluster.registry.servers import MQ, set_servers

PAGES_OF_A_JOB = 10
PATIENCE = 240.0
_CONFIG = "[WORKER]\nDUMMY = yes\nTIME_SCALE = 0\nTIME_DIFF_MIN = 0.02\nTIME_DIFF_MAX = 0.06\nLINE = {}\n"


@dataclass
class Seen:
    """How often a fault was injected, and the seconds from its end to the next page."""

    times: int = 0
    recovery: list[float] = field(default_factory=list)


class GatewayUnderFire(ClusterUnderFire):
    """The cluster of `make chaos`, with two gateways over PostgreSQL in front of it, and without `download`."""

    def prepare(self, database: PostgreSQL) -> None:
        self.database = database
        with self.connected() as (client, broker):
            set_servers(client, MQ, [f"127.0.0.1:{self.amqp.port}"])
            for name, config in self.pipeline.stages.items():
                save_stage(client, broker, name, StageChange(config=config, version="1"), SystemClock().now())
        for number in range(2):
            self.add(f"worker{number}", self.zk, "worker", "--id", f"w{number}", "--cache", str(self.folder / "cache"))
        for number, proxy in enumerate(self.dogs):
            self.add(f"watchdog{number}", proxy, "watchdog")
        self.gateways = []
        for number in range(2):
            options = (
                *("--database", database.url, "--cluster", f"127.0.0.1:{self.zk.port}"),
                *("--engine", "both=first,second", "--instance-timeout", "4"),
            )
            self.gateways.append(RunningGateway(self.folder / "data", options, log_name=f"gateway{number}.log").start())

    @property
    def faults(self) -> dict[str, Callable[[], object]]:
        return {
            "gateway killed": self.kill_gateway,
            "both gateways killed": self.kill_gateways,
            "gateway restarted": self.restart_gateway,
            "database killed": self.kill_database,
            "database restarted": self.restart_database,
            "broker killed": lambda: self.restart_rabbit(signal.SIGKILL),
            "broker wiped": self.wipe_rabbit,
            "a queue purged": self.purge,
            "broker's connections cut": self.amqp.cut,
            "worker killed": self.kill_worker,
            "worker killed with its supervisor": self.kill_worker_whole,
            "ZooKeeper killed": lambda: self.restart_zookeeper(signal.SIGKILL),
        }

    def kill_gateway(self) -> None:
        self._again([self.chance.randrange(2)])

    def kill_gateways(self) -> None:
        self._again([0, 1])

    def _again(self, numbers: list[int]) -> None:
        for number in numbers:
            self.gateways[number].kill()
        for number in numbers:
            self.gateways[number].start(port=self.gateways[number].port)

    def restart_gateway(self) -> None:
        chosen = self.gateways[self.chance.randrange(2)]
        status = chosen.stop()
        if status:
            self.surprises.append(f"a gateway ended with {status} when it was stopped")
        chosen.start(port=chosen.port)

    def kill_database(self) -> None:
        self.database.kill()
        self.database.start()

    def restart_database(self) -> None:
        self.database.stop()
        self.database.start()

    def wipe_rabbit(self) -> None:
        """Empties the broker, as if its disk had been replaced."""
        self.rabbit.stop(signal.SIGKILL)
        shutil.rmtree(self.rabbit.folder / "mnesia")
        self.rabbit.start()

    def purge(self) -> None:
        name = self.chance.choice(sorted(self.pipeline.stages))
        with self.connected() as (_, broker):
            while broker.state(name) and broker.take(name):
                pass

    def watch(self) -> None:
        """Looks after the gateways, too; none of them should have ended by itself."""
        self.look_after()
        for gateway in self.gateways:
            if gateway.process is not None and gateway.process.poll() is not None:
                self.surprises.append(f"a gateway ended with {gateway.process.returncode}")
                gateway.start(port=gateway.port)

    def close(self) -> None:
        for gateway in getattr(self, "gateways", []):
            if gateway.process is not None and gateway.process.poll() is None:
                gateway.kill()
        super().close()


class Sender(threading.Thread):
    """A client that repeats each request until it is answered; it sends jobs of ten pages through either gateway."""

    def __init__(self, urls: list[str], key: str, names: list[str]) -> None:
        super().__init__(daemon=True)
        self._urls, self._key, self._names = urls, key, names
        self.allowed = 0
        self.jobs: dict[str, list[str]] = {}
        self.failure: BaseException | None = None

    def run(self) -> None:
        try:
            for number, start in enumerate(range(0, len(self._names), PAGES_OF_A_JOB)):
                while start > self.allowed:
                    time.sleep(0.05)
                self._send(self._urls[number % 2], self._names[start : start + PAGES_OF_A_JOB])
        except BaseException as error:  # told by whoever waits for the thread
            self.failure = error

    def _send(self, url: str, names: list[str]) -> None:
        client = GatewayClient(url, self._key, patience=PATIENCE)
        with tempfile.NamedTemporaryFile(suffix=".jpg") as scan:
            scan.write(picture())
            scan.flush()
            job = client.create_job(names, engine_name="both", formats=["text"])["id"]
            self.jobs[job] = names
            for name in names:
                try:
                    client.upload_image(job, name, Path(scan.name))
                except GatewayRefused as refused:
                    if refused.code != "JOB_NOT_IN_NEW":  # The answer to the last upload was lost, not the upload.
                        raise
        client.close()


class Run:
    def __init__(self, cluster: GatewayUnderFire, pages: int) -> None:
        self.cluster = cluster
        self.names = [f"p{number:05}.jpg" for number in range(pages)]
        self.seen: dict[str, Seen] = {}

    def run(self, faults: list[str]) -> list[str]:
        """Returns what is wrong at the end."""
        cluster = self.cluster
        roles: Roles = roles_of(cluster.gateways[0])
        sender = Sender([gateway.url for gateway in cluster.gateways], roles.user.key, self.names)
        sender.start()
        for number, name in enumerate(faults, 1):
            # There is always something to do while a fault is on, and something left for the next.
            sender.allowed = round(len(self.names) * number / len(faults)) - PAGES_OF_A_JOB
            self.wait_for(lambda: self.finished() > 0)
            cluster.faults[name]()
            self.measure(self.seen.setdefault(name, Seen()), sender.allowed)
            time.sleep(cluster.chance.uniform(0, 0.5))
        sender.allowed = len(self.names)
        sender.join(PATIENCE)
        if sender.failure is not None:
            raise sender.failure
        self.wait_for(lambda: self.finished() >= len(self.names))
        return [*self.judge(V1(cluster.gateways[0].url, roles.user.key), sender.jobs), *cluster.surprises]

    def measure(self, seen: Seen, allowed: int) -> None:
        seen.times += 1
        before, begun = self.finished(), time.monotonic()
        if before < allowed:
            self.wait_for(lambda: self.finished() > before)
            seen.recovery.append(time.monotonic() - begun)

    def finished(self) -> int:
        return len(self.told())

    def told(self) -> Counter[str]:
        found: Counter[str] = Counter()
        for gateway in self.cluster.gateways:
            for line in gateway.log().splitlines():
                if '"page finished"' in line:
                    try:
                        found[json.loads(line)["page"]] += 1
                    except (ValueError, KeyError):  # cut off by a kill
                        continue
        return found

    def wait_for(self, condition: Callable[[], bool]) -> None:
        last, deadline = -1, 0.0
        while not condition():
            self.cluster.watch()
            if (now := self.finished()) != last:
                last, deadline = now, time.monotonic() + PATIENCE
            if time.monotonic() > deadline:
                raise SystemExit(f"nothing moved for {PATIENCE:.0f} s after {last} pages\n{self.cluster.logs()}")
            time.sleep(0.1)

    def judge(self, user: V1, jobs: dict[str, list[str]]) -> list[str]:
        wrong = []
        client = GatewayClient(user.url, user.key)
        listed = {job["id"] for job in client.jobs()}
        if listed != set(jobs):
            wrong.append(f"{len(listed - set(jobs))} jobs more than were made, {len(set(jobs) - listed)} fewer")
        for job, names in jobs.items():
            pages = list(client.pages(job))
            if [page["name"] for page in pages] != names or {page["state"] for page in pages} != {"done"}:
                wrong.append(f"job {job}: {[(page['name'], page['state'], page['error']) for page in pages]}")
                continue
            for page in pages:
                text = client.page_result(job, page["name"], "text").decode().splitlines()
                found = [line.partition(",")[0] for line in text if line]
                if found != [f"first: {page['name']}", f"second: {page['name']}"]:
                    wrong.append(f"page {page['name']} of {job}: {text}")
        client.close()
        double = {page: times for page, times in self.told().items() if times > 1}
        if double:
            wrong.append(f"written down more than once: {double}")
        return wrong


def show(run: Run, wrong: list[str], seconds: float) -> None:
    print("| fault | times | recovery s, median | slowest |\n| --- | --- | --- | --- |")
    for name, one in run.seen.items():
        found = one.recovery or [0.0]
        print(f"| {name} | {one.times} | {statistics.median(found):.1f} | {max(found):.1f} |")
    times = sum(one.times for one in run.seen.values())
    print(f"| all | {times} | | |\n\n{len(run.names)} pages accepted, {run.finished()} done; {seconds:.0f} s")
    for thing in wrong[:20]:
        print(f"WRONG: {thing}")


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--pages", type=int, default=1500)
    arguments.add_argument("--faults", type=int, default=36)
    arguments.add_argument("--seed", type=int, default=random.SystemRandom().randrange(10**6))
    arguments.add_argument("--only", default="", help="faults whose names hold these words")
    given = arguments.parse_args()
    print(f"seed {given.seed}\n", flush=True)
    folder, chance = Path(tempfile.mkdtemp(prefix="pero-chaos-")), random.Random(given.seed)
    folder.chmod(0o755)
    stages = {name: _CONFIG.format(name) for name in ("first", "second")}
    begun = time.monotonic()
    with own_postgresql() as database:
        cluster = GatewayUnderFire(folder, Pipeline(stages, (("first", "second"),), {}, folder), chance)
        try:
            cluster.prepare(database)
            run = Run(cluster, given.pages)
            names = [name for name in cluster.faults if given.only in name]
            order: list[str] = []
            while len(order) < given.faults:
                order += chance.sample(names, len(names))
            wrong = run.run(order[: given.faults])
        finally:
            cluster.close()
    show(run, wrong, time.monotonic() - begun)
    if not wrong:
        shutil.rmtree(folder)
    sys.exit(f"see {folder}" if wrong else 0)


if __name__ == "__main__":
    main()
