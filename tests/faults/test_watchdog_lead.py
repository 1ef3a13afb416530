"""Any number of watchdogs, one leader: the lead moves if it dies or is cut off, and there are never two."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from cluster.conftest import cluster, rabbitmq, zookeeper  # noqa: F401 - fixtures
from cluster.test_workers import DUMMY, page, until
from faults.proxy import Proxy

from pero_worker.clock import SystemClock
from pero_worker.cluster.status import leader
from pero_worker.coordinators.session import session
from pero_worker.watchdog.janitor import tidy, zookeepers_time
from pero_worker.watchdog.notes import waiting_since
from pero_worker.watchdog.policy import PlanRule
from pero_worker.watchdog.service import Watchdog

if TYPE_CHECKING:
    from cluster.conftest import TestCluster


def test_a_killed_leader_is_followed_by_the_standby(cluster: TestCluster) -> None:
    command = [sys.executable, "-m", "pero_worker", "watchdog"]
    with cluster.client() as client:
        first = subprocess.Popen(command, env=cluster.environment())
        until(lambda: leader(client))
        name = leader(client)
        second = subprocess.Popen(command, env=cluster.environment())
        until(lambda: len(client.get_children("/pero/watchdog/election")) == 2)
        assert leader(client) == name
        first.kill()
        first.wait()
        until(lambda: leader(client) not in {"", name})
        second.send_signal(signal.SIGTERM)
        assert second.wait(15) == 0
        until(lambda: leader(client) == "")


@contextmanager
def watchdog_through(cluster: TestCluster, port: int, name: str) -> Iterator[list[str]]:
    """A watchdog whose way to ZooKeeper is `port`; the list grows by its name with every look it takes while it leads."""
    looks: list[str] = []
    stopped = threading.Event()
    root = cluster.zookeeper.partition("/")[2]
    access = replace(cluster.access.zookeeper, servers=(f"127.0.0.1:{port}/{root}",))

    def lengths(queues: Sequence[str]) -> dict[str, int]:
        looks.append(name)
        return dict.fromkeys(queues, 0)

    with session(access) as client:
        watchdog = Watchdog(client, lengths, SystemClock(), PlanRule(interval=0.05))
        thread = threading.Thread(target=watchdog.run, args=(name, stopped))
        thread.start()
        try:
            yield looks
        finally:
            stopped.set()
            thread.join(20)
            assert not thread.is_alive()


def test_a_leader_that_is_cut_off_stops_before_another_leads(cluster: TestCluster) -> None:
    cluster.add_stage("s1", DUMMY)
    port = cluster.access.zookeeper.servers[0].partition("/")[0].rpartition(":")[2]
    proxy = Proxy(int(port))
    try:
        with cluster.client() as client, watchdog_through(cluster, proxy.port, "cut off") as first:
            until(lambda: first)
            with watchdog_through(cluster, int(port), "standby") as second:
                until(lambda: len(client.get_children("/pero/watchdog/election")) == 2)
                assert not second
                proxy.refusing = True
                proxy.held = True
                until(lambda: second, 60)
                before = len(first)
                count = len(second)
                until(lambda: len(second) > count + 20)
                assert len(first) == before, "it acts although it does not lead"
                assert leader(client) == "standby"
                proxy.refusing = proxy.held = False
                proxy.cut()
                until(lambda: len(client.get_children("/pero/watchdog/election")) == 2, 60)
                assert leader(client) == "standby"
    finally:
        proxy.close()


def test_a_new_watchdog_takes_up_the_cluster_as_it_is(cluster: TestCluster) -> None:
    cluster.add_stage("s1", DUMMY)
    with cluster.client() as client, cluster.broker() as broker:
        broker.publish("s1", page(1, "s1", "out"))
        base = "/pero/worker/status/w1"
        for leaf, value in (("status", b"PROCESSING"), ("queue", b"s1"), ("enabled", b"true"), ("unlock_time", b"")):
            client.create(f"{base}/{leaf}", value, makepath=True)
        with watchdog_through(cluster, int(cluster.zookeeper.partition("/")[0].rpartition(":")[2]), "new") as looks:
            until(lambda: len(looks) > 5)
        assert client.get(f"{base}/queue")[1].version == 0, "a worker at work was told what it does already"


def test_what_is_long_dead_is_cleared_away(cluster: TestCluster) -> None:
    with cluster.client() as client:
        for name, status in (("dead", b"DEAD"), ("alive", b"IDLE")):
            client.create(f"/pero/worker/status/{name}/status", status, makepath=True)
            client.create(f"/pero/worker/status/{name}/queue", b"")
        client.create("/pero/suspects/page", b"1", makepath=True)
        now = zookeepers_time(client)
        assert abs(now - datetime.now(UTC)) < timedelta(minutes=1)
        assert tidy(client, now + timedelta(hours=1)) == 0
        assert tidy(client, now + timedelta(days=8)) == 2
        assert client.get_children("/pero/worker/status") == ["alive"]
        assert client.get_children("/pero/suspects") == []


def test_the_moment_since_when_pages_wait_is_never_in_the_future() -> None:
    """The watchdog that noted it may have been on a machine whose clock is an hour ahead."""
    now = datetime(2026, 1, 1, 12, tzinfo=UTC)
    assert waiting_since(None, True, now) == now
    assert waiting_since(now - timedelta(hours=1), True, now) == now - timedelta(hours=1)
    assert waiting_since(now + timedelta(hours=1), True, now) == now
    assert waiting_since(now, False, now) is None and waiting_since(None, False, now) is None
