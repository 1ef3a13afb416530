from __future__ import annotations

import contextlib
import queue
import signal
import threading
import time
from collections.abc import Iterator
from functools import partial
from typing import TYPE_CHECKING

import pytest

from pero_worker.brokers.access import BrokerAccess
from pero_worker.brokers.ahead import Ahead
from pero_worker.brokers.link import Link
from pero_worker.brokers.rabbitmq import RabbitBroker
from pero_worker.errors import PeroWorkerError, RequestError, TransientError
from pero_worker.servers.rabbitmq import RabbitServer
from pero_worker.wire.queues import DEAD_LETTERS, ORIGIN, REASON
from pero_worker.wire.servers import Server
from pero_worker.work import Delivery

if TYPE_CHECKING:
    from cluster.conftest import TestCluster


def take(broker: RabbitBroker, *queues: str) -> Delivery:
    delivery = broker.get(queues, "w", 10)
    assert delivery is not None
    return delivery


def take_although_lost(broker: RabbitBroker, *queues: str) -> Delivery:
    """Takes a message as a worker does: a call fails if the connection is lost during it, and is made again."""
    while True:
        with contextlib.suppress(TransientError):
            return take(broker, *queues)


def test_a_message_goes_from_stage_to_stage(cluster: TestCluster) -> None:
    with cluster.broker() as broker:
        broker.declare("a")
        broker.declare("b")
        broker.publish("a", b"page")
        delivery = take(broker, "a")
        assert (delivery.queue, delivery.body) == ("a", b"page")
        broker.hand_on(delivery, "b", b"done")
        state = broker.state("a")
        assert state is not None and state.messages == 0
        assert take(broker, "b").body == b"done"


def test_what_is_in_hand_returns_when_its_holder_goes(cluster: TestCluster) -> None:
    with cluster.broker() as other:
        other.declare("a")
        other.publish("a", b"page")
        with cluster.broker() as broker:
            take(broker, "a")
            assert other.get(["a"], "other", 0.05) is None
        assert take(other, "a").body == b"page"


def test_no_more_is_held_than_is_worked_on_over_all_stages(cluster: TestCluster) -> None:
    with cluster.broker() as one, cluster.broker() as two:
        for name in "ab":
            one.declare(name)
            one.publish(name, name.encode())
        first = take(one, "a", "b")
        second = take(two, "a", "b")
        assert {first.queue, second.queue} == {"a", "b"}


def test_what_was_taken_ahead_goes_back_when_the_page_in_hand_takes_long(cluster: TestCluster) -> None:
    ahead = Ahead()
    ahead.messages = 8
    with cluster.broker(prefetch=8, ahead=ahead) as one, cluster.broker(prefetch=8) as two:
        one.declare("a")
        for number in range(8):
            one.publish("a", b"%d" % number)
        first = take(one, "a")
        others = {take(two, "a").body for _ in range(7)}
        assert {first.body, *others} == {b"%d" % number for number in range(8)}
        assert ahead.messages == 1
        one.declare("b")
        one.hand_on(first, "b", b"done")
        assert take(one, "b").body == b"done"


def test_pages_on_their_way_arrive_once_each_and_those_without_a_queue_stay_in_hand(cluster: TestCluster) -> None:
    became: queue.SimpleQueue[tuple[int, PeroWorkerError | None]] = queue.SimpleQueue()
    with cluster.broker(prefetch=30) as broker, cluster.broker(prefetch=30) as other:
        broker.declare("a")
        broker.declare("b")
        for number in range(30):
            broker.publish("a", b"%d" % number)
        lost = []
        for number in range(30):
            delivery = take(broker, "a")
            to = "nowhere" if number % 10 == 0 else "b"
            lost += [delivery.body] if to == "nowhere" else []
            told = partial(lambda number, error: became.put((number, error)), number)
            broker.hand_on_soon(delivery, to, delivery.body, 0, told)
        found = dict(became.get(timeout=30) for _ in range(30))
        assert {number for number, error in found.items() if error} == {0, 10, 20}
        assert all("'nowhere'" in str(found[number]) for number in (0, 10, 20))
        broker.close()
        assert sorted(take(other, "a").body for _ in range(3)) == sorted(lost)
        assert len({take(other, "b").body for _ in range(27)}) == 27
        assert other.get(["a", "b"], "w", 0) is None


def test_nothing_is_on_its_way_when_a_page_is_given_out_that_takes_long(cluster: TestCluster) -> None:
    """It may kill the process: whatever is not acknowledged by then would be done again."""
    with cluster.broker(ahead=Ahead(), prefetch=4) as broker:
        broker.declare("a")
        broker.declare("b")
        for number in range(4):
            broker.publish("a", b"%d" % number)
        arrived: list[object] = []
        for number in range(4):
            delivery = take(broker, "a")
            assert arrived == [None] * number
            broker.hand_on_soon(delivery, "b", delivery.body, 0, arrived.append)


def test_give_back_leaves_the_page_to_another(cluster: TestCluster) -> None:
    with cluster.broker() as one, cluster.broker() as two:
        one.declare("a")
        one.publish("a", b"page")
        one.give_back(take(one, "a"))
        one.get([], "w", 0)
        assert take(two, "a").body == b"page"


def test_priorities(cluster: TestCluster) -> None:
    with cluster.broker() as broker:
        broker.declare("a")
        for body, priority in ((b"bulk", 0), (b"urgent", 1), (b"odd", 300), (b"negative", -3)):
            broker.publish("a", body, priority)
        bodies = []
        for _ in range(4):
            delivery = take(broker, "a")
            bodies.append(delivery.body)
            broker.ack(delivery)
        assert set(bodies[:2]) == {b"urgent", b"odd"}


def test_a_missing_queue_is_an_error_of_the_request_and_the_page_stays_in_hand(cluster: TestCluster) -> None:
    with cluster.broker() as broker:
        broker.declare("a")
        broker.publish("a", b"page")
        delivery = take(broker, "a")
        with pytest.raises(RequestError, match="no queue 'nowhere'"):
            broker.hand_on(delivery, "nowhere", b"done")
        broker.set_aside(delivery, "no queue 'nowhere'")
        found = broker.take(DEAD_LETTERS)
        assert found is not None
        letter, headers = found
        assert letter.body == b"page"
        assert headers == {REASON: "no queue 'nowhere'", ORIGIN: "a"}


def test_large_scans_go_through(cluster: TestCluster) -> None:
    """RabbitMQ 4 accepts 16 MiB by default."""
    with cluster.broker() as broker:
        broker.declare("a")
        broker.publish("a", bytes(17 << 20))
        assert len(take(broker, "a").body) == 17 << 20


@pytest.fixture(scope="module")
def own_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RabbitServer]:
    server = RabbitServer.on_free_ports(tmp_path_factory.mktemp("rabbitmq"), extra="max_message_size = 1000000")
    server.start()
    yield server
    server.stop(signal.SIGKILL)


@contextlib.contextmanager
def connected(server: RabbitServer) -> Iterator[RabbitBroker]:
    """Connects as guest, without naming a virtual host."""
    broker = RabbitBroker(BrokerAccess(servers=(Server(host="127.0.0.1", port=server.port),)))
    try:
        broker.wait_connected(10)
        yield broker
    finally:
        broker.close()


def test_what_is_too_large_is_an_error_of_the_request_with_its_remedy(own_server: RabbitServer) -> None:
    with connected(own_server) as broker:
        broker.declare("a")
        with pytest.raises(RequestError, match="max_message_size"):
            broker.publish("a", bytes(2_000_000))
        broker.publish("a", b"small")
        assert take(broker, "a").body == b"small"


def test_upstreams_virtual_hosts_are_found(own_server: RabbitServer) -> None:
    """The newest version uses `pero`, the first release the default one."""
    with connected(own_server) as broker:
        broker.declare("in the default one")
    own_server.api("PUT", "vhosts/pero")
    own_server.api("PUT", "permissions/pero/guest", {"configure": ".*", "write": ".*", "read": ".*"})
    with connected(own_server) as broker:
        assert broker.state("in the default one") is None
        broker.declare("in pero")
    queues = own_server.api("GET", "queues")
    assert isinstance(queues, list)
    assert {queue["vhost"] for queue in queues if queue["name"].startswith("in ")} == {"/", "pero"}


def test_serving_a_queue_that_is_not_there_says_so(cluster: TestCluster) -> None:
    with cluster.broker() as broker, pytest.raises(TransientError, match="no queue 'nowhere'"):
        broker.get(["nowhere"], "w", 5)


def test_a_lost_connection_is_made_again_and_the_page_is_not_handed_on_twice(cluster: TestCluster) -> None:
    with cluster.broker() as broker, cluster.broker() as other:
        broker.declare("a")
        broker.declare("b")
        broker.publish("a", b"page")
        delivery = take(broker, "a")
        for name in connections_of(cluster):
            cluster.rabbitmq.api("DELETE", f"connections/{name}")
        assert take_although_lost(other, "a").body == b"page"
        with pytest.raises(TransientError):
            broker.hand_on(delivery, "b", b"done")
        broker.give_back(delivery)
        state = other.state("b")
        assert state is not None and state.messages == 0
        broker.publish("b", b"later")


def test_no_error_whatever_ends_the_thread_that_keeps_the_connection(
    cluster: TestCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    """pika raises more than its own errors when a connection breaks at the wrong moment."""
    broken = iter([AttributeError("'NoneType' object has no attribute 'poll'")])
    loop = Link.loop

    def loop_that_breaks(link: Link, closing: threading.Event) -> None:
        for error in broken:
            raise error
        loop(link, closing)

    monkeypatch.setattr(Link, "loop", loop_that_breaks)
    with cluster.broker() as broker:
        broker.wait_connected(10)
        for _ in range(20):
            with contextlib.suppress(TransientError):
                broker.declare("a")
                broker.publish("a", b"page")
                break
        assert take_although_lost(broker, "a").body == b"page"


def connections_of(cluster: TestCluster) -> list[str]:
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        listed = cluster.rabbitmq.api("GET", f"vhosts/{cluster.vhost}/connections")
        assert isinstance(listed, list)
        if len(listed) >= 2:
            return [entry["name"].replace(" ", "%20").replace(">", "%3E") for entry in listed]
        time.sleep(0.05)
    raise AssertionError("the management plugin lists no connections")


def test_wake_ends_the_wait(cluster: TestCluster) -> None:
    with cluster.broker() as broker:
        broker.declare("a")
        timer = threading.Timer(0.1, broker.wake)
        timer.start()
        assert broker.get(["a"], "w", 60) is None
        timer.join()


def test_no_server_and_a_wrong_password_say_what_is_wrong(cluster: TestCluster) -> None:
    port = cluster.access.broker.servers[0].port
    for access, words in (
        (BrokerAccess(servers=(Server(host="127.0.0.1", port=1),)), "refused"),
        (BrokerAccess(servers=(Server(host="127.0.0.1", port=port),), password="wrong"), "user or password"),
        (BrokerAccess(servers=(Server(host="127.0.0.1", port=port),), vhost="none"), "vhost"),
    ):
        broker = RabbitBroker(access)
        try:
            with pytest.raises(TransientError, match=words):
                broker.wait_connected(2)
        finally:
            broker.close()


def test_a_queue_that_is_missing_stops_no_other(cluster: TestCluster) -> None:
    with cluster.broker() as broker:
        broker.declare("there")
        broker.publish("there", b"1")
        first = broker.get(("there", "gone"), "me", 10)
        assert first is not None and first.body == b"1"
        broker.ack(first)
        assert broker.get(("there", "gone"), "me", 0) is None
        broker.declare("gone")
        broker.publish("gone", b"2")
        second = broker.get(("there", "gone"), "me", 10)
        assert second is not None and second.queue == "gone"
        broker.ack(second)


def test_one_goes_from_queues_to_others_in_any_order(cluster: TestCluster) -> None:
    """Consumers that stay and new ones have different names, however long the worker's name is."""
    with cluster.broker() as broker:
        for name in ("a", "b", "c", "q" * 200):
            broker.declare(name)
        for queues in (("a", "b"), ("b", "c"), ("c", "a", "q" * 200), ("b", "q" * 200), ("a", "b", "c")):
            for name in queues:
                broker.publish(name, b"page")
                delivery = broker.get(queues, "w" * 250, 10)
                assert delivery is not None and delivery.queue == name
                broker.ack(delivery)
