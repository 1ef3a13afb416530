"""Classic and quorum queues: how the kind is chosen and changed, and that workers serve both alike."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections import Counter
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from cluster.test_overlap import SLOWER, waiting, worker
from cluster.test_workers import DUMMY, page, until

from pero_worker.brokers.ahead import Ahead
from pero_worker.brokers.rabbitmq import RabbitBroker
from pero_worker.clock import SystemClock
from pero_worker.cluster.opening import restore_queues
from pero_worker.cluster.registry.changes import StageChange, remove_stage, save_stage
from pero_worker.cluster.registry.queuekinds import registered_kind
from pero_worker.cluster.registry.stages import read_record
from pero_worker.errors import NoQueueError, TransientError, UsageError
from pero_worker.wire.queues import DEAD_LETTERS
from pero_worker.wire.requests import decode_request
from pero_worker.work import QueueKind

if TYPE_CHECKING:
    from cluster.conftest import TestCluster

NOW = SystemClock().now()


def kind_of(cluster: TestCluster, queue: str) -> object:
    """Returns the kind of a queue as RabbitMQ reports it."""
    found = cluster.rabbitmq.api("GET", f"queues/{cluster.vhost}/{queue}")
    assert isinstance(found, dict)
    return found["type"]


def test_a_stage_has_the_queue_that_it_asks_for_or_the_cluster(cluster: TestCluster) -> None:
    cluster.add_stage("usual", DUMMY)
    with cluster.client() as client:
        command = [sys.executable, "-m", "pero_worker", "stage", "queues", "quorum"]
        told = subprocess.run(command, env=cluster.environment(), capture_output=True, text=True, check=True).stdout
        assert "queues that are made from now on are quorum" in told
        cluster.add_stage("later", DUMMY)
        cluster.add_stage("asked", DUMMY, queue=QueueKind.CLASSIC)
        assert [kind_of(cluster, name) for name in ("usual", "later", "asked")] == ["classic", "quorum", "classic"]
        assert registered_kind(client, "later") is registered_kind(client, DEAD_LETTERS) is QueueKind.QUORUM
        assert registered_kind(client, "asked") is QueueKind.CLASSIC
        assert registered_kind(client, "unknown") is registered_kind(client, "a/b") is None
        assert read_record(client, "asked").queue == "classic"


def test_an_empty_queue_becomes_another_and_no_page_is_lost(cluster: TestCluster) -> None:
    cluster.add_stage("s1", DUMMY)
    with cluster.broker() as broker, cluster.broker() as reader:
        broker.publish("s1", b"page")
        with pytest.raises(UsageError, match="can become quorum when it is empty"):
            cluster.add_stage("s1", queue=QueueKind.QUORUM)
        delivery = reader.get(("s1",), "reader", 10)
        assert delivery is not None
        with pytest.raises(UsageError, match="neither a worker nor a download takes pages from it"):
            cluster.add_stage("s1", queue=QueueKind.QUORUM)  # What is in hand would be lost if its reader died.
        reader.ack(delivery)
        reader.get((), "", 0)
        cluster.add_stage("s1", queue=QueueKind.QUORUM)
        assert kind_of(cluster, "s1") == "quorum"
        cluster.add_stage("s1", queue=QueueKind.QUORUM)
        with pytest.raises(UsageError, match="stage remove s1 --keep-config"):
            cluster.add_stage("s1", queue=QueueKind.CLASSIC)


def test_a_queue_that_was_removed_on_purpose_stays_away(cluster: TestCluster) -> None:
    cluster.add_stage("s1", DUMMY)
    with cluster.client() as client, cluster.broker() as broker:
        restore_queues(client, broker)
        broker.delete("s1")
        broker.publish("s1", b"page")  # Nothing has removed it.
        assert broker.lengths(["s1"]) == {"s1": 1}
        remove_stage(client, broker, "s1", keep_config=True)
        with pytest.raises(NoQueueError):
            broker.publish("s1", b"page")
        assert broker.lengths(["s1"]) == {}
        save_stage(client, broker, "s1", StageChange(), NOW)
        broker.delete("s1")
        assert broker.restored("s1") is not None


def test_a_worker_serves_quorum_queues_as_it_does_classic_ones(cluster: TestCluster, tmp_path: Path) -> None:
    """Through stages without the broker in between, through the broker, and with a page that kills it."""
    cluster.add_stage("s1", SLOWER + "KILL_NAME = 100.png\n", queue=QueueKind.QUORUM)
    cluster.add_stage("s2", SLOWER, queue=QueueKind.CLASSIC)
    cluster.add_stage("out", queue=QueueKind.QUORUM)
    with cluster.broker() as broker:
        for number in range(200):
            broker.publish("s1", page(number, "s1", "s2", "out"), priority=number % 2)
    with worker(cluster, tmp_path, "s1", "s2"):
        until(lambda: waiting(cluster, "out") >= 200, 120)
    with cluster.client() as client, cluster.broker(prefetch=1000) as broker:
        restore_queues(client, broker)
        found = {}
        while (delivery := broker.get(("out", "s1", "s2"), "test", 1)) is not None:
            request = decode_request(delivery.body)
            found[request.uuid] = request
    assert len(found) == 200
    assert {uuid for uuid, request in found.items() if request.failed} == {"r100"}


@pytest.mark.parametrize("kind", QueueKind)
def test_of_several_queues_a_worker_holds_no_more_than_it_works_on(cluster: TestCluster, kind: QueueKind) -> None:
    """Pages take long: only one is in hand, although quorum queues limit each consumer separately."""
    names = ("s1", "s2", "s3")
    for name in names:
        cluster.add_stage(name, DUMMY, queue=kind)
    with cluster.client() as client, cluster.broker() as others:
        for name in (*names, *names):
            others.publish(name, name.encode())
        broker = RabbitBroker(cluster.access.broker, ahead=Ahead())
        restore_queues(client, broker)
        try:
            got: list[str] = []
            for left in range(5, -1, -1):
                delivery = broker.get(names, "slow", 10)
                assert delivery is not None
                got.append(delivery.queue)
                # Nothing else is on its way to this worker: the others see everything that is left.
                until(lambda left=left: sum(others.lengths(names).values()) == left)  # type: ignore[misc]
                broker.ack(delivery)
            assert Counter(got) == Counter(2 * names)
            # What is published while it waits arrives at once, and a page that takes long lets the others go.
            waiter = threading.Timer(0.2, lambda: [others.publish(name, b"new") for name in names])
            waiter.start()
            first = broker.get(names, "slow", 10)
            assert first is not None
            waiter.join()
            until(lambda: sum(others.lengths(names).values()) == 2)
            broker.ack(first)
        finally:
            broker.close()


@pytest.mark.parametrize("kind", QueueKind)
def test_a_limit_that_changes_loses_and_repeats_nothing(cluster: TestCluster, kind: QueueKind) -> None:
    cluster.add_stage("s1", DUMMY, queue=kind)
    with cluster.broker() as publisher, cluster.broker(prefetch=1) as broker:
        for number in range(300):
            publisher.publish("s1", str(number).encode())
        if kind is QueueKind.CLASSIC:
            broker._connection.limit_by_consumer()  # As with RabbitMQ 4.
        got: list[bytes] = []
        again = 0
        for number in range(300):
            if number % 20 == 0:
                broker.fetch_ahead(1 + number % 50)
            delivery = None
            begun = time.monotonic()
            while delivery is None and time.monotonic() - begun < 30:
                # This client does not know the kind of the queue: RabbitMQ closes the connection over it, once.
                with suppress(TransientError):
                    delivery = broker.get(("s1",), "reader", 0.5)
            assert delivery is not None
            again += delivery.redelivered
            got.append(delivery.body)
            broker.ack(delivery)
        assert sorted(got, key=int) == [str(number).encode() for number in range(300)]
        # A quorum queue takes back what is on its way to a consumer that starts afresh.
        assert again == 0 or kind is QueueKind.QUORUM
