"""`pero-worker up` and `down`: the private servers of one machine."""

from __future__ import annotations

import ftplib
import json
import os
import signal
import stat
import subprocess
import sys
import tomllib
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from cluster.test_workers import until

from pero_worker.brokers.access import BrokerAccess
from pero_worker.brokers.rabbitmq import RabbitBroker
from pero_worker.coordinators.access import ZooKeeperAccess
from pero_worker.coordinators.session import session
from pero_worker.errors import TransientError
from pero_worker.servers.local import LocalServers, _alone
from pero_worker.servers.rabbitmq import RabbitServer
from pero_worker.servers.zookeeper import ZooKeeperServer
from pero_worker.wire.servers import Server

SCRIPTS = Path(__file__).parents[2] / "scripts"


@pytest.fixture
def state(monkeypatch: pytest.MonkeyPatch) -> str:
    """A state folder for the tests in this file: its lock keeps two clusters from finding the same ports free."""
    path = str(Path(os.environ["PERO_WORKER_TEST_SERVERS"]) / "state-of-up")
    monkeypatch.setenv("XDG_STATE_HOME", path)
    return path


def pero_worker(*arguments: object, expect: int = 0, **environment: str) -> str:
    command = [sys.executable, "-m", "pero_worker", *map(str, arguments)]
    done = subprocess.run(
        command, env={**os.environ, **environment}, capture_output=True, text=True, timeout=200, check=False
    )
    assert done.returncode == expect, done.stdout + done.stderr
    return done.stdout + done.stderr


def test_a_cluster_comes_up_keeps_its_data_and_goes(tmp_path: Path, state: str) -> None:
    folder = tmp_path / "cluster"
    try:
        here: dict[str, Any] = {"XDG_STATE_HOME": state}
        address = pero_worker("up", "--dir", folder, **here).split()[1]
        registered = pero_worker("servers", "list", **here).split()[2::2]
        assert registered == ["mq", "mq_monitoring", "ftp"]
        model = "rapidocr"
        assert "in the store as models/ocr/" in pero_worker("stage", "upload", "ocr", model, **here)
        assert "ocr" in pero_worker("status", **here)
        assert address in pero_worker("up", "--dir", folder, **here), (
            "a second time nothing is started and nothing moves"
        )
        assert "rabbitmq" in pero_worker("down", "--dir", folder)
        assert "none ran" in pero_worker("down", "--dir", folder)
        assert address in pero_worker("up", "--dir", folder, **here)
        assert "models/ocr/" in pero_worker("stage", "list", **here)
        strangers_are_kept_out(folder, address, here)
        (folder / "mine").write_text("not the cluster's")
        pero_worker("down", "--dir", folder, "--wipe")
        assert [path.name for path in folder.iterdir()] == ["mine"]
    finally:
        if (folder / "cluster.json").exists():
            LocalServers(folder).stop(wipe=True)


def strangers_are_kept_out(folder: Path, address: str, here: dict[str, Any]) -> None:
    """Users of the machine who know the address but not the login are not operators; its owner needs no login."""
    ports = json.loads((folder / "cluster.json").read_text())
    stranger = str(folder / "nobody's")
    said = pero_worker("stage", "list", "-z", address, expect=6, XDG_STATE_HOME=stranger)
    assert "it wants a user and a password" in said
    assert "is wrong" in pero_worker(
        "status", "-z", address, expect=6, PERO_WORKER_USER="pero", PERO_WORKER_PASSWORD="pero", XDG_STATE_HOME=stranger
    )
    for user in ("guest", "pero"):
        broker = RabbitBroker(
            BrokerAccess(servers=(Server(host="127.0.0.1", port=ports["rabbitmq"][0]),), user=user, password=user)
        )
        with pytest.raises(TransientError, match="user or password is wrong"):
            broker.wait_connected(1)
        broker.close()
        with ftplib.FTP() as client:
            client.connect("127.0.0.1", ports["ftp"][0])
            with pytest.raises(ftplib.error_perm):
                client.login(user, user)
    secret = folder / "client.toml"
    assert stat.S_IMODE(secret.stat().st_mode) == 0o600
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    script = [sys.executable, str(SCRIPTS / "config_manager.py"), "-z", address, "--name", "out"]
    assert subprocess.run(script, env={**os.environ, **here}, check=False).returncode == 0, "its owner types no login"
    assert "ocr" in pero_worker("stage", "list", "-z", address.replace("127.0.0.1", "localhost"), **here)
    password = tomllib.loads(secret.read_text())["password"]
    for process in Path("/proc").glob("[0-9]*/cmdline"):
        with suppress(OSError):
            assert password not in process.read_text("utf-8", "replace")


def test_servers_of_before_there_was_a_login_get_one(tmp_path: Path, state: str) -> None:
    folder = tmp_path / "cluster"
    servers = LocalServers(folder)
    folder.mkdir()
    with _alone():
        ports = servers._ports()
        amqp, management, distribution, epmd = ports["rabbitmq"]
        rabbit = RabbitServer(
            folder=folder / "rabbitmq", port=amqp, management=management, distribution=distribution, epmd=epmd
        )
        zookeeper = ZooKeeperServer(folder=folder / "zookeeper", port=ports["zookeeper"][0])
        rabbit.start()
        zookeeper.start()
    try:
        rabbit.api("PUT", "queues/%2f/kept", {"durable": True})
        with session(ZooKeeperAccess(servers=(f"127.0.0.1:{zookeeper.port}",))) as client:
            client.create("/kept", b"as it was")
        addresses = servers.start()
        access = ZooKeeperAccess(servers=(addresses.zookeeper,), user=addresses.user, password=addresses.password)
        with session(access) as client:
            assert client.get("/kept")[0] == b"as it was"
        protected: Any = replace(rabbit, user=addresses.user, password=addresses.password)
        users, queues = protected.api("GET", "users"), protected.api("GET", "queues")
        assert [user["name"] for user in users] == ["pero"]
        assert [queue["name"] for queue in queues] == ["kept"]
    finally:
        servers.stop(wipe=True)


def test_a_start_that_is_broken_off_leaves_no_server_behind(tmp_path: Path, state: str) -> None:
    folder = tmp_path / "cluster"
    process = subprocess.Popen([sys.executable, "-m", "pero_worker", "up", "--dir", str(folder)], env={**os.environ})
    try:
        until((folder / "rabbitmq/rabbitmq.pid").exists)
        process.terminate()
        assert process.wait(60) == 128 + signal.SIGTERM
        assert not [name for name, daemon in LocalServers(folder)._daemons().items() if daemon.pid is not None]
    finally:
        process.kill()
        LocalServers(folder).stop(wipe=True)


def test_what_is_missing_is_said(tmp_path: Path) -> None:
    assert "see pero-worker up" in pero_worker("down", "--dir", tmp_path / "none", expect=2)
    said = pero_worker("up", "--dir", tmp_path / "cluster", expect=2, PERO_WORKER_RABBITMQ=str(tmp_path / "no-server"))
    assert "is not installed: run scripts/apt-install.sh rabbitmq-server zookeeper" in said
    LocalServers(tmp_path / "cluster").stop(wipe=True)
    assert not (tmp_path / "cluster").exists()
