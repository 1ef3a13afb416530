"""`make bench-growth`: how the cost of a page grows with each thing that there may be more of, one at a time.

Those are workers, stages, pages in a queue, bytes of a page and documents of a run. Below each table is the power with
which CPU time and memory grew: 0 = not at all, 1 = in proportion to the amount. Uses real RabbitMQ and ZooKeeper
servers, started for the run and removed afterwards.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import signal
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import matplotlib as mpl
from growth_measures import (
    MB,
    Bench,
    Row,
    larger_pages,
    longer_queue,
    more_documents,
    more_stages,
    more_watched,
    more_workers,
)
from matplotlib import pyplot

from pero_worker.brokers.rabbitmq import RabbitBroker
from pero_worker.cluster.registry.servers import MQ, set_servers
from pero_worker.cluster.settings import cluster_access, options_in, read_settings
from pero_worker.coordinators.session import session
from pero_worker.servers.local import LocalServers
from pero_worker.wire.servers import parse_server

MAX = 10**9
CPU: Callable[[Row], float] = lambda row: row.cpu_ms  # noqa: E731
MEMORY: Callable[[Row], float] = lambda row: row.memory_mb  # noqa: E731
SLACK = 0.15
"""Tolerance of a power, by which two runs may differ."""


@dataclass(frozen=True, kw_only=True)
class Dimension:
    """Something that there may be more of, such as workers."""

    title: str
    """What was counted, and what the figures refer to."""
    measure: Callable[[Bench, int], Iterator[Row]]
    """Measures amounts up to a given one."""
    quick: int
    """Largest amount for `--quick`."""
    cpu: float
    """Power with which CPU time for each may grow: 0 if the work grows with the amount, 1 if the work stays the same or
    each gets larger."""
    memory: float
    """Power with which memory may grow."""


DIMENSIONS = {
    "workers": Dimension(
        title="workers, each page 0.1 s of a simulated engine", measure=more_workers, quick=16, cpu=0, memory=1
    ),
    "stages": Dimension(
        title="stages that one worker and a watchdog serve, 2,000 pages of 1 kB among them",
        measure=more_stages,
        quick=10,
        cpu=1,
        memory=1,
    ),
    "queue": Dimension(
        title="pages in the queue, 100 bytes each; of a worker that does some of them, and a watchdog",
        measure=longer_queue,
        quick=100_000,
        cpu=0,
        memory=0,
    ),
    "size": Dimension(title="bytes of a page, one worker", measure=larger_pages, quick=10 * MB, cpu=1, memory=1),
    "documents": Dimension(
        title="documents of a run on one machine: found, planned, written down",
        measure=more_documents,
        quick=10_000,
        cpu=0,
        memory=1,
    ),
    "watched": Dimension(
        title="workers that a watchdog watches; each tells once a second what it does",
        measure=more_watched,
        quick=100,
        cpu=0,
        memory=1,
    ),
}
"""Dimensions, by the word for `--only`."""


def power(rows: Sequence[Row], value: Callable[[Row], float]) -> float:
    """Returns the power with which a value grows, from the middle amount on: fixed costs hide it in small amounts."""
    counted = [row for row in rows[(len(rows) - 1) // 2 :] if value(row) > 0]
    if len(counted) < 2:
        return 0.0
    first, last = counted[0], counted[-1]
    return math.log(value(last) / value(first)) / math.log(last.amount / first.amount)


def show(dimension: Dimension, rows: Sequence[Row]) -> None:
    print(f"\n**{dimension.title}**\n\n| amount | a second | CPU ms each | our memory MB | RabbitMQ MB | its CPU ms |")
    print("| --- | --- | --- | --- | --- | --- |")
    for row in rows:
        broker = " | " if row.broker_mb is None else f"{row.broker_mb:.0f} | {row.broker_ms:.2f}"
        print(f"| {row.amount:,} | {row.rate:.1f} | {row.cpu_ms:.3f} | {row.memory_mb:.0f} | {broker} |")
    cpu, memory = power(rows, CPU), power(rows, MEMORY)
    good = cpu <= dimension.cpu + SLACK and memory <= dimension.memory + SLACK
    print(
        f"\nCPU each grows with the power {cpu:.2f} (at most {dimension.cpu:.0f} is linear), memory with {memory:.2f} "
        f"(at most {dimension.memory:.0f}){'' if good else ': FASTER THAN IT SHOULD'}.",
        flush=True,
    )


def plot(found: Mapping[str, Sequence[Row]], file: Path) -> None:
    mpl.use("svg")
    mpl.rcParams["svg.hashsalt"] = "growth"
    mpl.rcParams["svg.fonttype"] = "none"
    figure, panels = pyplot.subplots(2, len(found), figsize=(3.2 * len(found), 5.4), squeeze=False)
    for column, (name, rows) in enumerate(found.items()):
        for panel, value in zip(panels[:, column], (CPU, MEMORY), strict=True):
            panel.loglog([row.amount for row in rows], [value(row) for row in rows], "o-", markersize=4)
            panel.grid(visible=True, which="major", alpha=0.3)
        panels[0, column].set_title(name)
    panels[0, 0].set_ylabel("CPU ms each")
    panels[1, 0].set_ylabel("our memory, MB")
    figure.tight_layout()
    file.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(file, metadata={"Date": None})


@contextmanager
def started() -> Iterator[Bench]:
    with tempfile.TemporaryDirectory() as folder:
        servers = LocalServers(Path(folder) / "cluster")
        addresses = servers.start()
        try:
            access = cluster_access(options_in(read_settings(addresses.client_file)))
            environment = {**os.environ, "PERO_WORKER_CONFIG": str(addresses.client_file), "XDG_CACHE_HOME": folder}
            with session(access.zookeeper) as client:
                set_servers(client, MQ, [addresses.rabbitmq])
                broker = RabbitBroker(replace(access.broker, servers=(parse_server(addresses.rabbitmq),)))
                broker.wait_connected(15)
                [pid_file] = Path(folder).rglob("rabbitmq.pid")
                yield Bench(client, broker, environment, json.loads(pid_file.read_text())[0])
                broker.close()
        finally:
            servers.stop(wipe=True)


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--only", default=",".join(DIMENSIONS), help="some, and how many: workers,queue:100000")
    options.add_argument("--quick", action="store_true", help="less of everything: two minutes on a quiet machine")
    options.add_argument("--plot", type=Path, help="an SVG of what was measured")
    given = options.parse_args()
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # The servers are stopped, however this ends.
    wanted = dict(part.partition(":")[::2] for part in given.only.split(","))
    if unknown := set(wanted) - set(DIMENSIONS):
        sys.exit(f"there is no {', '.join(sorted(unknown))}: choose from {', '.join(DIMENSIONS)}")
    found: dict[str, list[Row]] = {}
    with started() as bench:
        for name, most in wanted.items():
            dimension = DIMENSIONS[name]
            limit = dimension.quick if given.quick else MAX
            found[name] = list(dimension.measure(bench, min(int(most or MAX), limit)))
            show(dimension, found[name])
    if given.plot:
        plot(found, given.plot)


if __name__ == "__main__":
    main()
