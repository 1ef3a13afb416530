"""RabbitMQ loses a node, or everything it held: its clients carry on by themselves."""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys
import threading
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
from cluster.conftest import TestCluster
from cluster.rabbitnodes import rabbit_nodes
from cluster.test_overlap import SLOWER
from cluster.test_workers import DUMMY, page, running_watchdog, running_worker, until

from pero_worker.brokers.access import BrokerAccess
from pero_worker.clock import SystemClock
from pero_worker.cluster.access import ClusterAccess
from pero_worker.cluster.management import Management, ManagementAccess
from pero_worker.cluster.opening import open_cluster
from pero_worker.cluster.pages.route import check_route
from pero_worker.cluster.pages.sending import publish_with_retry
from pero_worker.cluster.pages.workforce import ClusterWorkforce
from pero_worker.cluster.registry.changes import StageChange, save_stage
from pero_worker.cluster.registry.queuekinds import set_default_kind
from pero_worker.cluster.registry.servers import MONITORING, MQ, add_servers
from pero_worker.coordinators.access import ZooKeeperAccess
from pero_worker.coordinators.session import session
from pero_worker.errors import TransientError
from pero_worker.gateway.backend import Work, WorkOutcome
from pero_worker.gateway.cluster_backend import RESULTS_QUEUE, ClusterBackend
from pero_worker.servers.rabbitmq import RabbitServer
from pero_worker.servers.zookeeper import ZooKeeperServer
from pero_worker.wire.servers import Server
from pero_worker.work import QueueKind
from pero_worker.worker.inline import InlinePayloads

PAGES = 300
NOW = SystemClock().now()


def cluster_of(nodes: list[RabbitServer], zookeeper: ZooKeeperServer) -> TestCluster:
    """Returns a cluster whose nodes are all registered for commands and listed in its access."""
    root = f"127.0.0.1:{zookeeper.port}/t{uuid.uuid4().hex[:12]}"
    servers = tuple(Server(host="127.0.0.1", port=node.port) for node in nodes)
    access = ClusterAccess(zookeeper=ZooKeeperAccess(servers=(root,)), broker=BrokerAccess(servers=servers, vhost="/"))
    with session(access.zookeeper) as client:
        add_servers(client, MQ, [f"127.0.0.1:{node.port}" for node in nodes])
        add_servers(client, MONITORING, [f"127.0.0.1:{node.management}" for node in nodes])
    return TestCluster(root, "/", access, nodes[0])


@pytest.fixture
def server(tmp_path: Path) -> Iterator[RabbitServer]:
    made = RabbitServer.on_free_ports(tmp_path / "rabbitmq")
    made.start()
    yield made
    made.stop(signal.SIGKILL)


def test_after_a_wipe_whoever_notices_makes_the_queues_again(
    server: RabbitServer, zookeeper: ZooKeeperServer, tmp_path: Path
) -> None:
    cluster = cluster_of([server], zookeeper)
    with open_cluster(cluster.access) as opened:
        for name, config, kind in (
            ("s1", DUMMY, None),
            ("s2", DUMMY, QueueKind.QUORUM),
            ("alone", DUMMY, None),
            ("out", None, None),
            ("idle", DUMMY, None),
        ):
            save_stage(opened.zookeeper, opened.broker, name, StageChange(config=config, queue=kind), NOW)
    with open_cluster(cluster.access) as opened, running_worker(cluster, tmp_path):
        client, broker = opened.zookeeper, opened.broker
        client.set("/pero/worker/status/w1/queue", b"s1")
        broker.publish("s1", page(1, "s1", "out"))
        until(lambda: broker.lengths(["out"]) == {"out": 1})
        server.daemon.stop(signal.SIGKILL)
        shutil.rmtree(server.folder / "mnesia")
        server.start()
        broker.wait_connected(30)
        # The worker creates the queue that it serves and those that it hands pages on to, and no others.
        with cluster.broker() as other:
            until(lambda: other.state("s1"))
            until(lambda: other.publish("s1", page(2, "s1", "s2", "out")) is None)
            until(lambda: other.state("s2"))
            assert other.state("out") is other.state("alone") is None
        # Publishing creates the queues that pages are to go to.
        check_route(opened, ("alone", "out"))
        assert broker.state("out") is not None
        assert broker.publish("idle", page(3, "idle", "out")) is None
        # A download creates the queue that it takes from.
        broker.delete("out")
        assert broker.get(("out",), "download", 0) is None
        kinds = {name: server.api("GET", f"queues/%2F/{name}")["type"] for name in ("s1", "s2", "out")}  # type: ignore[index]
        assert kinds == {"s1": "classic", "s2": "quorum", "out": "classic"}
        # The watchdog creates all of them.
        broker.delete("alone")
        assert set(broker.lengths(["alone", "s1", "s2"])) == {"alone", "s1", "s2"}
        with pytest.raises(TransientError, match="stage add unknown"):
            broker.get(("unknown",), "me", 0)
        # A run that waits for its results is told to start again: they are gone.
        run = ClusterWorkforce(broker, InlinePayloads(), ("s1",), "run", SystemClock(), version="", dpi=300)
        run.start(1, lambda exit_code, pages: None)
        assert run.outcomes(0) == ()
        broker.delete("job.run")
        with pytest.raises(TransientError, match="give the same command again"):
            until(lambda: run.outcomes(0))
        run.stop(False)


def test_nodes_that_die_lose_and_double_no_page(zookeeper: ZooKeeperServer, tmp_path: Path) -> None:
    """One of three nodes dies, then a second one: the queues wait until there is a majority, and carry on."""
    with rabbit_nodes(tmp_path, 3) as nodes:
        cluster = cluster_of(nodes, zookeeper)
        with open_cluster(cluster.access) as opened:
            set_default_kind(opened.zookeeper, QueueKind.QUORUM)
            for name, config in (("s1", SLOWER), ("s2", SLOWER), ("out", None)):
                save_stage(opened.zookeeper, opened.broker, name, StageChange(config=config), NOW)
        command = [sys.executable, "-m", "pero_worker"]
        places = ("--cache", str(tmp_path / "cache"))
        workers = [
            subprocess.Popen([*command, "worker", "--id", name, *places], env=cluster.environment())
            for name in ("w1", "w2")
        ]
        try:
            with running_watchdog(cluster), open_cluster(cluster.access) as opened:
                broker = opened.broker

                def send() -> None:
                    for number in range(PAGES):
                        publish_with_retry(broker, "s1", page(number, "s1", "s2", "out"), 0, SystemClock())

                def done() -> int:
                    try:
                        return broker.lengths(["out"]).get("out", 0)
                    except TransientError:
                        return 0

                sender = threading.Thread(target=send)
                sender.start()
                until(lambda: done() > PAGES // 10, 120)
                nodes[0].daemon.stop(signal.SIGKILL)
                until(lambda: done() > PAGES // 2, 120)
                check_gateway(cluster, tmp_path)
                check_management(nodes)
                nodes[1].daemon.stop(signal.SIGKILL)
                nodes[1].start()
                # A page may be stuck with a consumer that had just ended when this node died.
                nodes[0].start()
                sender.join(120)
                assert not sender.is_alive()
                until(lambda: done() >= PAGES, 120)
        finally:
            for process in workers:
                process.send_signal(signal.SIGTERM)
            assert [process.wait(60) for process in workers] == [0, 0]
        results = tmp_path / "results"
        downloaded = subprocess.run(
            [*command, "download", "out", "-o", results, "--layout", "requests"],
            env=cluster.environment(),
            capture_output=True,
            text=True,
            check=False,
        )
        assert downloaded.returncode == 0, downloaded.stderr
        assert f"{PAGES} pages in" in downloaded.stdout
        assert len(list(results.glob("r*/"))) == PAGES


def check_gateway(cluster: TestCluster, folder: Path) -> None:
    """Checks that a page goes through a gateway and comes back."""
    image = folder / "a.png"
    image.write_bytes(b"image")
    with open_cluster(cluster.access) as opened:
        opened.broker.declare(RESULTS_QUEUE, kind=QueueKind.QUORUM)
        backend = ClusterBackend(opened, {"reader": ("s1",)}, SystemClock())
        backend.start()
        backend.send(Work(page="page", job="job", path=image, name="a.png", stages=("s1",), source="a.png"))
        found: list[WorkOutcome] = []
        until(lambda: found.extend(backend.outcomes(1)) or found, 60)
        assert [outcome.page for outcome in found] == ["page"]
        found[0].settle()
        backend.close()


def check_management(nodes: list[RabbitServer]) -> None:
    servers = tuple(Server(host="127.0.0.1", port=node.management) for node in nodes)
    management = Management(ManagementAccess(servers=servers, user="guest", password="guest"))
    assert "s1" in management.queue_names()
