"""A cluster shared with upstream, whose programs are simulated as the contract describes them (`upstream.py`)."""

from __future__ import annotations

import tarfile
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pika
import pytest
from cluster.test_workers import DUMMY, collect, page, running_watchdog, running_worker, status_of, until
from cluster.upstream import NEWEST, QUEUE_NODES, SEED, UpstreamRequest, channel
from cluster.upstream import Watchdog as UpstreamWatchdog
from cluster.upstream import Worker as UpstreamWorker

from pero_worker.cluster.registry.workers import ZK_CONNECTION_FAILED, read_worker
from pero_worker.work import WorkerStatus

if TYPE_CHECKING:
    from cluster.conftest import TestCluster


@pytest.mark.parametrize("arguments", [SEED, NEWEST])
def test_upstreams_publisher_feeds_and_empties_our_cluster(
    cluster: TestCluster, tmp_path: Path, arguments: dict[str, Any]
) -> None:
    with channel(cluster) as ch:
        for name in ("s1", "out"):
            ch.queue_declare(name, durable=True, arguments=arguments)
    cluster.add_stage("s1", DUMMY, version="7")
    cluster.add_stage("out")
    request = UpstreamRequest(uuid="u1", page_uuid="p1", priority=1, processing_stages=["s1", "out"])
    request.results.add(name="a.jpg", content=b"image")
    request.start_time.FromDatetime(datetime(2026, 1, 1, tzinfo=UTC))
    with running_watchdog(cluster), running_worker(cluster, tmp_path), channel(cluster) as ch:
        ch.confirm_delivery()
        properties = pika.BasicProperties(delivery_mode=2, priority=1)
        ch.basic_publish("", "s1", request.SerializeToString(), properties, mandatory=True)
        method, received, body = next(ch.consume("out", inactivity_timeout=30))
        assert method is not None, "nothing came out"
        ch.basic_ack(method.delivery_tag)
        assert (received.delivery_mode, received.priority, received.headers) == (2, 1, None)
    done = UpstreamRequest.FromString(body)
    assert (done.uuid, done.page_uuid, list(done.processing_stages)) == ("u1", "p1", ["out"])
    assert [(data.name, data.content) for data in done.results] == [("a.jpg", b"image")]
    (log,) = done.logs
    assert (log.host_id, log.stage, log.status, log.version) == ("w1", "s1", "OK", "7")


def test_upstreams_declarations_of_our_queues_are_accepted(cluster: TestCluster) -> None:
    cluster.add_stage("s1", DUMMY)
    cluster.add_stage("out")
    for name in ("s1", "out"):
        declared = cluster.rabbitmq.api("GET", f"queues/{cluster.vhost}/{name}")
        assert isinstance(declared, dict) and declared["arguments"] == NEWEST
    with channel(cluster) as ch:
        for arguments in (SEED, NEWEST):
            for name in ("s1", "out"):
                ch.queue_declare(name, durable=True, arguments=arguments)


def test_our_stages_are_what_upstreams_watchdog_needs(cluster: TestCluster) -> None:
    cluster.add_stage("s1", DUMMY, archive="models/s1.tar.xz", priority=3)
    with cluster.client() as client:
        values = {leaf: client.get(f"/pero/queue/s1/{leaf}")[0] for leaf in QUEUE_NODES}
        assert values["config"] == DUMMY.encode()
        assert values["config_path"] == b"models/s1.tar.xz"
        assert datetime.fromisoformat(values["config_version"].decode()).tzinfo is not None
        assert int.from_bytes(values["administrative_priority"], "big") == 3
        assert values["avg_msg_time"] == values["avg_msg_time_lock"] == values["waiting_since"] == b""
        assert client.exists("/pero/queue/out") is None


def upstream_stage(cluster: TestCluster, name: str) -> None:
    """Adds a stage as upstream's script writes it, long numbers and all."""
    with cluster.client() as client, channel(cluster) as ch:
        values = {"config": DUMMY.encode(), "administrative_priority": bytes(24), "avg_msg_time": (0.5).hex().encode()}
        for leaf in QUEUE_NODES:
            client.create(f"/pero/queue/{name}/{leaf}", values.get(leaf, b""), makepath=True)
        ch.queue_declare(name, durable=True, arguments=SEED)


def upstream_worker(client: Any, name: str, *, status: bytes, seed: bool = False) -> None:
    base = f"/pero/worker/status/{name}"
    for leaf, value in (("status", status), ("queue", b""), ("enabled", b"true"), ("unlock_time", b"")):
        client.create(f"{base}/{leaf}", value, makepath=True)
    if not seed:
        client.create(f"{base}/status/connected", b"true", ephemeral=True)


@pytest.mark.parametrize("seed", [True, False])
def test_our_watchdog_keeps_upstreams_worker_at_work(cluster: TestCluster, seed: bool) -> None:
    """Through two stages, and again after all queues were empty: an idle worker of the newest upstream must be told."""
    for name in ("s1", "s2"):
        cluster.add_stage(name, DUMMY)
    cluster.add_stage("out")
    with running_watchdog(cluster), UpstreamWorker(cluster, "theirs", seed=seed), cluster.broker() as broker:
        for turn in range(3):
            for number in range(5):
                broker.publish("s1", page(10 * turn + number, "s1", "s2", "out"))
            done = collect(cluster, 5)
            assert {request.uuid for request in done} == {f"r{10 * turn + number}" for number in range(5)}
            assert {log.host_id for request in done for log in request.logs} == {"theirs"}
            broker.publish("s2", page(99, "s2", "out"))
            assert collect(cluster, 1)[0].uuid == "r99"


def test_upstreams_watchdog_keeps_our_worker_at_work(cluster: TestCluster, tmp_path: Path) -> None:
    for name in ("s1", "s2"):
        cluster.add_stage(name, DUMMY)
    cluster.add_stage("out")
    with (
        UpstreamWatchdog(cluster),
        running_worker(cluster, tmp_path),
        UpstreamWorker(cluster, "theirs"),
        cluster.broker() as broker,
    ):
        for turn in range(2):
            for number in range(10):
                broker.publish("s1", page(10 * turn + number, "s1", "s2", "out"))
            done = collect(cluster, 10)
            assert {request.uuid for request in done} == {f"r{10 * turn + number}" for number in range(10)}
            assert {log.status for request in done for log in request.logs} == {"OK"}


@pytest.mark.parametrize("seed", [True, False])
def test_our_watchdog_commands_upstreams_worker(cluster: TestCluster, seed: bool) -> None:
    upstream_stage(cluster, "s1")
    with cluster.client() as client, cluster.broker() as broker, running_watchdog(cluster):
        upstream_worker(client, "theirs", status=b"IDLE", seed=seed)
        broker.publish("s1", page(1, "s1", "out"))
        until(lambda: client.get("/pero/worker/status/theirs/queue")[0] == b"s1")
        unlock = datetime.fromisoformat(client.get("/pero/worker/status/theirs/unlock_time")[0].decode())
        assert timedelta(0) < unlock - datetime.now(UTC) < timedelta(minutes=2)


def test_our_watchdog_says_since_when_a_stage_waits(cluster: TestCluster) -> None:
    upstream_stage(cluster, "s1")
    with cluster.client() as client, cluster.broker() as broker, running_watchdog(cluster):
        broker.publish("s1", page(1, "s1", "out"))
        until(lambda: client.get("/pero/queue/s1/waiting_since")[0])
        since = datetime.fromisoformat(client.get("/pero/queue/s1/waiting_since")[0].decode())
        assert datetime.now(UTC) - since < timedelta(minutes=1)
        upstream_worker(client, "theirs", status=b"IDLE")
        until(lambda: client.get("/pero/queue/s1/waiting_since")[0] == b"")


def test_a_dead_worker_of_the_newest_upstream_is_not_taken_for_an_idle_one(cluster: TestCluster) -> None:
    upstream_stage(cluster, "s1")
    with cluster.client() as client:
        with cluster.client() as theirs:
            upstream_worker(theirs, "theirs", status=b"IDLE")
            assert read_worker(client, "theirs").status == "IDLE"
        until(lambda: read_worker(client, "theirs").status == ZK_CONNECTION_FAILED)
        upstream_worker(client, "seeds", status=b"IDLE", seed=True)
        assert read_worker(client, "seeds").status == "IDLE"
        with cluster.broker() as broker, running_watchdog(cluster):
            broker.publish("s1", page(1, "s1", "out"))
            until(lambda: client.get("/pero/worker/status/seeds/queue")[0] == b"s1")
            assert client.get("/pero/worker/status/theirs/queue")[0] == b""


def test_upstreams_controller_commands_our_worker(cluster: TestCluster, tmp_path: Path) -> None:
    """Switch, switch to the same stage again, shutdown: nothing but writes of plain values."""
    cluster.add_stage("s1", DUMMY)
    cluster.add_stage("s2", DUMMY)
    with cluster.client() as client, running_worker(cluster, tmp_path):
        for name in ("s1", "s2", "s2"):
            client.set("/pero/worker/status/w1/queue", name.encode())
            until(lambda name=name: consumers(cluster, name) == 1)  # type: ignore[misc]
        assert consumers(cluster, "s1") == 0
        client.set("/pero/worker/status/w1/enabled", b"false")
        until(lambda: status_of(client, "w1") == WorkerStatus.DEAD)


def test_the_same_command_again_is_a_new_try(cluster: TestCluster, tmp_path: Path) -> None:
    """Upstream's worker acts on every write to its node `queue`: this is how to have a failed stage tried again."""
    cluster.add_stage("s1", DUMMY, archive=f"file://{tmp_path}/model.tar", version="1")
    cluster.add_stage("out")
    with cluster.client() as client, cluster.broker() as broker, running_worker(cluster, tmp_path, trust_archives=True):
        client.set("/pero/worker/status/w1/queue", b"s1")
        until(lambda: status_of(client, "w1") == WorkerStatus.CONFIGURATION_FAILED)
        with tarfile.open(tmp_path / "model.tar", "w") as archive:
            archive.addfile(tarfile.TarInfo("model"))
        client.set("/pero/worker/status/w1/queue", b"s1")
        broker.publish("s1", page(1, "s1", "out"))
        assert collect(cluster, 1)[0].uuid == "r1"


def consumers(cluster: TestCluster, queue: str) -> int:
    with cluster.broker() as broker:
        state = broker.state(queue)
        return state.consumers if state else -1


def test_a_page_that_failed_travels_as_upstreams(cluster: TestCluster, tmp_path: Path) -> None:
    cluster.add_stage("s1", "[WORKER]\nFAILTEST = yes\n")
    cluster.add_stage("s2", DUMMY)
    cluster.add_stage("out")
    with (
        cluster.client() as client,
        cluster.broker() as broker,
        running_worker(cluster, tmp_path),
        channel(cluster) as ch,
    ):
        broker.publish("s1", page(1, "s1", "s2", "out"))
        client.set("/pero/worker/status/w1/queue", b"s1")
        method, _, body = next(ch.consume("out", inactivity_timeout=30))
        assert method is not None, "nothing came out"
    done = UpstreamRequest.FromString(body)
    assert list(done.processing_stages) == ["s2", "out"]
    assert {log.status for log in done.logs} == {"Failed"} and done.logs[-1].log
