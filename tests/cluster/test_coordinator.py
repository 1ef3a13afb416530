"""What a worker keeps in ZooKeeper: its name, and notes on pages that may have killed a worker."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from cluster.test_workers import until
from faults.proxy import ZOOKEEPER_NONSENSE, Proxy

from pero_worker.clock import SystemClock
from pero_worker.coordinators import suspects, writebehind
from pero_worker.coordinators.access import ZooKeeperAccess
from pero_worker.coordinators.presence import Presence
from pero_worker.coordinators.session import connect, session, wait_for
from pero_worker.coordinators.zookeeper import ZooKeeperCoordinator
from pero_worker.errors import TransientError, UsageError
from pero_worker.work import WorkerStatus

if TYPE_CHECKING:
    from cluster.conftest import TestCluster


def test_deaths_of_a_page_are_counted_by_the_notes_that_stay(cluster: TestCluster) -> None:
    with cluster.client() as client:
        assert suspects.begin(client, "page") == 0
        # Two workers died, the first without a note.
        assert suspects.begin(client, "page") == 2
        assert suspects.begin(client, "page") == 3
        # This one was interrupted, which does not count as a death.
        suspects.end(client, "page", survived=False)
        assert suspects.begin(client, "page") == 3
        suspects.end(client, "page", survived=True)
        assert suspects.begin(client, "page") == 0
        suspects.end(client, "page", survived=False)
        assert client.get_children("/pero/suspects") == []


def test_a_note_that_another_worker_took_away_is_no_trouble(cluster: TestCluster) -> None:
    with cluster.client() as client:
        suspects.begin(client, "page")
        for survived in (True, True, False):
            suspects.end(client, "page", survived=survived)
        assert client.get_children("/pero/suspects") == []


@contextmanager
def proxied(cluster: TestCluster) -> Iterator[tuple[Proxy, Any]]:
    """Starts a proxy in front of ZooKeeper, and a client that connects through it."""
    address, _, root = cluster.zookeeper.partition("/")
    proxy = Proxy(int(address.rpartition(":")[2]))
    try:
        with session(replace(cluster.access.zookeeper, servers=(f"127.0.0.1:{proxy.port}/{root}",))) as client:
            yield proxy, client
    finally:
        proxy.close()


def test_a_client_outlives_bytes_that_make_no_sense(cluster: TestCluster) -> None:
    """kazoo's thread would end, and the client would be gone for good without any report."""
    with proxied(cluster) as (proxy, client):
        lost = threading.Event()
        client.add_listener(lambda state: lost.set() if state != "CONNECTED" else None)
        proxy.garble(ZOOKEEPER_NONSENSE)
        until(lost.is_set)
        until(lambda: client.connected)
        assert client.retry(client.get_children, "/")


def test_what_could_not_be_written_down_is_when_zookeeper_is_back(cluster: TestCluster) -> None:
    with cluster.client() as client, proxied(cluster) as (proxy, far):
        worker = ZooKeeperCoordinator(far, "w1", SystemClock())
        assert worker.reports.begin_suspect("page") == 0
        proxy.refusing = True
        proxy.cut()
        until(lambda: not far.connected)
        worker.reports.end_suspect("page", survived=False)
        assert client.get_children("/pero/suspects") == ["page"]
        proxy.refusing = False
        until(lambda: client.get_children("/pero/suspects") == [])
        worker.close()


def test_a_worker_whose_name_another_took_ends_and_leaves_it_alone(cluster: TestCluster) -> None:
    """Like one that was suspended for longer than its session lasts."""
    told = threading.Event()
    path = "/pero/worker/status/w1/status/connected"
    with cluster.client() as client, cluster.client() as second:
        first = ZooKeeperCoordinator(client, "w1", SystemClock())
        first.watch(told.set)
        told.clear()
        with pytest.raises(UsageError, match="connected already"):
            ZooKeeperCoordinator(second, "w1", SystemClock(), patience=0.3)
        client.delete(path)
        other = ZooKeeperCoordinator(second, "w1", SystemClock())
        first.reports.report("w1", WorkerStatus.IDLE)
        until(lambda: not first.assignment("w1").enabled)
        assert told.is_set()
        assert other.assignment("w1").enabled
        first.close()
        assert second.exists(path).ephemeralOwner == second.client_id[0]
        other.close()


def test_a_server_that_takes_a_connection_and_says_nothing_is_tried_again() -> None:
    """As ZooKeeper does for a moment when it starts; kazoo would wait for as long as a session lasts."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        silent.settimeout(30)
        access = ZooKeeperAccess(servers=(f"127.0.0.1:{silent.getsockname()[1]}",), session_timeout=600, patience=8)
        trying = threading.Thread(target=in_vain, args=(access,))
        trying.start()
        with silent.accept()[0], silent.accept()[0]:
            pass
    trying.join()


def in_vain(access: ZooKeeperAccess) -> None:
    with pytest.raises(TransientError):
        connect(access)


def test_the_thread_that_writes_outlives_what_nobody_foresaw(
    cluster: TestCluster, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(writebehind, "_PAUSE_SECONDS", 0.05)
    failures = iter([ValueError("odd"), TypeError("odder")])
    keep = Presence.keep

    def odd(presence: Presence) -> None:
        for failure in failures:
            raise failure
        keep(presence)

    with cluster.client() as client:
        coordinator = ZooKeeperCoordinator(client, "w1", SystemClock())
        monkeypatch.setattr(Presence, "keep", odd)
        coordinator.reports.report("w1", WorkerStatus.PROCESSING)
        until(lambda: client.get("/pero/worker/status/w1/status")[0] == b"PROCESSING")
        coordinator.close()
    assert [word in caplog.text for word in ("ValueError: odd", "TypeError: odder")] == [True, True]


def test_a_command_that_was_read_by_half_is_read_again_when_zookeeper_is_back(
    cluster: TestCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The connection is lost between the first stage and the list of all stages: the watchdog still knows them all."""
    away = threading.Event()
    asked: list[object] = []

    def asking(client: Any, question: Any) -> Any:
        asked.append(question)
        if away.is_set():
            raise TransientError("the connection to ZooKeeper is lost")
        return wait_for(client, question)

    monkeypatch.setattr("pero_worker.coordinators.zookeeper.wait_for", asking)
    with proxied(cluster) as (proxy, client), cluster.client() as watchdog:
        coordinator = ZooKeeperCoordinator(client, "w1", SystemClock())
        coordinator.watch()
        away.set()
        number = len(asked)
        base = "/pero/worker/status/w1"
        watchdog.set(f"{base}/stages", b'["a", "b", "c"]')
        watchdog.set(f"{base}/queue", b"a")
        until(lambda: len(asked) > number and coordinator.assignment("w1").stages == ("a",))
        away.clear()
        proxy.cut()
        until(lambda: coordinator.assignment("w1").stages == ("a", "b", "c"))
        coordinator.close()
