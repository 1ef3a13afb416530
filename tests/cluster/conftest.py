"""Real servers: one RabbitMQ and one ZooKeeper per run, started on first use; a vhost and a root per test."""

from __future__ import annotations

import fcntl
import json
import os
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pytest

from pero_worker.brokers.access import BrokerAccess
from pero_worker.brokers.rabbitmq import RabbitBroker
from pero_worker.clock import SystemClock
from pero_worker.cluster.access import ClusterAccess
from pero_worker.cluster.registry.changes import StageChange, save_stage
from pero_worker.cluster.registry.servers import MQ, add_servers
from pero_worker.coordinators.access import ZooKeeperAccess
from pero_worker.coordinators.session import session
from pero_worker.servers.rabbitmq import RabbitServer
from pero_worker.servers.zookeeper import ZooKeeperServer
from pero_worker.wire.servers import Server


def _shared(name: str, make: Callable[[Path], Any]) -> Any:
    """Returns the run's only server `name`: the first process to ask starts it, the others read where it is."""
    base = Path(os.environ["PERO_WORKER_TEST_SERVERS"])
    with (base / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        state = base / f"{name}.json"
        if state.exists():
            kind = RabbitServer if name == "rabbitmq" else ZooKeeperServer
            values = json.loads(state.read_text())
            return kind(**{**values, "folder": Path(values["folder"])})
        server = make(base / name)
        server.start()
        state.write_text(json.dumps(asdict(server), default=str))
        return server


@pytest.fixture(scope="session")
def rabbitmq() -> RabbitServer:
    server: RabbitServer = _shared("rabbitmq", RabbitServer.on_free_ports)
    return server


@pytest.fixture(scope="session")
def zookeeper() -> ZooKeeperServer:
    server: ZooKeeperServer = _shared("zookeeper", ZooKeeperServer.on_free_port)
    return server


@dataclass(frozen=True)
class TestCluster:
    """A vhost and a ZooKeeper root that belong to one test."""

    __test__ = False

    zookeeper: str
    vhost: str
    access: ClusterAccess
    rabbitmq: RabbitServer

    @contextmanager
    def client(self) -> Iterator[Any]:
        with session(self.access.zookeeper) as client:
            yield client

    @contextmanager
    def broker(self, **options: Any) -> Iterator[RabbitBroker]:
        broker = RabbitBroker(self.access.broker, **options)
        try:
            broker.wait_connected(10)
            yield broker
        finally:
            broker.close()

    def add_stage(self, name: str, config: str | None = None, **change: Any) -> None:
        """Adds a stage, or an output queue if `config` is None."""
        with self.client() as client, self.broker() as broker:
            save_stage(client, broker, name, StageChange(config=config, **change), SystemClock().now())

    def environment(self) -> dict[str, str]:
        """Returns the environment for a command that works on this cluster."""
        return {**os.environ, "PERO_WORKER_VHOST": self.vhost, "PERO_WORKER_ZOOKEEPER": self.zookeeper}


@pytest.fixture
def cluster(rabbitmq: RabbitServer, zookeeper: ZooKeeperServer) -> Iterator[TestCluster]:
    name = f"t{uuid.uuid4().hex[:12]}"
    rabbitmq.api("PUT", f"vhosts/{name}")
    rabbitmq.api("PUT", f"permissions/{name}/guest", {"configure": ".*", "write": ".*", "read": ".*"})
    access = ClusterAccess(
        zookeeper=ZooKeeperAccess(servers=(f"127.0.0.1:{zookeeper.port}/{name}",)),
        broker=BrokerAccess(servers=(Server(host="127.0.0.1", port=rabbitmq.port),), vhost=name),
    )
    with session(access.zookeeper) as client:
        add_servers(client, MQ, [f"127.0.0.1:{rabbitmq.port}"])
    yield TestCluster(f"127.0.0.1:{zookeeper.port}/{name}", name, access, rabbitmq)
    rabbitmq.api("DELETE", f"vhosts/{name}")
