"""A cluster under fire: pages go through two and three stages while servers, workers and connections fail, by a seed.

    python tests/faults/chaos.py [--pages N] [--faults N] [--seed N] [--pipeline DIR --images DIR]      (make chaos)

At the end every page is on disk exactly once and as in an undisturbed run, or listed as failed with its reason; no
queue holds a leftover; nobody had to help. Among the pages are some that fail, kill their workers or hang, and messages
that are none. Prints what was injected and how long the cluster took to finish the next page.
"""

from __future__ import annotations

import argparse
import json
import random
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from faults.chaos_cluster import WATCHDOGS, ClusterUnderFire, in_thread
from faults.chaos_pages import BAD, GARBAGE, GOOD, HANGING, KILLER, Pipeline, dummies, files_of, undisturbed
from faults.chaos_pages import messages as messages_of

from pero_worker.brokers.rabbitmq import RabbitBroker
from pero_worker.clock import SystemClock
from pero_worker.cluster.pages.sending import publish_with_retry
from pero_worker.cluster.registry.workers import read_workers
from pero_worker.inputs.discover import discover
from pero_worker.models.pipelines import load_pipeline
from pero_worker.wire.queues import DEAD_LETTERS

LONGEST = 0.04
"""The longest that a dummy stage takes, in seconds."""
PATIENCE = 240.0
REASONS = {
    BAD: ("told to fail",),
    KILLER: ("died on this page",),
    # Some of its workers may have been killed while they hung.
    HANGING: ("time limit", "died on this page"),
    GOOD: ("died on this page",),
}


@dataclass
class Injected:
    """How often a fault was injected, and the seconds from its end to the next page."""

    times: int = 0
    recovery: list[float] = field(default_factory=list)


@dataclass
class Outcome:
    """`failed` are (page, reason). `wrong` lists what is lost, changed, extra, or left over, and should be empty."""

    counts: dict[str, int]
    lost: list[str] = field(default_factory=list)
    duplicated: list[str] = field(default_factory=list)
    changed: list[str] = field(default_factory=list)
    failed: list[tuple[str, str]] = field(default_factory=list)
    leftovers: dict[str, int] = field(default_factory=dict)
    surprises: list[str] = field(default_factory=list)
    injected: dict[str, Injected] = field(default_factory=dict)
    stopping: dict[str, float] = field(default_factory=dict)
    suspects: int = 0
    seconds: float = 0.0

    @property
    def wrong(self) -> list[object]:
        unjust = [
            (name, reason)
            for name, reason in self.failed
            if not any(words in reason for kind in REASONS if name.startswith(kind) for words in REASONS[kind])
        ]
        return [
            thing
            for thing in (self.lost, self.duplicated, self.changed, unjust, self.leftovers, self.surprises)
            if thing
        ]


class Run:
    """`counts` gives the number of messages of each kind."""

    def __init__(self, cluster: ClusterUnderFire, counts: dict[str, int]) -> None:
        self.cluster = cluster
        self.sent = messages_of(cluster.pipeline, counts, cluster.chance)
        self.outcome = Outcome(counts)
        self.allowed = 0

    def run(self, names: Sequence[str]) -> Outcome:
        """Injects the faults `names`, one after the other."""
        begun = time.monotonic()
        cluster, outcome = self.cluster, self.outcome
        undisturbed(cluster.pipeline, self.sent, cluster.folder / "undisturbed")
        cluster.set_up()
        publishing = in_thread(self.publish)
        for number, name in enumerate(names, 1):
            # There is always something to do while a fault is on, and something left for the next.
            self.allowed = round(len(self.sent) * min(1.0, (number + 0.5) / len(names)))
            self.wait_for(lambda: cluster.finished > 0)
            cluster.faults[name]()
            one = outcome.injected.setdefault(name, Injected())
            one.times += 1
            self.measure(one)
            time.sleep(cluster.chance.uniform(0, 0.3))
        self.allowed = len(self.sent)
        pages = sum(message.kind != GARBAGE for message in self.sent)
        self.wait_for(lambda: cluster.finished >= pages)
        publishing.join(PATIENCE)
        self.settle()
        outcome.stopping = cluster.stop_all()
        self.judge()
        outcome.surprises = cluster.surprises
        outcome.seconds = time.monotonic() - begun
        return outcome

    def publish(self) -> None:
        broker = RabbitBroker(self.cluster.way_in)
        for number, message in enumerate(self.sent):
            while number >= self.allowed:
                time.sleep(0.02)
            publish_with_retry(broker, message.queue, message.body, 0, SystemClock())
        broker.close()

    def wait_for(self, condition: Callable[[], bool]) -> None:
        last, deadline = -1, 0.0
        while not condition():
            self.cluster.look_after()
            if self.cluster.finished != last:
                last, deadline = self.cluster.finished, time.monotonic() + PATIENCE
            if time.monotonic() > deadline:
                raise SystemExit(f"nothing moved for {PATIENCE:.0f} s after {last} pages\n{self.cluster.logs()}")
            time.sleep(0.05)

    def measure(self, one: Injected) -> None:
        before, begun = self.cluster.finished, time.monotonic()
        if before < sum(message.kind != GARBAGE for message in self.sent[: self.allowed]):
            self.wait_for(lambda: self.cluster.finished > before)
            one.recovery.append(time.monotonic() - begun)

    def settle(self) -> None:
        """Records what is left once all workers report that they are idle; dead letters are examined one by one."""
        deadline = time.monotonic() + 60
        with self.cluster.connected() as (client, broker):
            queues = (*self.cluster.pipeline.stages, "out")
            while True:
                left = {name: state.messages for name in queues if (state := broker.state(name)) and state.messages}
                workers = read_workers(client)
                if not all(worker.status == "IDLE" for worker in workers):
                    left["workers that are not idle"] = 1
                if client.get_children("/pero/watchdog/election")[WATCHDOGS:]:
                    left["watchdogs that are gone"] = 1
                if not left or time.monotonic() > deadline:
                    break
                time.sleep(0.1)
            self.outcome.leftovers = left
            expected = {message.body for message in self.sent if message.kind == GARBAGE}
            found = set()
            while broker.state(DEAD_LETTERS) and (letter := broker.take(DEAD_LETTERS)):
                found.add(letter[0].body)
            if missing := len(expected - found):
                self.outcome.lost += [f"{missing} messages that are none"]
            if extra := len(found - expected):
                left["dead letters of good pages"] = extra
            if client.exists("/pero/suspects"):
                self.outcome.suspects = len(client.get_children("/pero/suspects"))

    def judge(self) -> None:
        outcome = self.outcome
        records = {record["page"]: record for record in map(json.loads, self.cluster.report.splitlines())}
        expected, found = files_of(self.cluster.folder / "undisturbed"), files_of(self.cluster.results)
        done = {name for name, record in records.items() if record["status"] == "done"}
        outcome.failed = sorted((name, records[name]["error"]) for name in set(records) - done)
        names = {message.name for message in self.sent if message.kind != GARBAGE}
        outcome.lost += sorted(names - set(records))
        outcome.duplicated = sorted(set(found) - set(expected)) + sorted(set(records) - names)
        outcome.changed = sorted(
            name for name, content in expected.items() if name.partition(".")[0] in done and found.get(name) != content
        )
        outcome.changed += sorted(name for name in done if not name.startswith(GOOD))


def show(outcome: Outcome) -> None:
    """Of a fault's own row: as nothing is lost or double at the end, nothing is by any of them."""
    print("| fault | times | lost | duplicated | recovery s, median | slowest |\n| --- | --- | --- | --- | --- | --- |")
    whole = not (outcome.lost or outcome.duplicated)
    for name, one in outcome.injected.items():
        seconds = one.recovery or [0.0]
        own = "0 | 0" if whole else "? | ?"
        print(f"| {name} | {one.times} | {own} | {statistics.median(seconds):.1f} | {max(seconds):.1f} |")
    times = sum(one.times for one in outcome.injected.values())
    print(f"| all | {times} | {len(outcome.lost)} | {len(outcome.duplicated)} | | |\n")
    kinds = ", ".join(f"{count} {kind}" for kind, count in outcome.counts.items())
    print(
        f"{kinds}; {outcome.seconds:.0f} s. {len(outcome.changed)} differ from the undisturbed run, "
        f"{len(outcome.failed)} listed as failed ({sum(name.startswith(GOOD) for name, _ in outcome.failed)} good ones), "
        f"left over: {outcome.leftovers or 'nothing'}, {outcome.suspects} notes on suspects; "
        f"stopped within {max(outcome.stopping.values()):.1f} s"
    )
    for thing in outcome.wrong:
        print(f"WRONG: {thing}")


def counts_of(pages: int) -> dict[str, int]:
    """`pages` good ones, and what else is mixed in."""
    few = max(pages // 1500, 1)
    return {GOOD: pages, BAD: pages // 50, KILLER: few, HANGING: few, GARBAGE: pages // 50}


def real(directory: Path, images: Path) -> Pipeline:
    """The stages of a pipeline with a real engine."""
    loaded = load_pipeline(str(directory), cache=Path(tempfile.gettempdir()) / "chaos-pipelines")
    (stage,) = loaded.stages
    assert stage.directory is not None
    found = [document.path for document in discover([str(images)]).documents]
    config = stage.config or (stage.directory / "config.ini").read_text()
    return Pipeline({stage.name: config}, ((stage.name,),), {p.name: p.read_bytes() for p in found}, stage.directory)


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--pages", type=int, default=5000)
    arguments.add_argument("--faults", type=int, default=200)
    arguments.add_argument("--seed", type=int, default=random.SystemRandom().randrange(10**6))
    arguments.add_argument("--only", default="", help="faults whose names hold these words")
    arguments.add_argument("--pipeline", type=Path, help="a folder with a real pipeline, instead of dummies")
    arguments.add_argument("--images", type=Path, help="for the real pipeline")
    given = arguments.parse_args()
    print(f"seed {given.seed}\n", flush=True)
    folder = Path(tempfile.mkdtemp(prefix="pero-chaos-"))
    chance = random.Random(given.seed)
    if given.pipeline:
        pipeline, counts = real(given.pipeline, given.images), {GOOD: given.pages, GARBAGE: given.pages // 20}
    else:
        (folder / "model").mkdir()
        pipeline, counts = dummies(folder / "model", LONGEST), counts_of(given.pages)
    cluster = ClusterUnderFire(folder, pipeline, chance)
    try:
        names = [name for name in cluster.faults if given.only in name]
        outcome = Run(cluster, counts).run(rounds(names, given.faults, chance))
    finally:
        cluster.close()
    show(outcome)
    if not outcome.wrong:
        shutil.rmtree(folder)
    sys.exit(f"see {folder}" if outcome.wrong else 0)


def rounds(names: list[str], number: int, chance: random.Random) -> list[str]:
    """Returns `number` faults, in which each comes up before any comes twice."""
    order: list[str] = []
    while len(order) < number:
        order += chance.sample(names, len(names))
    return order[:number]


if __name__ == "__main__":
    main()
