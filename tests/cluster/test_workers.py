"""Our workers and watchdog on real servers, with pages that go through dummy stages."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from pero_worker.clock import SystemClock
from pero_worker.cluster.registry import workers
from pero_worker.cluster.registry.servers import MQ, set_servers
from pero_worker.cluster.workers.settings import ClusterWorkerSettings
from pero_worker.cluster.workers.worker import run_worker
from pero_worker.coordinators.session import session
from pero_worker.errors import ExitCode, UsageError
from pero_worker.processes import Lifetime
from pero_worker.request import Payload, Request
from pero_worker.stores.location import StoreAccess
from pero_worker.watchdog.policy import PlanRule
from pero_worker.watchdog.service import Watchdog
from pero_worker.watchdog.snapshot import Rule
from pero_worker.wire.requests import decode_request, encode_request
from pero_worker.wire.tree import TREE
from pero_worker.work import WorkerStatus

if TYPE_CHECKING:
    from cluster.conftest import TestCluster

DUMMY = "[WORKER]\nDUMMY = yes\nTIME_SCALE = 0\n"


def until(condition: Callable[[], object], timeout: float = 30) -> None:
    deadline = time.monotonic() + timeout
    while not condition():
        assert time.monotonic() < deadline, "it never came true"
        time.sleep(0.01)


@contextmanager
def running_worker(
    cluster: TestCluster, tmp_path: Path, name: str = "w1", *, store: StoreAccess | None = None, **settings: object
) -> Iterator[None]:
    lifetime = Lifetime()
    options = ClusterWorkerSettings(name=name, cache=tmp_path / "cache", max_pixels=10**8, **settings)  # type: ignore[arg-type]
    thread = threading.Thread(target=run_worker, args=(options, cluster.access, store or StoreAccess(), lifetime))
    thread.start()
    with cluster.client() as client:
        until(lambda: status_of(client, name) == WorkerStatus.IDLE)
    try:
        yield
    finally:
        lifetime.stop.set()
        thread.join(20)
        assert not thread.is_alive()


@contextmanager
def running_watchdog(cluster: TestCluster, rule: Rule | None = None) -> Iterator[None]:
    stopped = threading.Event()
    with session(cluster.access.zookeeper) as client, cluster.broker() as broker:
        watchdog = Watchdog(client, broker.lengths, SystemClock(), rule or PlanRule(interval=0.1))
        thread = threading.Thread(target=watchdog.run, args=("dog", stopped))
        thread.start()
        try:
            yield
        finally:
            stopped.set()
            thread.join(20)
            assert not thread.is_alive()


def page(number: int, *stages: str) -> bytes:
    return encode_request(
        Request(
            uuid=f"r{number}",
            page_uuid=f"p{number}",
            stages=stages,
            results=(Payload(name=f"{number}.png", content=b"image"),),
        )
    )


def collect(cluster: TestCluster, count: int, queue: str = "out") -> list[Request]:
    found: list[Request] = []
    with cluster.broker() as broker:
        while len(found) < count:
            delivery = broker.get([queue], "test", 30)
            assert delivery is not None, f"only {len(found)} of {count} pages came out"
            found.append(decode_request(delivery.body))
            broker.ack(delivery)
    return found


def test_pages_go_through_three_stages(cluster: TestCluster, tmp_path: Path) -> None:
    for name in ("s1", "s2", "s3"):
        cluster.add_stage(name, DUMMY, version="7")
    cluster.add_stage("out")
    with running_watchdog(cluster), running_worker(cluster, tmp_path), running_worker(cluster, tmp_path, "w2"):
        with cluster.broker() as broker:
            for number in range(20):
                broker.publish("s1", page(number, "s1", "s2", "s3", "out"))
        done = collect(cluster, 20)
    assert {request.uuid for request in done} == {f"r{number}" for number in range(20)}
    for request in done:
        assert request.stages == ("out",)
        assert [(log.stage, log.status, log.version) for log in request.logs] == [
            ("s1", "OK", "7"),
            ("s2", "OK", "7"),
            ("s3", "OK", "7"),
        ]


def test_a_worker_obeys_what_stands_in_zookeeper(cluster: TestCluster, tmp_path: Path) -> None:
    """Commands are written as any watchdog or controller writes them."""
    cluster.add_stage("s1", DUMMY)
    cluster.add_stage("out")
    with cluster.client() as client, running_worker(cluster, tmp_path):
        assert client.get("/pero/worker/status/w1/enabled")[0] == b"true"
        assert client.get("/pero/worker/status/w1/unlock_time")[0] == b""
        assert client.get("/pero/worker/status/w1/status/connected")[0] == b"true"
        client.set("/pero/worker/status/w1/queue", b"s1")
        with cluster.broker() as broker:
            broker.publish("s1", page(1, "s1", "out"))
        assert collect(cluster, 1)[0].logs[0].host_id == "w1"
        client.set("/pero/worker/status/w1/enabled", b"false")
        until(lambda: status_of(client, "w1") == WorkerStatus.DEAD)
        until(lambda: client.exists("/pero/worker/status/w1/status/connected") is None)


def test_a_new_version_is_taken_up_between_two_pages(cluster: TestCluster, tmp_path: Path) -> None:
    cluster.add_stage("s1", DUMMY, version="1")
    cluster.add_stage("out")
    with cluster.client() as client, cluster.broker() as broker, running_worker(cluster, tmp_path):
        client.set("/pero/worker/status/w1/queue", b"s1")
        broker.publish("s1", page(1, "s1", "out"))
        assert collect(cluster, 1)[0].logs[0].version == "1"
        cluster.add_stage("s1", DUMMY, version="2")
        versions = []

        def taken_up() -> bool:
            broker.publish("s1", page(2, "s1", "out"))
            versions.append(collect(cluster, 1)[0].logs[0].version)
            return versions[-1] == "2"

        until(taken_up)


def test_a_worker_follows_rabbitmq_to_another_server(cluster: TestCluster, tmp_path: Path) -> None:
    """Upstream's workers watch the list of servers, too."""
    cluster.add_stage("s1", DUMMY)
    cluster.add_stage("out")
    lifetime = Lifetime()
    access = replace(cluster.access, broker=replace(cluster.access.broker, servers=()))
    with cluster.client() as client, cluster.broker() as broker:
        set_servers(client, MQ, ["127.0.0.1:1"])
        options = ClusterWorkerSettings(name="w1", cache=tmp_path / "cache")
        thread = threading.Thread(target=run_worker, args=(options, access, StoreAccess(), lifetime))
        thread.start()
        try:
            until(lambda: status_of(client, "w1") == WorkerStatus.MQ_CONNECTION_FAILED)
            assert "127.0.0.1:1" in workers.read_worker(client, "w1").message
            set_servers(client, MQ, [f"127.0.0.1:{cluster.rabbitmq.port}"])
            client.set("/pero/worker/status/w1/queue", b"s1")
            broker.publish("s1", page(1, "s1", "out"))
            assert collect(cluster, 1)[0].uuid == "r1"
        finally:
            lifetime.stop.set()
            thread.join(20)
    assert not thread.is_alive()


def test_a_stage_that_cannot_be_loaded_is_reported_and_tried_again_when_asked(
    cluster: TestCluster, tmp_path: Path
) -> None:
    cluster.add_stage("bad", "[WORKER]\nENGINE = nonesuch\n")
    with cluster.client() as client, running_worker(cluster, tmp_path):
        client.set("/pero/worker/status/w1/queue", b"bad")
        until(lambda: status_of(client, "w1") == WorkerStatus.CONFIGURATION_FAILED)
        assert "no engine 'nonesuch'" in workers.read_worker(client, "w1").message
        cluster.add_stage("bad", DUMMY)
        cluster.add_stage("out")
        with cluster.broker() as broker:
            broker.publish("bad", page(1, "bad", "out"))
        assert collect(cluster, 1)[0].logs[0].status == "OK"


def test_the_name_of_a_worker_is_its_own(cluster: TestCluster, tmp_path: Path) -> None:
    with cluster.client() as client, running_worker(cluster, tmp_path):
        options = ClusterWorkerSettings(name="w1", cache=tmp_path / "cache")
        access = replace(cluster.access, zookeeper=replace(cluster.access.zookeeper, session_timeout=0.5))
        with pytest.raises(UsageError, match="connected already"):
            run_worker(options, access, StoreAccess(), Lifetime())
        assert status_of(client, "w1") == WorkerStatus.IDLE


def test_what_cannot_be_used_is_set_aside_and_the_worker_goes_on(cluster: TestCluster, tmp_path: Path) -> None:
    cluster.add_stage("s1", DUMMY)
    cluster.add_stage("out")
    with cluster.client() as client, cluster.broker() as broker, running_worker(cluster, tmp_path):
        for body in (b"\xff garbage", page(1, "s1"), page(2, "s1", "nowhere"), page(3, "s1", "out")):
            broker.publish("s1", body)
        client.set("/pero/worker/status/w1/queue", b"s1")
        assert collect(cluster, 1)[0].uuid == "r3"
        state = broker.state("pero.dead")
        assert state is not None and state.messages == 3


def test_the_mean_time_is_written_as_upstream_reads_it(cluster: TestCluster, tmp_path: Path) -> None:
    cluster.add_stage("s1", DUMMY)
    cluster.add_stage("out")
    with cluster.client() as client, cluster.broker() as broker, running_worker(cluster, tmp_path):
        client.set("/pero/worker/status/w1/queue", b"s1")
        for number in range(12):
            broker.publish("s1", page(number, "s1", "out"))
        collect(cluster, 12)
        until(lambda: client.get(TREE.stage("s1", "avg_msg_time"))[0])
        assert 0 < float.fromhex(client.get("/pero/queue/s1/avg_msg_time")[0].decode()) < 1


def test_a_long_page_is_given_back_after_the_grace_and_not_charged(cluster: TestCluster, tmp_path: Path) -> None:
    """In processes of their own, which end abruptly; the second gets the page as redelivered."""
    cluster.add_stage("slow", "[WORKER]\nDUMMY = yes\nTIME_SCALE = 100\n")
    command = [sys.executable, "-m", "pero_worker", "worker", "--id", "w1", "--grace", "0.2", "--cache", str(tmp_path)]
    with cluster.client() as client, cluster.broker() as broker:
        broker.publish("slow", page(1, "slow", "out"))
        for suspects in (0, 1):
            process = subprocess.Popen(command, env=cluster.environment())
            until(lambda: status_of(client, "w1") in {WorkerStatus.IDLE, WorkerStatus.PROCESSING})
            client.set("/pero/worker/status/w1/queue", b"slow")
            until(lambda: status_of(client, "w1") == WorkerStatus.PROCESSING)
            until(lambda suspects=suspects: len(children(client, TREE.suspects)) == suspects)  # type: ignore[misc]
            process.send_signal(signal.SIGTERM)
            assert process.wait(10) == 0
            assert status_of(client, "w1") == WorkerStatus.DEAD
            assert not workers.read_worker(client, "w1").connected
            assert children(client, TREE.suspects) == []
        delivery = broker.get(["slow"], "test", 10)
        assert delivery is not None and delivery.body == page(1, "slow", "out")


def test_the_page_in_hand_is_finished(cluster: TestCluster, tmp_path: Path) -> None:
    """The worker gets longer to stop than one without a page; asked twice, it gives the page back at once."""
    cluster.add_stage("slow", "[WORKER]\nDUMMY = yes\nTIME_SCALE = 1.2\n")
    cluster.add_stage("out")
    command = [sys.executable, "-m", "pero_worker", "worker", "--id", "w1", "--cache", str(tmp_path)]
    with cluster.client() as client, cluster.broker() as broker:
        for times in (1, 2):
            broker.publish("slow", page(times, "slow", "out"))
            process = subprocess.Popen(command, env=cluster.environment())
            until(lambda: status_of(client, "w1") in {WorkerStatus.IDLE, WorkerStatus.PROCESSING})
            client.set("/pero/worker/status/w1/queue", b"slow")
            until(lambda: status_of(client, "w1") == WorkerStatus.PROCESSING)
            for _ in range(times):
                process.send_signal(signal.SIGTERM)
                SystemClock().sleep(0.5)
            assert process.wait(30) == 0
            assert status_of(client, "w1") == WorkerStatus.DEAD
        assert collect(cluster, 1)[0].uuid == "r1"
        delivery = broker.get(["slow"], "test", 10)
        assert delivery is not None and delivery.body == page(2, "slow", "out")


@pytest.mark.parametrize(
    ("options", "reason"),
    [(("--id", "x" * 201), "is no name for a worker"), (("--id", "w1", "--device", "cuda:7"), "cuda")],
)
def test_a_worker_that_can_never_work_ends_with_one_line(
    cluster: TestCluster, tmp_path: Path, options: tuple[str, ...], reason: str
) -> None:
    command = [sys.executable, "-m", "pero_worker", "worker", *options, "--cache", str(tmp_path)]
    done = subprocess.run(command, env=cluster.environment(), capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == ExitCode.PIPELINE
    assert reason in done.stderr and done.stderr.count("\n") == 1, done.stderr


def children(client: Any, path: str) -> list[str]:
    return list(client.get_children(path)) if client.exists(path) else []


@pytest.mark.parametrize("form", ["ini", "toml"])
def test_a_worker_is_configured_by_a_file(cluster: TestCluster, tmp_path: Path, form: str) -> None:
    values = {
        "zookeeper_servers": cluster.zookeeper,
        "vhost": cluster.vhost,
        "worker_id": "filed",
        "cache_dir": str(tmp_path / "cache"),
        "log_queue": "log",
    }
    file = tmp_path / f"worker.{form}"
    if form == "ini":
        file.write_text("\n".join(["[WORKER]", *(f"{key} = {value}" for key, value in values.items())]))
    else:
        file.write_text("\n".join(f'{key} = "{value}"' for key, value in values.items()))
    for name in ("s1", "out", "log"):
        cluster.add_stage(name, DUMMY if name == "s1" else None)
    command = [sys.executable, "-m", "pero_worker", "worker", "--config-file", str(file)]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    assert process.stderr.readline() == f"worker filed has joined the cluster at {cluster.zookeeper}\n"
    with cluster.client() as client, cluster.broker() as broker:
        until(lambda: status_of(client, "filed") == WorkerStatus.IDLE)
        client.set("/pero/worker/status/filed/queue", b"s1")
        broker.publish("s1", page(1, "s1", "out"))
        line = broker.get(["log"], "test", 30)
        assert line is not None and b" filed INFO page r1" in line.body
        assert (tmp_path / "cache").is_dir()
    process.send_signal(signal.SIGTERM)
    assert process.wait(15) == 0
    process.stderr.close()


def test_a_workers_log_goes_to_the_queue(
    cluster: TestCluster, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", logger="pero_worker")
    cluster.add_stage("s1", DUMMY)
    cluster.add_stage("out")
    cluster.add_stage("log")
    with cluster.client() as client, cluster.broker() as broker, running_worker(cluster, tmp_path, log_queue="log"):
        broker.publish("s1", page(1, "s1", "out"))
        client.set("/pero/worker/status/w1/queue", b"s1")
        delivery = broker.get(["log"], "test", 30)
        assert delivery is not None
        assert re.fullmatch(rb".* w1 INFO page r1: stage s1 done in 0\.\d\d s", delivery.body), delivery.body


def status_of(client: Any, worker: str) -> str:
    return workers.read_worker(client, worker).status
