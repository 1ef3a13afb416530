"""`make bench-scale`: 1,000 GPU workers and a billion pages, extrapolated from measurements on two cores.

What each part of a cluster has to do for a page is measured (docs/benchmarks.md says where); how much a machine in a
data centre can do is assumed, and marked as such. The watchdog's policy is the real one, on a simulated cluster.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Mapping
from dataclasses import dataclass

from pero_worker.watchdog.policy import PlanRule
from pero_worker.watchdog.scenario import Scenario, StageModel, WorkerModel
from pero_worker.watchdog.simulate import Simulation

PAGES = 1_000_000_000
IMAGE_MB, RESULTS_MB, REFERENCE_MB = 1.0, 0.06, 0.002
STAGES = 3
BROKER_CORES = 16

CLASSIC_MS, QUORUM_MS = (0.22, 5.2), (0.45, 19.4)
"""Measured: RabbitMQ's CPU milliseconds for a message into and out of a queue, and for each MB of it; for a quorum
queue, of the three nodes together that keep it."""
QUEUE_MESSAGES, QUEUE_MB = 5000.0, 233.0
"""Measured: messages, and MB of large ones, that go through one classic queue per second."""
QUORUM_SPEED = (0.9, 0.5)
"""Measured: the same for a quorum queue, as fractions of those messages and MB."""
WORKER_MS, WORKER_MS_A_MB = 0.18, 2.4
"""Measured: CPU milliseconds of a worker, without its engine, for a page of 10 kB, and for each MB."""
WRITES_A_WORKER = 0.5
"""Measured: ZooKeeper writes per second of a worker that has been busy for a while."""
EVENT_MS = 0.19
"""Measured: CPU milliseconds of the watchdog for such a write."""
GATEWAY_MS_A_MB = 8.0
"""Measured: CPU milliseconds of a gateway for a page of 1 MB."""

NETWORK_MB, DISK_MB, ZOOKEEPER_WRITES = 2900.0, 1500.0, 10_000.0
"""Assumed for one machine, per second: 25 Gbit/s, an NVMe disk, three ZooKeeper servers."""


@dataclass(frozen=True, kw_only=True)
class Layout:
    """A way to build the cluster."""

    name: str
    """Name, for people."""
    passes: int
    """Queues that a page goes through."""
    store: bool = False
    """Whether images and results travel as references."""
    nodes: int = 1
    """Nodes of RabbitMQ, each with its share of the queues; quorum queues are on all of them."""
    quorum: bool = False
    """Whether each queue is replicated on all nodes."""
    shards: int = 1
    """Queues for each stage."""
    cells: int = 1
    """Clusters side by side, each with its own ZooKeeper, watchdog and RabbitMQ."""


NAMES = {0.0: "late", float("inf"): "-"}
LAYOUTS = (
    Layout(name="one RabbitMQ, each stage through it", passes=STAGES + 1),
    Layout(name="workers hold all stages", passes=2),
    Layout(name="and a payload store", passes=2, store=True),
    Layout(name="and 4 queues a stage", passes=2, store=True, shards=4),
    Layout(name="and 3 nodes, quorum queues", passes=2, store=True, shards=4, nodes=3, quorum=True),
    Layout(name="and 4 nodes, classic queues", passes=2, store=True, shards=4, nodes=4),
    Layout(name="10 cells like the third", passes=2, store=True, cells=10),
)


def limits(layout: Layout, workers: int) -> Mapping[str, float]:
    """Returns the pages per second of the whole, by what would limit them."""
    size = REFERENCE_MB if layout.store else IMAGE_MB + RESULTS_MB
    base, per_mb = QUORUM_MS if layout.quorum else CLASSIC_MS
    copies = layout.nodes if layout.quorum else 1
    messages, megabytes = QUORUM_SPEED if layout.quorum else (1.0, 1.0)
    through_queue = min(QUEUE_MESSAGES * messages, QUEUE_MB * megabytes / size)
    machines = layout.nodes * layout.cells
    # What each cell's watchdog spends on its workers' reports does not depend on pages: beyond a core it falls behind.
    events = WRITES_A_WORKER * workers / layout.cells
    late = events * EVENT_MS / 1000 > 1 or events > ZOOKEEPER_WRITES
    return {
        "RabbitMQ's cores": machines * BROKER_CORES * 1000 / (layout.passes * (base + per_mb * size)),
        "one queue's core": layout.cells * layout.shards * through_queue,
        # In and out count separately; a quorum queue sends a copy to each of the other nodes.
        "RabbitMQ's network": machines * NETWORK_MB / (layout.passes * size * copies),
        "RabbitMQ's disk": machines * DISK_MB / (layout.passes * size * copies),
        "watchdog, ZooKeeper": 0.0 if late else float("inf"),
    }


def show_layouts(workers: int, rate: float) -> None:
    wanted = workers * rate
    print(
        f"\n**{workers:,} workers of {rate:g} pages a second: {wanted:,.0f} pages a second are wanted, and take ",
        end="",
    )
    print(f"{PAGES / wanted / 86400:.1f} days**\n")
    print("| built so | " + " | ".join(limits(LAYOUTS[0], workers)) + " | first | pages/s | days |")
    print("| --- |" + " --- |" * (len(limits(LAYOUTS[0], workers)) + 3))
    for layout in LAYOUTS:
        found = limits(layout, workers)
        first = min(found, key=lambda name: found[name])
        enough = found[first] >= wanted
        cells = " | ".join(NAMES.get(value, f"{value:,.0f}") for value in found.values())
        print(
            f"| {layout.name} | {cells} | {'the GPUs' if enough else first} | {min(found[first], wanted):,.0f} "
            f"| {days(min(found[first], wanted))} |"
        )


def days(pages: float) -> str:
    """Returns the days that a billion pages take at so many per second."""
    return f"{PAGES / pages / 86400:.1f}" if pages else "-"


def show_rest(workers: int, rate: float) -> None:
    wanted = workers * rate
    size = IMAGE_MB + RESULTS_MB
    events = WRITES_A_WORKER * workers
    beside = {
        "ZooKeeper writes a second": f"{events:,.0f} of {ZOOKEEPER_WRITES:,.0f} assumed",
        "the watchdog, for what workers tell": f"{events * EVENT_MS / 1000:.2f} of one core",
        "a worker's CPU beside its GPU": f"{rate * (WORKER_MS + WORKER_MS_A_MB * size) / 1000:.3f} of a core",
        "payload store, in and out": f"{wanted * 2 * size / 1000:,.1f} GB/s",
        "what a billion pages take up": f"{PAGES * size / 1e6:,.0f} TB",
        "gateways, if all pages come through them": f"{wanted * GATEWAY_MS_A_MB * size / 1000:,.0f} cores",
    }
    print("\n| beside RabbitMQ | need |\n| --- | --- |")
    for name, need in beside.items():
        print(f"| {name} | {need} |")


def simulate(workers: int, pages: int, seconds: float) -> None:
    """Simulates a batch of three stages of different cost, all of which fit in a worker's memory."""
    shares = (0.2, 0.7, 0.1)
    stages = [StageModel(name=f"s{n}", seconds=seconds * share, load=30.0) for n, share in enumerate(shares)]
    team = [WorkerModel(name=f"w{number:04}", kind="cuda", memory=3) for number in range(workers)]
    way = tuple(stage.name for stage in stages)
    scenario = Scenario(stages=stages, workers=team, pages=[(0.0, way)] * pages, known=True)
    begun = time.process_time()
    found = Simulation(scenario, PlanRule(), seed=1).run()
    spent, bound = time.process_time() - begun, pages * seconds / workers
    print(
        f"| {workers:,} | {pages:,} | {found.makespan:.0f} s | {bound:.0f} s | {100 * found.loading:.1f} % "
        f"| {found.moves:,} | {spent:.0f} s |",
        flush=True,
    )


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--workers", type=int, default=1000)
    options.add_argument("--rate", type=float, nargs="*", default=[2.0, 20.0], help="pages a second of one worker")
    options.add_argument("--no-simulation", action="store_true", help="only what is worked out")
    given = options.parse_args()
    for rate in given.rate:
        show_layouts(given.workers, rate)
        show_rest(given.workers, rate)
    if not given.no_simulation:
        print("\n**The watchdog's plan, simulated: a batch of three stages, 1.5 s a page, models that load in 30 s**\n")
        print("| workers | pages | took | all work shared | loading | moves | CPU of the simulation |")
        print("| --- | --- | --- | --- | --- | --- | --- |")
        for part in (100, 10, 1):
            count = max(1, given.workers // part)
            simulate(count, min(200 * count, 100_000), 1.5)


if __name__ == "__main__":
    main()
