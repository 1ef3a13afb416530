"""Where the servers are and who we are: the first source that says so counts."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path

import pytest

from pero_worker.cluster.settings import (
    ConnectionOptions,
    cluster_access,
    options_in,
    options_in_environment,
    read_password,
)
from pero_worker.errors import UsageError

NAMES = [one.name for one in fields(ConnectionOptions)]
FILE = {
    "zookeeper_servers": "file",
    "username": "file",
    "password": "file",
    "ca_cert": "file",
    "vhost": "file",
    "broker_servers": "file",
    "known_hosts": "file",
    "open_nodes": "file",
}
ENVIRONMENT = {
    "PERO_WORKER_ZOOKEEPER": "env",
    "PERO_WORKER_USER": "env",
    "PERO_WORKER_PASSWORD": "env",
    "PERO_WORKER_CA_CERT": "env",
    "PERO_WORKER_VHOST": "env",
    "PERO_WORKER_KNOWN_HOSTS": "env",
    "PERO_WORKER_OPEN_NODES": "env",
}


@pytest.mark.parametrize("name", NAMES)
def test_flags_go_before_the_environment_and_that_before_a_file(name: str) -> None:
    flags = ConnectionOptions(**{name: "flag"})
    environment, file = options_in_environment(ENVIRONMENT), options_in(FILE)
    assert getattr(file, name) == "file"
    assert getattr(environment, name) == ("" if name == "brokers" else "env")
    merged = flags.over(environment).over(file)
    assert getattr(merged, name) == "flag"
    others = {other: getattr(merged, other) for other in NAMES if other != name}
    assert others == {other: "file" if other == "brokers" else "env" for other in others}


def test_a_password_may_lie_in_a_file_and_is_not_shown(tmp_path: Path) -> None:
    file = tmp_path / "password"
    file.write_text("sesame \r\n")
    options = options_in_environment({"PERO_WORKER_PASSWORD_FILE": str(file), "PERO_WORKER_PASSWORD": "other"})
    assert options.password == "sesame "  # noqa: S105
    assert "sesame" not in repr(options)
    with pytest.raises(UsageError, match="cannot read the password"):
        read_password(tmp_path / "none")


def test_addresses_are_parted_and_the_usual_ones_stand_in(tmp_path: Path) -> None:
    access = cluster_access(ConnectionOptions(zookeeper="one, two:99", brokers="a b:1", open_nodes="Yes"))
    assert access.zookeeper.servers == ("one", "two:99") and access.zookeeper.open_nodes
    assert [str(server) for server in access.broker.servers] == ["a", "b:1"]
    assert cluster_access(ConnectionOptions()).zookeeper.servers == ("127.0.0.1:2181",)
    with pytest.raises(UsageError, match="no certificate"):
        cluster_access(ConnectionOptions(ca_cert=str(tmp_path / "none.pem")))
