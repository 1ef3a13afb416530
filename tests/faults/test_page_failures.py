"""Pages that fail, kill or hang their workers, in a real farm: counted, bounded, listed; nobody else suffers."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from cluster.conftest import farm, rabbitmq, zookeeper  # noqa: F401 - fixtures
from cluster.test_farm import DUMMY, collect, page, running_watchdog, until

from pero_worker.cluster import workers
from pero_worker.wire.queues import DEAD_LETTERS

if TYPE_CHECKING:
    from cluster.conftest import TestFarm


@contextmanager
def worker_process(farm: TestFarm, tmp_path: Path, *options: str) -> Iterator[subprocess.Popen[bytes]]:
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
    process = subprocess.Popen(command, env=farm.environment())
    try:
        yield process
    finally:
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0


def run(farm: TestFarm, *arguments: str, expect: int = 0) -> str:
    command = [sys.executable, "-m", "pero_worker", *arguments]
    done = subprocess.run(command, env=farm.environment(), capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == expect, done.stdout + done.stderr
    return done.stdout


def leftovers(farm: TestFarm, *queues: str) -> dict[str, int]:
    with farm.broker() as broker:
        states = {name: broker.state(name) for name in queues}
    return {name: state.messages for name, state in states.items() if state and state.messages}


def test_a_page_that_kills_its_workers_is_given_up_after_three(farm: TestFarm, tmp_path: Path) -> None:
    farm.add_stage("s1", DUMMY + "KILL_NAME = 1.png\n")
    farm.add_stage("out")
    with running_watchdog(farm), farm.broker() as broker, worker_process(farm, tmp_path):
        for number in range(5):
            broker.publish("s1", page(number, "s1", "out"))
        done = {request.uuid: request for request in collect(farm, 5)}
    assert {uuid for uuid, request in done.items() if request.failed} == {"r1"}
    (log,) = done["r1"].logs
    assert "given up after 3 attempts" in log.log and "died" in log.log
    assert leftovers(farm, "s1", "out", DEAD_LETTERS) == {}
    with farm.client() as client:
        assert client.get_children("/pero/suspects") == []


def test_a_page_that_hangs_is_ended_by_the_time_limit(farm: TestFarm, tmp_path: Path) -> None:
    farm.add_stage("s1", DUMMY + "HANG_NAME = 1.png\nTIME_LIMIT = 0.3\n")
    farm.add_stage("out")
    with running_watchdog(farm), farm.broker() as broker, worker_process(farm, tmp_path):
        for number in range(3):
            broker.publish("s1", page(number, "s1", "out"))
        done = {request.uuid: request for request in collect(farm, 3)}
    assert {uuid for uuid, request in done.items() if request.failed} == {"r1"}
    assert [log.attempt for log in done["r1"].logs] == [1, 2, 3]
    assert all("took longer than 0.3 s" in log.log for log in done["r1"].logs)
    assert leftovers(farm, "s1", "out", DEAD_LETTERS) == {}


def test_many_bad_pages_never_stop_a_worker(farm: TestFarm, tmp_path: Path) -> None:
    farm.add_stage("s1", DUMMY + "FAIL_NAME = *\n")
    farm.add_stage("out")
    with running_watchdog(farm), farm.broker() as broker, worker_process(farm, tmp_path):
        for number in range(100):
            broker.publish("s1", page(number, "s1", "out"))
            broker.publish("s1", b"\xff garbage")
        done = collect(farm, 100)
    assert all(request.failed and len(request.logs) == 3 for request in done)
    assert leftovers(farm, "s1", "out", DEAD_LETTERS) == {DEAD_LETTERS: 100}


def test_a_page_that_cannot_go_on_comes_out_as_failed(farm: TestFarm, tmp_path: Path) -> None:
    farm.add_stage("s1", DUMMY)
    farm.add_stage("out")
    with running_watchdog(farm), farm.broker() as broker, worker_process(farm, tmp_path):
        broker.publish("s1", page(1, "s1", "gone", "out"))
        (request,) = collect(farm, 1)
    assert request.failed and "no queue 'gone'" in request.logs[-1].log
    assert request.stages == ("gone", "out")


def test_a_worker_that_grows_is_started_anew_between_pages(farm: TestFarm, tmp_path: Path) -> None:
    farm.add_stage("s1", DUMMY)
    farm.add_stage("out")
    with farm.client() as client, running_watchdog(farm), farm.broker() as broker:
        with worker_process(farm, tmp_path, "--max-memory", "0.00001"):
            until(lambda: client.exists("/pero/worker/status/w1/info"))
            first = until_fact(client, "pid", None)
            broker.publish("s1", page(0, "s1", "out"))
            until_fact(client, "pid", first)
        assert not collect(farm, 1)[0].failed
        with worker_process(farm, tmp_path):
            broker.publish("s1", page(1, "s1", "out"))
            assert not collect(farm, 1)[0].failed


def until_fact(client: object, name: str, other: object) -> object:
    until(lambda: workers.read_worker(client, "w1").facts.get(name, other) != other)  # type: ignore[arg-type]
    return workers.read_worker(client, "w1").facts[name]  # type: ignore[arg-type]


def test_a_killed_worker_process_is_replaced(farm: TestFarm, tmp_path: Path) -> None:
    with farm.client() as client, worker_process(farm, tmp_path):
        until(lambda: client.exists("/pero/worker/status/w1/info"))
        first = until_fact(client, "pid", None)
        subprocess.run(["kill", "-9", str(first)], check=True)
        until(lambda: workers.read_worker(client, "w1").facts.get("pid") != first, 60)


def test_dead_letters_are_listed_shown_sent_back_and_dropped(farm: TestFarm, tmp_path: Path) -> None:
    farm.add_stage("s1", DUMMY)
    with running_watchdog(farm), farm.broker() as broker, worker_process(farm, tmp_path):
        for body in (b"\xff garbage", page(1, "s1", "out"), page(2, "s1")):
            broker.publish("s1", body)
        until(lambda: (state := broker.state(DEAD_LETTERS)) and state.messages == 3)
        listed = run(farm, "dead", "list").splitlines()
        assert len(listed) == 3 and all(" s1 " in line for line in listed)
        number = next(line.split()[0] for line in listed if "r1" in line)
        shown = run(farm, "dead", "show", number)
        assert "no queue 'out'" in shown and "1.png (5 bytes)" in shown
        assert "say which" in run_error(farm, "dead", "drop")
        farm.add_stage("out")
        assert run(farm, "dead", "replay", number) == "1 sent back\n"
        assert collect(farm, 1)[0].uuid == "r1"
        assert len(run(farm, "dead", "list").splitlines()) == 2
        assert run(farm, "dead", "drop", "--all") == "2 dropped\n"
        assert run(farm, "dead", "list") == ""


def run_error(farm: TestFarm, *arguments: str) -> str:
    command = [sys.executable, "-m", "pero_worker", *arguments]
    done = subprocess.run(command, env=farm.environment(), capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 2
    return done.stderr


def test_the_worker_says_what_is_wrong_and_ends(farm: TestFarm, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "pero_worker", "worker", "-z", "127.0.0.1:1", "--cache", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 6 and "no ZooKeeper at 127.0.0.1:1" in done.stderr and "Traceback" not in done.stderr
