"""RabbitMQ that is out of memory takes no messages: publishers are notified, wait, and send each message once."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from cluster.test_workers import until

from pero_worker.brokers import connection
from pero_worker.brokers.access import BrokerAccess
from pero_worker.brokers.rabbitmq import RabbitBroker
from pero_worker.clock import SystemClock
from pero_worker.cluster.pages.sending import publish_with_retry
from pero_worker.servers.rabbitmq import RabbitServer
from pero_worker.wire.servers import Server


@pytest.fixture
def server(tmp_path: Path) -> Iterator[RabbitServer]:
    """A server for this test alone, because an alarm affects every client."""
    made = RabbitServer.on_free_ports(tmp_path / "rabbitmq")
    made.start()
    yield made
    made.stop()


def test_a_page_that_waits_for_room_is_sent_once(server: RabbitServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "_LOOK_SECONDS", 0.1)
    told: list[str] = []
    access = BrokerAccess(servers=(Server(host="127.0.0.1", port=server.port),), patience=0.2)
    publisher, reader = RabbitBroker(access), RabbitBroker(access)
    try:
        publisher.wait_connected(30)
        publisher.declare("out")
        publisher.tell_notices(told.append)
        server.control("set_vm_memory_high_watermark", "0.00001")
        sender = threading.Thread(target=publish_with_retry, args=(publisher, "out", b"page", 0, SystemClock()))
        sender.start()
        until(lambda: bool(told))
        assert "takes no messages" in told[0] and "memory" in told[0]
        sender.join(4)  # Twenty times as long as the publisher has patience for.
        assert sender.is_alive()
        server.control("set_vm_memory_high_watermark", "0.4")
        sender.join(60)
        assert not sender.is_alive() and len(told) == 1
        publisher.publish("out", b"another")
        until(lambda: (state := reader.state("out")) is not None and state.messages >= 2)
        bodies = [(found := reader.take("out")) and found[0].body for _ in range(5)]
        assert bodies == [b"page", b"another", None, None, None]
    finally:
        publisher.close()
        reader.close()


def test_what_was_not_begun_is_not_carried_out_later(server: RabbitServer) -> None:
    """A thread's publish waits behind another's until its patience runs out."""
    access = BrokerAccess(servers=(Server(host="127.0.0.1", port=server.port),), patience=0.2)
    broker = RabbitBroker(access)
    busy, free = threading.Event(), threading.Event()
    try:
        broker.wait_connected(30)
        broker.declare("out")

        def hold(_link: object) -> None:
            busy.set()
            free.wait(60)

        holder = threading.Thread(target=broker._connection.call, args=(hold,))
        holder.start()
        assert busy.wait(30)
        with pytest.raises(Exception, match="does not answer"):
            broker.publish("out", b"too late")
        free.set()
        holder.join(30)
        broker.publish("out", b"in time")
        until(lambda: (state := broker.state("out")) is not None and state.messages == 1)
        taken = broker.take("out")
        assert taken is not None and taken[0].body == b"in time"
    finally:
        free.set()
        broker.close()


def test_names_of_any_length_can_be_consumed(server: RabbitServer) -> None:
    """A consumer's tag has 255 bytes, as a queue's name."""
    broker = RabbitBroker(BrokerAccess(servers=(Server(host="127.0.0.1", port=server.port),)))
    queues = ["q" * 255, "ž" * 100, "s" * 200]
    try:
        broker.wait_connected(30)
        for name in queues:
            broker.declare(name)
            broker.publish(name, name.encode())
        found = set()
        for _ in queues:
            delivery = broker.get(queues, "w" * 300, 30)
            assert delivery is not None
            found.add(delivery.queue)
            broker.ack(delivery)
        assert found == set(queues)
    finally:
        broker.close()
