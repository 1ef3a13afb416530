"""Pages that fail, or kill or hang their workers, in a real cluster: counted, bounded, listed; no others suffer."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from cluster.conftest import cluster, rabbitmq, zookeeper  # noqa: F401 - fixtures
from cluster.test_workers import DUMMY, collect, page, running_watchdog, until

from pero_worker.cluster.registry import workers
from pero_worker.wire.queues import DEAD_LETTERS

if TYPE_CHECKING:
    from cluster.conftest import TestCluster


@contextmanager
def worker_process(cluster: TestCluster, tmp_path: Path, *options: str) -> Iterator[subprocess.Popen[bytes]]:
    command = [
        sys.executable,
        "-m",
        "pero_worker",
        "worker",
        "--id",
        "w1",
        "--cache",
        str(tmp_path / "cache"),
        *options,
    ]
    process = subprocess.Popen(command, env=cluster.environment())
    try:
        yield process
    finally:
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0


def run(cluster: TestCluster, *arguments: str, expect: int = 0) -> str:
    command = [sys.executable, "-m", "pero_worker", *arguments]
    done = subprocess.run(command, env=cluster.environment(), capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == expect, done.stdout + done.stderr
    return done.stdout


def leftovers(cluster: TestCluster, *queues: str) -> dict[str, int]:
    with cluster.broker() as broker:
        states = {name: broker.state(name) for name in queues}
    return {name: state.messages for name, state in states.items() if state and state.messages}


def test_a_page_that_kills_its_workers_is_given_up_after_three(cluster: TestCluster, tmp_path: Path) -> None:
    cluster.add_stage("s1", DUMMY + "KILL_NAME = 1.png\n")
    cluster.add_stage("out")
    with running_watchdog(cluster), cluster.broker() as broker, worker_process(cluster, tmp_path):
        for number in range(5):
            broker.publish("s1", page(number, "s1", "out"))
        done = {request.uuid: request for request in collect(cluster, 5)}
    assert {uuid for uuid, request in done.items() if request.failed} == {"r1"}
    (log,) = done["r1"].logs
    assert "given up after 3 attempts" in log.log and "died" in log.log
    assert leftovers(cluster, "s1", "out", DEAD_LETTERS) == {}
    with cluster.client() as client:
        assert client.get_children("/pero/suspects") == []


def test_a_page_that_hangs_is_ended_by_the_time_limit(cluster: TestCluster, tmp_path: Path) -> None:
    cluster.add_stage("s1", DUMMY + "HANG_NAME = 1.png\nTIME_LIMIT = 0.3\n")
    cluster.add_stage("out")
    with running_watchdog(cluster), cluster.broker() as broker, worker_process(cluster, tmp_path):
        for number in range(3):
            broker.publish("s1", page(number, "s1", "out"))
        done = {request.uuid: request for request in collect(cluster, 3)}
    assert {uuid for uuid, request in done.items() if request.failed} == {"r1"}
    assert [log.attempt for log in done["r1"].logs] == [1, 2, 3]
    assert all("took longer than 0.3 s" in log.log for log in done["r1"].logs)
    assert leftovers(cluster, "s1", "out", DEAD_LETTERS) == {}


def test_many_bad_pages_never_stop_a_worker(cluster: TestCluster, tmp_path: Path) -> None:
    cluster.add_stage("s1", DUMMY + "FAIL_NAME = *\n")
    cluster.add_stage("out")
    with running_watchdog(cluster), cluster.broker() as broker, worker_process(cluster, tmp_path):
        for number in range(100):
            broker.publish("s1", page(number, "s1", "out"))
            broker.publish("s1", b"\xff garbage")
        done = collect(cluster, 100)
    assert all(request.failed and len(request.logs) == 3 for request in done)
    assert leftovers(cluster, "s1", "out", DEAD_LETTERS) == {DEAD_LETTERS: 100}


def test_a_page_that_cannot_go_on_comes_out_as_failed(cluster: TestCluster, tmp_path: Path) -> None:
    cluster.add_stage("s1", DUMMY)
    cluster.add_stage("out")
    with running_watchdog(cluster), cluster.broker() as broker, worker_process(cluster, tmp_path):
        broker.publish("s1", page(1, "s1", "gone", "out"))
        (request,) = collect(cluster, 1)
    assert request.failed and "no queue 'gone'" in request.logs[-1].log
    assert request.stages == ("gone", "out")


def test_a_worker_that_grows_is_started_anew_between_pages(cluster: TestCluster, tmp_path: Path) -> None:
    cluster.add_stage("s1", DUMMY)
    cluster.add_stage("out")
    with cluster.client() as client, running_watchdog(cluster), cluster.broker() as broker:
        with worker_process(cluster, tmp_path, "--max-memory", "0.00001"):
            until(lambda: client.exists("/pero/worker/status/w1/info"))
            first = until_fact(client, "pid", None)
            broker.publish("s1", page(0, "s1", "out"))
            until_fact(client, "pid", first)
        assert not collect(cluster, 1)[0].failed
        with worker_process(cluster, tmp_path):
            broker.publish("s1", page(1, "s1", "out"))
            assert not collect(cluster, 1)[0].failed


def until_fact(client: object, name: str, other: object) -> object:
    until(lambda: workers.read_worker(client, "w1").facts.get(name, other) != other)
    return workers.read_worker(client, "w1").facts[name]


def test_a_killed_worker_process_is_replaced(cluster: TestCluster, tmp_path: Path) -> None:
    with cluster.client() as client, worker_process(cluster, tmp_path):
        until(lambda: client.exists("/pero/worker/status/w1/info"))
        first = until_fact(client, "pid", None)
        subprocess.run(["kill", "-9", str(first)], check=True)
        until(lambda: workers.read_worker(client, "w1").facts.get("pid") != first, 60)


def test_dead_letters_are_listed_shown_sent_back_and_dropped(cluster: TestCluster, tmp_path: Path) -> None:
    cluster.add_stage("s1", DUMMY)
    with running_watchdog(cluster), cluster.broker() as broker, worker_process(cluster, tmp_path):
        for body in (b"\xff garbage", page(1, "s1", "out"), page(2, "s1")):
            broker.publish("s1", body)
        until(lambda: (state := broker.state(DEAD_LETTERS)) and state.messages == 3)
        headings, *listed = run(cluster, "dead", "list").splitlines()
        assert headings.split() == ["number", "queue", "bytes", "page", "reason"]
        assert len(listed) == 3 and all(" s1 " in line for line in listed)
        number = next(line.split()[0] for line in listed if "r1" in line)
        shown = run(cluster, "dead", "show", number)
        assert "no queue 'out'" in shown and "1.png (5 bytes)" in shown
        assert "say which" in run_error(cluster, "dead", "drop")
        cluster.add_stage("out")
        assert run(cluster, "dead", "replay", number) == "1 sent back\n"
        assert collect(cluster, 1)[0].uuid == "r1"
        assert len(run(cluster, "dead", "list").splitlines()) == 3
        assert run(cluster, "dead", "drop", "--all") == "2 dropped\n"
        assert run(cluster, "dead", "list") == ""


def run_error(cluster: TestCluster, *arguments: str) -> str:
    command = [sys.executable, "-m", "pero_worker", *arguments]
    done = subprocess.run(command, env=cluster.environment(), capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 2
    return done.stderr


def test_the_worker_says_what_is_wrong_and_ends(cluster: TestCluster, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "pero_worker", "worker", "-z", "127.0.0.1:1", "--cache", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 6 and "no ZooKeeper at 127.0.0.1:1" in done.stderr and "Traceback" not in done.stderr
