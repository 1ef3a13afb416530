"""The short form of `make chaos`: faults that are over soon, once each."""

from __future__ import annotations

import random
from pathlib import Path

from faults.chaos import Run, counts_of
from faults.chaos_cluster import ClusterUnderFire
from faults.chaos_pages import HANGING, dummies

SEED = 20261124
LONG = (
    "worker stopped for 14 s",
    "RabbitMQ restarted",
    "RabbitMQ refuses messages for 3 s (memory alarm)",
    "ZooKeeper restarted",
    "ZooKeeper sessions expired",
    "watchdog that leads cut from ZooKeeper",
    "watchdog's clock set ahead by 30 h",
)


def test_no_page_is_lost_or_doubled_whatever_fails(tmp_path: Path) -> None:
    chance = random.Random(SEED)
    (tmp_path / "model").mkdir()
    cluster = ClusterUnderFire(tmp_path, dummies(tmp_path / "model", 0.02), chance)
    try:
        faults = [name for name in cluster.faults if name not in LONG]
        assert len(faults) == len(cluster.faults) - len(LONG)
        # A page that hangs takes its time three times; tests/faults/test_page_failures.py has one.
        outcome = Run(cluster, counts_of(300) | {HANGING: 0}).run(chance.sample(faults, len(faults)))
    finally:
        cluster.close()
    assert not outcome.wrong, f"{outcome.wrong}\n{cluster.logs()}"
    assert {name: one.times for name, one in outcome.injected.items()} == dict.fromkeys(faults, 1)
