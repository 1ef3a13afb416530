"""A worker with many pages in hand: killed, stopped, or given other stages, it neither loses nor duplicates any."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cluster.test_workers import DUMMY, children, collect, page, status_of, until

from pero_worker.request import Request
from pero_worker.wire.requests import decode_request
from pero_worker.wire.tree import TREE
from pero_worker.work import WorkerStatus

if TYPE_CHECKING:
    from cluster.conftest import TestCluster

PAGES = 400
SLOWER = "[WORKER]\nDUMMY = yes\nTIME_SCALE = 0.0004\n"
"""Takes 2 ms for a page of 5 bytes, so that fifty are taken ahead."""


@contextmanager
def worker(cluster: TestCluster, tmp_path: Path, *stages: str) -> Iterator[subprocess.Popen[bytes]]:
    """Runs a worker that serves `stages` as soon as it can."""
    command = [sys.executable, "-m", "pero_worker", "worker", "--id", "w1", "--cache", str(tmp_path / "cache")]
    process = subprocess.Popen(command, env=cluster.environment())
    try:
        with cluster.client() as client:
            until(lambda: status_of(client, "w1") == WorkerStatus.IDLE)
            hold(client, *stages)
        yield process
    finally:
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0


def hold(client: Any, *stages: str) -> None:
    """Assigns stages to the worker as the watchdog does."""
    client.set(TREE.worker("w1", "stages"), json.dumps(stages).encode())
    client.set(TREE.worker("w1", "queue"), stages[0].encode())


def waiting(cluster: TestCluster, queue: str) -> int:
    with cluster.broker() as broker:
        return broker.lengths([queue])[queue]


def everything(cluster: TestCluster, *queues: str) -> list[Request]:
    """Returns all that is in `queues`, when nothing is in hand elsewhere."""
    found = []
    with cluster.broker(prefetch=1000) as broker:
        while (delivery := broker.get(queues, "test", 1)) is not None:
            found.append(decode_request(delivery.body))
    return found


def test_a_page_that_kills_its_worker_is_told_from_its_neighbours(cluster: TestCluster, tmp_path: Path) -> None:
    cluster.add_stage("s1", SLOWER + "KILL_NAME = 300.png\n")
    cluster.add_stage("out")
    with cluster.broker() as broker:
        for number in range(PAGES):
            broker.publish("s1", page(number, "s1", "out"))
    with worker(cluster, tmp_path, "s1"), cluster.client() as client:
        first = {request.uuid: request for request in collect(cluster, 300)}
        until(lambda: not waiting(cluster, "s1"))
        until(lambda: status_of(client, "w1") == WorkerStatus.IDLE and not children(client, TREE.suspects))
    done = {**first, **{request.uuid: request for request in everything(cluster, "out", "s1")}}
    assert len(done) == PAGES
    assert {uuid for uuid, request in done.items() if request.failed} == {"r300"}
    assert "died on this page" in done["r300"].logs[-1].log
    # A page that was on its way when the worker died is done again, without an attempt being charged.
    assert {log.attempt for request in done.values() if not request.failed for log in request.logs} == {1}


def test_a_worker_that_stops_finishes_or_returns_what_it_holds(cluster: TestCluster, tmp_path: Path) -> None:
    cluster.add_stage("s1", SLOWER)
    cluster.add_stage("out")
    with cluster.broker() as broker:
        for number in range(2 * PAGES):
            broker.publish("s1", page(number, "s1", "out"))
    with worker(cluster, tmp_path, "s1"):
        until(lambda: waiting(cluster, "out") > PAGES // 2)
    found = Counter(request.uuid for request in everything(cluster, "s1", "out"))
    assert found == Counter(f"r{number}" for number in range(2 * PAGES))


def test_another_assignment_loses_nothing(cluster: TestCluster, tmp_path: Path) -> None:
    for name in ("s1", "s2", "s3"):
        cluster.add_stage(name, SLOWER)
    cluster.add_stage("out")
    with cluster.broker() as broker:
        for number in range(PAGES):
            broker.publish(f"s{number % 3 + 1}", page(number, f"s{number % 3 + 1}", "out"))
    with worker(cluster, tmp_path, "s1"), cluster.client() as client:
        for stages in (("s2",), ("s3", "s1"), ("s1",), ("s2", "s3")):
            before = waiting(cluster, "out")
            until(lambda before=before: waiting(cluster, "out") > before)  # type: ignore[misc]
            hold(client, *stages)
        hold(client, "s1", "s2", "s3")
        until(lambda: waiting(cluster, "out") >= PAGES)
    found = Counter(request.uuid for request in everything(cluster, "s1", "s2", "s3", "out"))
    assert found == Counter(f"r{number}" for number in range(PAGES))


def test_straight_on_a_crash_loses_nothing(cluster: TestCluster, tmp_path: Path) -> None:
    """One worker holds three stages: pages go through all of them without the broker."""
    for number in (1, 2, 3):
        cluster.add_stage(f"s{number}", DUMMY + f"LINE = stage {number}\n" + "KILL_NAME = 77.png\n" * (number == 2))
    cluster.add_stage("out")
    with cluster.broker() as broker:
        for number in range(150):
            broker.publish("s1", page(number, "s1", "s2", "s3", "out"))
    with worker(cluster, tmp_path, "s1", "s2", "s3"), cluster.client() as client:
        collect(cluster, 76)
        until(lambda: not waiting(cluster, "s1") and status_of(client, "w1") == WorkerStatus.IDLE)
    done = {request.uuid: request for request in everything(cluster, "out", "s1", "s2", "s3")}
    assert {f"r{number}" for number in range(77, 150)} <= set(done)
    assert {uuid for uuid, request in done.items() if request.failed} == {"r77"}
    for uuid, request in done.items():
        if uuid != "r77":
            assert [log.stage for log in request.logs] == ["s1", "s2", "s3"]
