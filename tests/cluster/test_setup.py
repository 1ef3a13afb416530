"""A cluster built from the files of `pero-worker set-up`, on real servers."""

from __future__ import annotations

import json
import os
import random
import shutil
import socket
import ssl
import stat
import subprocess
import sys
import uuid
from collections.abc import Iterator
from configparser import ConfigParser
from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from pero_worker.brokers.rabbitmq import RabbitBroker
from pero_worker.clock import SystemClock
from pero_worker.cluster.opening import open_cluster
from pero_worker.cluster.settings import cluster_access, options_in, read_settings, store_access
from pero_worker.cluster.setup.files import SetupOptions, checked_hosts, make_set_up
from pero_worker.cluster.setup.templates import Ports
from pero_worker.errors import TransientError, UsageError
from pero_worker.servers.daemon import Daemon, answers, free_port
from pero_worker.servers.rabbitmq import SERVER_VARIABLE, RabbitServer
from pero_worker.servers.zookeeper import ZooKeeperServer
from pero_worker.stores.remote import upload
from pero_worker.wire.servers import Server

HOSTS = ("localhost", "ocr.example.org", "10.0.0.7", "::1")


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder inside the run's, where servers that a broken test leaves are stopped when the run ends."""
    path = Path(os.environ["PERO_WORKER_TEST_SERVERS"]) / f"set-up-{uuid.uuid4().hex[:8]}"
    yield path
    shutil.rmtree(path)


def free_ports() -> Ports:
    taken: list[int] = []
    for _ in range(4):
        taken.append(free_port(0, taken))
    zookeeper, amqp, management, sftp = taken
    return Ports(zookeeper=zookeeper, amqp=amqp, management=management, sftp=sftp)


def start_rabbitmq(folder: Path, ports: Ports) -> RabbitServer:
    """Starts RabbitMQ with the generated files in place of those that `RabbitServer` writes."""
    server = RabbitServer.on_free_ports(folder)
    for name in ("mnesia", "log", "home"):
        (folder / name).mkdir()
    epmd = Daemon(name="epmd", folder=folder)
    epmd.start(["epmd", "-address", "127.0.0.1", "-port", str(server.epmd)], {})
    epmd.wait_until(lambda: answers(server.epmd))
    environment = server._environment()
    del environment["RABBITMQ_NODE_PORT"], environment["RABBITMQ_NODE_IP_ADDRESS"]
    server.daemon.start([os.environ.get(SERVER_VARIABLE, "/usr/lib/rabbitmq/bin/rabbitmq-server")], environment)
    server.daemon.wait_until(lambda: answers(ports.amqp) and answers(ports.management), timeout=120)
    return server


def start_zookeeper(folder: Path, ports: Ports) -> ZooKeeperServer:
    """Starts ZooKeeper with the generated zoo.cfg as its `extra`."""
    place = folder / "zookeeper"
    place.mkdir()
    lines = (folder / "zoo.cfg").read_text().splitlines()
    ours = ("tickTime=", "dataDir=", "maxClientCnxns=", "admin.enableServer=")
    extra = "\n".join(line for line in lines if not line.startswith(ours))
    jaas = f"-Djava.security.auth.login.config={folder / 'jaas.conf'}"
    server = ZooKeeperServer(folder=place, port=free_port(0, [ports.zookeeper]), extra=extra, jvm=(jaas,))
    server.start()
    return server


@pytest.mark.parametrize("file", ["client.toml", "worker.ini"])
def test_servers_and_clients_understand_each_other(folder: Path, file: str) -> None:
    ports = free_ports()
    make_set_up(
        SetupOptions(folder=folder, hosts=HOSTS, ports=ports, servers_at=folder), SystemClock(), random.randbytes
    )
    servers: list[RabbitServer | ZooKeeperServer] = []
    try:
        servers.append(start_zookeeper(folder, ports))
        servers.append(start_rabbitmq(folder, ports))
        program = [sys.executable, "-m", "pero_worker", "servers", "add", "mq", f"127.0.0.1:{ports.amqp}"]
        subprocess.run([*program, "--config-file", str(folder / file)], check=True)
        given = options_in(read_settings(folder / file, "WORKER"))
        with open_cluster(cluster_access(given)) as cluster:
            cluster.broker.declare("log")
            cluster.broker.publish("log", b"line")
            found = cluster.broker.take("log")
            assert found is not None and found[0].body == b"line"
            cluster.broker.ack(found[0])
            assert cluster.zookeeper.get_children("/pero/worker/config/mq_servers") == [f"127.0.0.1:{ports.amqp}"]
        assert given.vhost == "pero"
        guest = RabbitBroker(
            replace(
                cluster_access(given).broker,
                servers=(Server(host="127.0.0.1", port=ports.amqp),),
                user="guest",
                password="guest",
            )
        )
        with pytest.raises(TransientError, match="user or password is wrong"):
            guest.wait_connected(1)
        guest.close()
        context = ssl.create_default_context(cafile=folder / "ca.pem")
        for host in ("ocr.example.org", "10.0.0.7", "::1", "127.0.0.1"):
            for port in (ports.amqp, ports.management, ports.zookeeper):
                with socket.create_connection(("127.0.0.1", port), 10) as plain:
                    context.wrap_socket(plain, server_hostname=host).close()
    finally:
        for server in servers:
            server.stop(9)


def test_the_model_store_is_known_by_the_clients_file(folder: Path) -> None:
    ports = free_ports()
    made = make_set_up(SetupOptions(folder=folder, hosts=HOSTS, ports=ports), SystemClock(), random.randbytes)
    (folder / "models").mkdir()
    command = [sys.executable, "-m", "pero_worker.servers.sftp", "--root", str(folder), "--user", "pero"]
    command += ["--port", str(ports.sftp), "--host-key", str(folder / "ssh_host_ed25519_key")]
    environment = {**os.environ, "PERO_WORKER_SERVER_PASSWORD": made.password}
    given = options_in(read_settings(folder / "client.toml"))
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE) as server:
        try:
            assert server.stdout is not None and server.stdout.readline().startswith(b"listening")
            upload(f"localhost:{ports.sftp}", "models/a.pem", folder / "ca.pem", store_access(given))
        finally:
            server.terminate()
    assert (folder / "models/a.pem").read_bytes() == (folder / "ca.pem").read_bytes()


def test_private_files_are_private_and_a_second_run_is_refused(folder: Path) -> None:
    given = SetupOptions(folder=folder, hosts=HOSTS)
    made = make_set_up(given, SystemClock(), random.randbytes)
    public = {"ca.pem", "server.pem", "known_hosts", "compose.yaml", "enabled_plugins"}
    for path in made.files:
        mode = stat.S_IMODE(path.stat().st_mode)
        assert mode & ~0o644 == 0 if path.name in public else mode == 0o600, path
        if path.name in public:
            assert made.password not in path.read_text() and "PRIVATE" not in path.read_text()
    assert {path.name for path in made.files} == {path.name for path in folder.iterdir()}
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    with pytest.raises(UsageError, match=r"already.*--force"):
        make_set_up(given, SystemClock(), random.randbytes)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
    again = make_set_up(given, SystemClock(), random.randbytes, force=True)
    assert again.password != made.password
    assert made.password not in repr(made)


def test_passwords_are_strong_and_stored_as_a_hash(folder: Path) -> None:
    made = make_set_up(SetupOptions(folder=folder, hosts=HOSTS), SystemClock(), random.randbytes)
    assert len(made.password) == 32 and made.password.isalnum()
    assert made.password != made.admin_password
    definitions = (folder / "definitions.json").read_text()
    assert made.password not in definitions and made.admin_password not in definitions
    assert {user["name"] for user in json.loads(definitions)["users"]} == {"pero", "admin"}


def test_compose_mounts_what_the_configurations_name(folder: Path) -> None:
    made = make_set_up(SetupOptions(folder=folder, hosts=HOSTS), SystemClock(), random.randbytes)
    names = {path.name for path in made.files}
    services = yaml.safe_load((folder / "compose.yaml").read_text())["services"]
    assert set(services) == {"rabbitmq", "zookeeper", "sftp"}
    for service, configuration in (("rabbitmq", "rabbitmq.conf"), ("zookeeper", "zoo.cfg"), ("sftp", "users.conf")):
        mounted = [mount for mount in services[service]["volumes"] if isinstance(mount, str)]
        sources = {mount.split(":")[0].removeprefix("./") for mount in mounted}
        assert configuration in sources
        assert sources <= names
        targets = {mount.split(":")[1] for mount in mounted}
        for line in (folder / configuration).read_text().splitlines():
            value = line.partition("=")[2].strip()
            if value.startswith("/cluster/") and not value.endswith("-data"):
                assert value in targets


def test_upstreams_sections_are_there(folder: Path) -> None:
    make_set_up(SetupOptions(folder=folder, hosts=HOSTS, clients_at=Path("/etc/pero")), SystemClock(), random.randbytes)
    parser = ConfigParser()
    parser.read(folder / "worker.ini")
    assert parser.sections() == ["WORKER", "WATCHDOG", "LOGD"]
    for section in parser.sections():
        assert parser[section]["zookeeper_servers"] == "localhost:2281"
        assert parser[section]["ca_cert"] == "/etc/pero/ca.pem"
    assert int(parser["LOGD"]["number_of_files"]) == 30


@pytest.mark.parametrize("hosts", [(), ("a b",), ("host:5671",), ("",)])
def test_hosts_that_cannot_be_are_refused(hosts: tuple[str, ...]) -> None:
    with pytest.raises(UsageError):
        checked_hosts(hosts)


def test_the_command_tells_what_to_do_next(folder: Path) -> None:
    code = "import typer; from pero_worker.cli.setup import set_up; a = typer.Typer(); a.command()(set_up); a()"
    command = [sys.executable, "-c", code, str(folder), "--host", "ocr.example.org"]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    assert f"made {folder / 'client.toml'}" in done.stdout
    assert "docker compose -f" in done.stdout
