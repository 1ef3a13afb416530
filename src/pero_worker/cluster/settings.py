"""Where the servers are and who we are: from flags, the environment, a configuration file, in this order."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping, Sequence
from configparser import ConfigParser
from configparser import Error as ConfigError
from dataclasses import dataclass, field, replace
from pathlib import Path

from pero_worker.brokers.connection import BrokerAccess
from pero_worker.cluster.access import ClusterAccess
from pero_worker.coordinators.session import ZooKeeperAccess
from pero_worker.errors import UsageError
from pero_worker.stores.location import StoreAccess
from pero_worker.wire.servers import parse_server

DEFAULT_ZOOKEEPER = "127.0.0.1:2181"
# What upstream's programs take when nothing is said: RabbitMQ lets guest in over loopback only.
_BROKER_LOGIN = ("guest", "guest")
_STORE_LOGIN = ("pero", "pero")


@dataclass(frozen=True, slots=True)
class ConnectionOptions:
    """What the user said; empty = not said. One user and password serve ZooKeeper, RabbitMQ and the model store.

    `open_nodes`: as in `ZooKeeperAccess`.
    """

    zookeeper: tuple[str, ...] = ()
    user: str = ""
    password: str = field(default="", repr=False)
    ca_cert: str = ""
    vhost: str = ""
    brokers: tuple[str, ...] = ()
    known_hosts: str = ""
    open_nodes: bool = False

    def over(self, other: ConnectionOptions) -> ConnectionOptions:
        """This, and where it says nothing, `other`."""
        return ConnectionOptions(
            self.zookeeper or other.zookeeper,
            self.user or other.user,
            self.password or other.password,
            self.ca_cert or other.ca_cert,
            self.vhost or other.vhost,
            self.brokers or other.brokers,
            self.known_hosts or other.known_hosts,
            self.open_nodes or other.open_nodes,
        )


def cluster_access(given: ConnectionOptions) -> ClusterAccess:
    """UsageError: an address that cannot be, or a certificate that is not there."""
    if given.ca_cert and not Path(given.ca_cert).is_file():
        raise UsageError(f"there is no certificate {given.ca_cert}")
    user, password = (given.user, given.password) if given.user else _BROKER_LOGIN
    return ClusterAccess(
        ZooKeeperAccess(
            given.zookeeper or (DEFAULT_ZOOKEEPER,),
            given.user if given.password else "",
            given.password,
            given.ca_cert,
            given.open_nodes,
        ),
        BrokerAccess(
            servers=tuple(parse_server(server) for server in given.brokers),
            user=user,
            password=password,
            vhost=given.vhost,
            ca_cert=given.ca_cert,
        ),
    )


def store_access(given: ConnectionOptions) -> StoreAccess:
    user, password = (given.user, given.password) if given.user else _STORE_LOGIN
    access = StoreAccess(user, password, Path(given.ca_cert) if given.ca_cert else None)
    return replace(access, known_hosts=Path(given.known_hosts)) if given.known_hosts else access


def split_servers(values: Sequence[str]) -> tuple[str, ...]:
    """Addresses may be given one by one, or several in one text."""
    return tuple(part for value in values for part in re.split(r"[\s,]+", value) if part)


def read_server_file(path: Path) -> tuple[str, ...]:
    """One address a line, as upstream's `-l FILE`."""
    try:
        return split_servers([path.read_text("utf-8")])
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"cannot read the server list {path}: {error}") from error


def read_settings(path: Path, *sections: str) -> dict[str, str]:
    """A TOML file, or upstream's ini file, of which the first of `sections` that is there counts.

    In TOML the values may stand at the top, or in a table named like the section in lower case.
    """
    try:
        text = path.read_text("utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"cannot read the configuration {path}: {error}") from error
    try:
        if path.suffix.lower() == ".toml":
            values: Mapping[str, object] = tomllib.loads(text)
            table = next((values[name.lower()] for name in sections if name.lower() in values), values)
            return {key: _plain(value) for key, value in (table.items() if isinstance(table, dict) else ())}
        parser = ConfigParser(interpolation=None)
        parser.read_string(text, source=str(path))
    except (ConfigError, tomllib.TOMLDecodeError) as error:
        raise UsageError(f"the configuration {path} cannot be parsed: {error}") from error
    for name in sections:
        if parser.has_section(name):
            return dict(parser[name])
    raise UsageError(f"the configuration {path} has no section [{sections[0]}]")


def given_in(values: Mapping[str, str]) -> ConnectionOptions:
    """The part of a configuration that says where the servers are."""
    return ConnectionOptions(
        split_servers([values.get("zookeeper_servers", "")]),
        values.get("username", ""),
        values.get("password", ""),
        values.get("ca_cert", ""),
        values.get("vhost", ""),
        split_servers([values.get("broker_servers", "")]),
        values.get("known_hosts", ""),
        flag(values.get("open_nodes", "")),
    )


def flag(text: str) -> bool:
    """Whether a setting of yes or no, in the environment or a file, says yes."""
    return text.strip().lower() in {"1", "true", "yes", "on"}


def _plain(value: object) -> str:
    return " ".join(map(str, value)) if isinstance(value, list) else str(value)
