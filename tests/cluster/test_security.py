"""TLS and passwords on real servers: who is let in, who is not, and what the latter are told."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
import trustme
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, load_pem_private_key
from faults.chaos_cluster import children
from kazoo.client import KazooClient
from kazoo.exceptions import NoAuthError, NoNodeError

from pero_worker.brokers.access import BrokerAccess
from pero_worker.brokers.rabbitmq import RabbitBroker
from pero_worker.clock import SystemClock
from pero_worker.cluster.access import ClusterAccess
from pero_worker.cluster.opening import open_cluster
from pero_worker.cluster.registry.acl import protect
from pero_worker.cluster.registry.changes import StageChange, save_stage
from pero_worker.cluster.registry.servers import MQ, add_servers
from pero_worker.coordinators.access import ZooKeeperAccess
from pero_worker.coordinators.session import session
from pero_worker.coordinators.zookeeper import ZooKeeperCoordinator
from pero_worker.errors import RequestError, TransientError
from pero_worker.servers.daemon import free_port
from pero_worker.servers.rabbitmq import RabbitServer
from pero_worker.servers.zookeeper import ZooKeeperServer
from pero_worker.wire.servers import Server

USER, PASSWORD = "pero", 'dlouhé "heslo" \\ s mezerou'
ZOO_PASSWORD = "dlouhe-heslo_s.ruznymi+znaky"  # noqa: S105
FARM_USER = "cluster"
"""Its password is the same everywhere, as in real clusters."""
PATIENCE = 3.0


@dataclass(frozen=True)
class Certificates:
    """Certificates: `server` is for localhost and 127.0.0.1, `stranger` for another host; `other_ca` signed neither."""

    folder: Path

    @property
    def ca(self) -> str:
        return str(self.folder / "ca.pem")

    @property
    def other_ca(self) -> str:
        return str(self.folder / "other-ca.pem")


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    folder = tmp_path_factory.mktemp("certificates")
    authority = trustme.CA(key_type=trustme.KeyType.ECDSA)
    authority.cert_pem.write_to_path(folder / "ca.pem")
    trustme.CA(key_type=trustme.KeyType.ECDSA).cert_pem.write_to_path(folder / "other-ca.pem")
    for name, hosts in (("server", ["localhost", "127.0.0.1"]), ("stranger", ["zoo.example.org"])):
        issued = authority.issue_cert(*hosts, key_type=trustme.KeyType.ECDSA)
        key = load_pem_private_key(issued.private_key_pem.bytes(), None)
        text = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        (folder / f"{name}.pem").write_bytes(text + b"".join(part.bytes() for part in issued.cert_chain_pems))
    return Certificates(folder)


@dataclass(frozen=True)
class Ports:
    plain: int
    tls: int


@pytest.fixture(scope="module")
def rabbit(certificates: Certificates) -> Iterator[Ports]:
    tls = free_port()
    pem = certificates.folder / "server.pem"
    server = RabbitServer.on_free_ports(
        server_folder("rabbitmq"),
        extra=f"listeners.ssl.default = 127.0.0.1:{tls}\n"
        f"listeners.ssl.unnamed = 127.0.0.2:{tls}\n"
        f"ssl_options.cacertfile = {certificates.ca}\n"
        f"ssl_options.certfile = {pem}\n"
        f"ssl_options.keyfile = {pem}\n"
        "ssl_options.verify = verify_none\n"
        "ssl_options.fail_if_no_peer_cert = false\n"
        "max_message_size = 100000\n",
    )
    try:
        server.start()
        server.api("PUT", f"users/{USER}", {"password": PASSWORD, "tags": ""})
        server.api("PUT", f"users/{FARM_USER}", {"password": ZOO_PASSWORD, "tags": ""})
        server.api("PUT", "vhosts/pero")
        for user in (USER, FARM_USER):
            server.api("PUT", f"permissions/pero/{user}", {"configure": ".*", "write": ".*", "read": ".*"})
        yield Ports(server.port, tls)
    finally:
        server.stop(9)
        shutil.rmtree(server.folder)


def zookeeper_server(certificates: Certificates, name: str) -> tuple[ZooKeeperServer, Ports]:
    folder = server_folder(f"zookeeper-{name}")
    plain = free_port()
    tls = free_port(0, [plain])
    (folder / "jaas.conf").write_text(
        "Server {\n  org.apache.zookeeper.server.auth.DigestLoginModule required\n"
        f'  user_{USER}="{ZOO_PASSWORD}"\n  user_other="{ZOO_PASSWORD}"\n  user_{FARM_USER}="{ZOO_PASSWORD}";\n}};\n'
    )
    extra = (
        f"secureClientPort={tls}\n"
        "secureClientPortAddress=127.0.0.1\n"
        "serverCnxnFactory=org.apache.zookeeper.server.NettyServerCnxnFactory\n"
        f"ssl.keyStore.location={certificates.folder / name}.pem\n"
        "ssl.keyStore.type=PEM\n"
        f"ssl.trustStore.location={certificates.ca}\n"
        "ssl.trustStore.type=PEM\n"
        "ssl.clientAuth=none\n"
        "authProvider.1=org.apache.zookeeper.server.auth.SASLAuthenticationProvider\n"
        "enforce.auth.enabled=true\n"
        "enforce.auth.schemes=sasl\n"
    )
    login = f"-Djava.security.auth.login.config={folder / 'jaas.conf'}"
    return ZooKeeperServer(folder=folder, port=plain, extra=extra, jvm=(login,)), Ports(plain, tls)


@pytest.fixture(scope="module")
def zoo(certificates: Certificates) -> Iterator[Ports]:
    server, ports = zookeeper_server(certificates, "server")
    try:
        server.start()
        yield ports
    finally:
        server.stop(9)
        shutil.rmtree(server.folder)


def server_folder(name: str) -> Path:
    """A folder inside the run's, where servers that a broken test leaves are stopped when the run ends."""
    folder = Path(os.environ["PERO_WORKER_TEST_SERVERS"]) / f"secure-{name}-{uuid.uuid4().hex[:8]}"
    folder.mkdir()
    return folder


def wait_until(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + 40
    while not condition():
        assert time.monotonic() < deadline, "it never came true"
        time.sleep(0.05)


def rabbit_access(ports: Ports, certificates: Certificates) -> BrokerAccess:
    return BrokerAccess(
        servers=(Server(host="localhost", port=ports.tls),),
        user=USER,
        password=PASSWORD,
        ca_cert=certificates.ca,
        patience=PATIENCE,
        max_pause=0.5,
    )


def zoo_access(ports: Ports, certificates: Certificates) -> ZooKeeperAccess:
    return ZooKeeperAccess(
        servers=(f"localhost:{ports.tls}",),
        user=USER,
        password=ZOO_PASSWORD,
        ca_cert=certificates.ca,
        patience=PATIENCE,
    )


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1"])
def test_both_are_reached_by_tls_with_a_password(
    rabbit: Ports, zoo: Ports, certificates: Certificates, host: str
) -> None:
    access = ClusterAccess(
        zookeeper=replace(zoo_access(zoo, certificates), servers=(f"{host}:{zoo.tls}",)),
        broker=replace(rabbit_access(rabbit, certificates), servers=()),
    )
    with session(access.zookeeper) as client:
        add_servers(client, MQ, [f"{host}:{rabbit.tls}"])
    with open_cluster(access) as cluster:
        cluster.broker.declare("a")
        cluster.broker.publish("a", b"page")
        delivery = cluster.broker.get(["a"], "w", 10)
        assert delivery is not None and delivery.body == b"page"
        cluster.broker.ack(delivery)
        assert cluster.zookeeper.exists(f"/pero/worker/config/mq_servers/{host}:{rabbit.tls}")


def test_a_message_that_is_too_large_is_an_error_of_the_request(rabbit: Ports, certificates: Certificates) -> None:
    """It is tested here because no other test uses this server."""
    broker = RabbitBroker(rabbit_access(rabbit, certificates))
    try:
        broker.declare("large")
        broker.publish("large", b"page")
        delivery = broker.get(["large"], "w", 10)
        assert delivery is not None
        for _ in range(2):
            with pytest.raises(RequestError, match="refuses a message of 200000 bytes"):
                broker.hand_on(delivery, "large", b"x" * 200_000)
        broker.hand_on(delivery, "large", b"small")
        following = broker.get(["large"], "w", 10)
        assert following is not None and following.body == b"small"
    finally:
        broker.close()


def rabbit_refusal(access: BrokerAccess) -> str:
    began = time.monotonic()
    broker = RabbitBroker(access)
    try:
        with pytest.raises(TransientError) as caught:
            broker.publish("a", b"page")
    finally:
        broker.close()
    assert time.monotonic() - began < PATIENCE + 3
    return str(caught.value)


def test_rabbitmq_refuses_and_is_refused(rabbit: Ports, certificates: Certificates) -> None:
    good = rabbit_access(rabbit, certificates)
    assert "certificate verify failed" in rabbit_refusal(replace(good, ca_cert=certificates.other_ca))
    assert "user or password is wrong" in rabbit_refusal(replace(good, password="wrong"))
    assert "IP address mismatch" in rabbit_refusal(replace(good, servers=(Server(host="127.0.0.2", port=rabbit.tls),)))


def test_tls_and_none_do_not_mix_on_rabbitmq(rabbit: Ports, certificates: Certificates) -> None:
    good = rabbit_access(rabbit, certificates)
    for access in (
        replace(good, servers=(Server(host="localhost", port=rabbit.plain),)),
        replace(good, ca_cert=""),
        replace(good, ca_cert=str(certificates.folder / "none.pem")),
    ):
        reason = rabbit_refusal(access).partition("cannot be used: ")[2]
        assert reason and "not connected yet" not in reason


def zoo_refusal(access: ZooKeeperAccess) -> str:
    began = time.monotonic()
    with pytest.raises(TransientError) as caught, session(access):
        raise AssertionError("it was let in")
    assert time.monotonic() - began < access.patience + 3
    return str(caught.value)


def test_zookeeper_refuses_and_is_refused(zoo: Ports, certificates: Certificates) -> None:
    good = zoo_access(zoo, certificates)
    assert "user or password is wrong" in zoo_refusal(replace(good, password="wrong"))
    assert "wants a user" in zoo_refusal(replace(good, user="", password=""))
    assert "certificate verify failed" in zoo_refusal(replace(good, ca_cert=certificates.other_ca))


def test_zookeeper_with_the_certificate_of_another_host_is_refused(certificates: Certificates) -> None:
    server, ports = zookeeper_server(certificates, "stranger")
    try:
        server.start()
        assert "Hostname mismatch" in zoo_refusal(zoo_access(ports, certificates))
    finally:
        server.stop(9)


def test_tls_and_none_do_not_mix_on_zookeeper(zoo: Ports, certificates: Certificates) -> None:
    good = replace(zoo_access(zoo, certificates), patience=2.0)
    zoo_refusal(replace(good, servers=(f"localhost:{zoo.plain}",)))
    zoo_refusal(replace(good, ca_cert=""))


def test_a_server_that_never_answers_is_given_up(certificates: Certificates) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        address = (f"127.0.0.1:{port}",)
        zoo_refusal(
            ZooKeeperAccess(
                servers=address,
                user=USER,
                password=ZOO_PASSWORD,
                ca_cert=certificates.ca,
                session_timeout=2,
                patience=2,
            )
        )
        zoo_refusal(ZooKeeperAccess(servers=address, session_timeout=2, patience=2))


def test_a_session_outlives_a_restart_of_a_server_with_passwords(certificates: Certificates) -> None:
    server, ports = zookeeper_server(certificates, "server")
    try:
        server.start()
        with session(zoo_access(ports, certificates)) as client:
            client.create("/kept")
            jaas = server.folder / "jaas.conf"
            text = jaas.read_text()
            server.stop(9)
            jaas.write_text(text.replace(ZOO_PASSWORD, "changed"))
            server.start()
            wait_until(lambda: "failed" in server.daemon.log.read_text())
            server.stop(9)
            jaas.write_text(text)
            server.start()
            wait_until(lambda: client.connected and client.retry(client.exists, "/kept"))
    finally:
        server.stop(9)


def as_upstream_does(ports: Ports, certificates: Certificates, user: str) -> KazooClient:
    """Logs in, and sets no owner on the nodes that it creates."""
    sasl = {"mechanism": "DIGEST-MD5", "username": user, "password": ZOO_PASSWORD}
    client = KazooClient(f"localhost:{ports.tls}", sasl_options=sasl, use_ssl=True, ca=certificates.ca)
    client.start(15)
    return client


def owners(client: KazooClient) -> set[str]:
    """Returns the owners of all nodes of the cluster."""
    found: set[str] = set()
    waiting = ["/pero"]
    while waiting:
        path = waiting.pop()
        found |= {f"{acl.id.scheme}:{acl.id.id}:{'+'.join(acl.acl_list)}" for acl in client.get_acls(path)[0]}
        waiting += [f"{path}/{name}" for name in client.get_children(path)]
    return found


def test_nodes_belong_to_the_user_who_made_them(rabbit: Ports, zoo: Ports, certificates: Certificates) -> None:
    access = ClusterAccess(zookeeper=zoo_access(zoo, certificates), broker=rabbit_access(rabbit, certificates))
    with session(access.zookeeper) as client:
        client.delete("/pero", recursive=True)
    with open_cluster(access) as cluster:
        add_servers(cluster.zookeeper, MQ, [f"localhost:{rabbit.tls}"])
        save_stage(
            cluster.zookeeper, cluster.broker, "ocr", StageChange(config="[WORKER]\nDUMMY = yes\n"), SystemClock().now()
        )
        worker = ZooKeeperCoordinator(cluster.zookeeper, "w1", SystemClock())
        worker.reports.begin_suspect("page")
        election = cluster.zookeeper.Election("/pero/watchdog/election", "dog")
        election.run(lambda: None)
        assert owners(cluster.zookeeper) == {"sasl:pero:ALL"}
        upstream, other = (as_upstream_does(zoo, certificates, user) for user in (USER, "other"))
        try:
            # With the same login, upstream's programs can do everything as before.
            upstream.set("/pero/worker/status/w1/queue", b"ocr")
            upstream.create("/pero/worker/status/w2/status", b"IDLE", makepath=True)
            upstream.delete("/pero/worker/status/w2", recursive=True)
            for attempt in (
                lambda: other.get("/pero/queue/ocr/config"),
                lambda: other.set("/pero/queue/ocr/config", b"evil"),
                lambda: other.create("/pero/worker/config/mq_servers/evil.example.org"),
                lambda: other.delete("/pero/worker/status/w1/status/connected"),
            ):
                with pytest.raises(NoAuthError):
                    attempt()  # type: ignore[no-untyped-call]
            assert protect(cluster.zookeeper, USER, open_to_all=True) > 10
            assert owners(other) == {"world:anyone:ALL"}
            assert protect(cluster.zookeeper, USER) > 10
            with pytest.raises(NoAuthError):
                other.get("/pero/queue/ocr/config")
        finally:
            for one in (upstream, other):
                one.stop()
                one.close()
        worker.close()
    refused = replace(access.zookeeper, user="other")
    with pytest.raises(TransientError, match="whose the nodes are"), session(refused) as client:
        add_servers(client, MQ, ["evil.example.org"])


def test_open_nodes_are_everybodys_although_their_maker_logged_in(zoo: Ports, certificates: Certificates) -> None:
    access = replace(zoo_access(zoo, certificates), servers=(f"localhost:{zoo.tls}/shared",), open_nodes=True)
    with session(access) as client:
        add_servers(client, MQ, ["localhost"])
        assert owners(client) == {"world:anyone:ALL"}


def test_a_worker_keeps_its_password_to_itself(
    rabbit: Ports, zoo: Ports, certificates: Certificates, tmp_path: Path
) -> None:
    """It appears neither in the process list, nor in what it prints or logs, nor in ZooKeeper."""
    secret = tmp_path / "password"
    secret.write_text(f"{ZOO_PASSWORD}\n")
    where = ["-z", f"localhost:{zoo.tls}/secret", "--user", FARM_USER, "--password-file", str(secret)]
    options = [*where, "--ca-cert", certificates.ca, "--vhost", "pero"]
    program = [sys.executable, "-m", "pero_worker"]
    for command in (["servers", "add", "mq", f"localhost:{rabbit.tls}"], ["stage", "add", "log"]):
        subprocess.run([*program, *command, *options], check=True, timeout=120)
    output = tmp_path / "output"
    with output.open("wb") as stream:
        worker = subprocess.Popen(
            [*program, "worker", "--id", "w1", "--verbose", "-q", "log", "--cache", str(tmp_path / "cache"), *options],
            stdout=stream,
            stderr=stream,
        )
    access = replace(zoo_access(zoo, certificates), servers=(f"localhost:{zoo.tls}/secret",), user=FARM_USER)
    broker = RabbitBroker(replace(rabbit_access(rabbit, certificates), user=FARM_USER, password=ZOO_PASSWORD))
    try:
        with session(access) as client:
            wait_until(lambda: client.exists("/pero/worker/status/w1/status/connected"))
            # A stage that does not exist, for something to complain about.
            client.set("/pero/worker/status/w1/queue", b"nothing")
            wait_until(lambda: client.get("/pero/worker/status/w1/status")[0] == b"CONFIGURATION_FAILED")
            line = broker.get(["log"], "test", 20)
            assert line is not None
            seen = [line.body, *values(client, "/pero")]
            for pid in (worker.pid, *children(worker.pid)):
                seen.append(Path(f"/proc/{pid}/cmdline").read_bytes())
                seen.append(Path(f"/proc/{pid}/environ").read_bytes())
    finally:
        broker.close()
        worker.terminate()
        assert worker.wait(30) == 0
    seen.append(output.read_bytes())
    assert len(seen) > 10 and not [text for text in seen if ZOO_PASSWORD.encode() in text]


def values(client: KazooClient, path: str) -> list[bytes]:
    """Yields all values below `path`; a node may disappear meanwhile."""
    try:
        found, names = [client.get(path)[0]], client.get_children(path)
    except NoNodeError:
        return []
    for name in names:
        found += values(client, f"{path}/{name}")
    return found
