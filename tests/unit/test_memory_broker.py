"""The memory broker keeps the promises of `ports.Broker`."""

from __future__ import annotations

import threading

import pytest

from pero_worker.brokers.memory import MemoryBroker
from pero_worker.errors import RequestError
from pero_worker.work import Delivery


def take(broker: MemoryBroker, queue: str = "a", consumer: str = "w") -> Delivery:
    delivery = broker.get((queue,), consumer, 0)
    assert delivery is not None
    return delivery


def test_first_in_first_out_within_a_priority() -> None:
    broker = MemoryBroker(["a"])
    for body, priority in ((b"1", 0), (b"2", 0), (b"3", 1)):
        broker.publish("a", body, priority)
    assert [take(broker).body for _ in range(3)] == [b"3", b"1", b"2"]


def test_an_unknown_queue_is_refused() -> None:
    with pytest.raises(RequestError, match="nowhere"):
        MemoryBroker(["a"]).publish("nowhere", b"")


def test_what_is_given_back_comes_again_in_its_place_uncharged() -> None:
    broker = MemoryBroker(["a"])
    broker.publish("a", b"1")
    broker.publish("a", b"2")
    broker.give_back(take(broker))
    again = take(broker)
    assert (again.body, again.attempts) == (b"1", 0)


def test_a_dead_consumer_loses_its_messages_and_is_charged() -> None:
    broker = MemoryBroker(["a"])
    for body in (b"1", b"2", b"3"):
        broker.publish("a", body)
    take(broker, consumer="dead")
    survivor = take(broker, consumer="alive")
    broker.ack(take(broker, consumer="dead"))
    assert broker.release("dead") == 1
    again = take(broker)
    assert (again.body, again.attempts) == (b"1", 1)
    assert broker.get(("a",), "w", 0) is None
    broker.give_back(survivor)
    assert broker.length("a") == 1


def test_settling_twice_changes_nothing() -> None:
    broker = MemoryBroker(["a"])
    broker.publish("a", b"1")
    delivery = take(broker)
    broker.ack(delivery)
    broker.give_back(delivery)
    broker.set_aside(delivery, "late")
    assert broker.length("a") == 0
    assert broker.take_set_aside() == []


def test_a_waiting_consumer_wakes_up() -> None:
    broker = MemoryBroker(["a", "b"])
    got: list[Delivery | None] = []
    consumer = threading.Thread(target=lambda: got.append(broker.get(("a", "b"), "w", 30)))
    consumer.start()
    broker.publish("b", b"x")
    consumer.join(30)
    assert got[0] is not None
    assert got[0].queue == "b"
