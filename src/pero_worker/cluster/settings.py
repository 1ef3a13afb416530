"""Where the servers are and how to log in: from flags, the environment and a configuration file, in this order."""

from __future__ import annotations

import os
import re
import tomllib
from collections.abc import Mapping, Sequence
from configparser import ConfigParser
from configparser import Error as ConfigError
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any

from pero_worker.brokers.access import BrokerAccess
from pero_worker.cluster.access import ClusterAccess
from pero_worker.coordinators.access import ZooKeeperAccess
from pero_worker.errors import UsageError
from pero_worker.servers.own import client_files
from pero_worker.stores.location import StoreAccess
from pero_worker.wire.servers import ZOOKEEPER_PORT, parse_server

DEFAULT_ZOOKEEPER = "127.0.0.1:2181"
# The defaults of upstream's programs; RabbitMQ lets guest in over loopback only.
_BROKER_LOGIN = ("guest", "guest")
_STORE_LOGIN = ("pero", "pero")


def _known_as(variable: str, key: str, *, secret: bool = False) -> Any:
    """A setting that is empty by default, with its names in the environment ('' = none) and in a file."""
    return field(default="", repr=not secret, metadata={"variable": variable, "key": key})


@dataclass(frozen=True, slots=True, kw_only=True)
class ConnectionOptions:
    """Where the servers are and how to log in, with unset options empty. ZooKeeper, RabbitMQ and the model store share
    one user and password."""

    zookeeper: str = _known_as("PERO_WORKER_ZOOKEEPER", "zookeeper_servers")
    """ZooKeeper servers, separated by commas or spaces."""
    user: str = _known_as("PERO_WORKER_USER", "username")
    """User name; '': no login."""
    password: str = _known_as("PERO_WORKER_PASSWORD", "password", secret=True)
    """The user's password."""
    ca_cert: str = _known_as("PERO_WORKER_CA_CERT", "ca_cert")
    """PEM file of the authority that signed the servers' certificates; '': no TLS."""
    vhost: str = _known_as("PERO_WORKER_VHOST", "vhost")
    """Virtual host in RabbitMQ; '': the usual ones are tried."""
    brokers: str = _known_as("", "broker_servers")
    """RabbitMQ servers, separated by commas or spaces; '': those registered in ZooKeeper."""
    known_hosts: str = _known_as("PERO_WORKER_KNOWN_HOSTS", "known_hosts")
    """File with the SFTP servers' host keys."""
    open_nodes: str = _known_as("PERO_WORKER_OPEN_NODES", "open_nodes")
    """Yes or no, as in `ZooKeeperAccess.open_nodes`."""

    def over(self, other: ConnectionOptions) -> ConnectionOptions:
        """Returns these options, with the empty ones taken from `other`."""
        return ConnectionOptions(
            **{one.name: getattr(self, one.name) or getattr(other, one.name) for one in fields(self)}
        )


def options_in_environment(environment: Mapping[str, str] = os.environ) -> ConnectionOptions:
    """Returns the options set in the environment. Raises `UsageError` if the file named by PERO_WORKER_PASSWORD_FILE
    cannot be read."""
    found = ConnectionOptions(
        **{one.name: environment.get(one.metadata["variable"], "") for one in fields(ConnectionOptions)}
    )
    file = environment.get("PERO_WORKER_PASSWORD_FILE", "")
    return replace(found, password=read_password(Path(file))) if file else found


def options_in(values: Mapping[str, str]) -> ConnectionOptions:
    """Returns the connection options of a configuration."""
    return ConnectionOptions(**{one.name: values.get(one.metadata["key"], "") for one in fields(ConnectionOptions)})


def connection_options(
    options: ConnectionOptions,
    *sections: str,
    config_file: Path | None = None,
    environment: Mapping[str, str] = os.environ,
) -> ConnectionOptions:
    """Merges `options`, the environment and the configuration file, which PERO_WORKER_CONFIG may name; earlier ones
    win. `sections` are as for `read_settings`. Raises `UsageError` if a file cannot be read."""
    merged = options.over(options_in_environment(environment))
    named = environment.get("PERO_WORKER_CONFIG", "")
    file = config_file or (Path(named) if named else None)
    return with_own_login(merged.over(options_in(read_settings(file, *sections))) if file else merged)


def with_own_login(options: ConnectionOptions) -> ConnectionOptions:
    """Adds the login, and the address if none is given, of the servers that `pero-worker up` started for this user."""
    if options.user or options.password or options.ca_cert:
        return options
    for file in client_files():
        own = options_in(read_settings(file))
        if not options.zookeeper or _leads_to(options.zookeeper, own.zookeeper):
            return options.over(own)
    return options


def _leads_to(zookeeper: str, own: str) -> bool:
    """Returns whether an address, possibly followed by a root node, is that of this user's server on this machine."""
    port = parse_server(own).port
    given = [parse_server(text.partition("/")[0]).with_port(ZOOKEEPER_PORT) for text in split_servers([zookeeper])]
    return any(server.host in _LOOPBACK and server.port == port for server in given)


def read_password(file: Path) -> str:
    """Returns the password without its line ending. Raises `UsageError` if the file cannot be read."""
    try:
        return file.read_text("utf-8").strip("\r\n")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"cannot read the password in {file}: {error}") from error


def cluster_access(options: ConnectionOptions) -> ClusterAccess:
    """Turns options into access records. Raises `UsageError` if an address is invalid or the certificate is missing."""
    if options.ca_cert and not Path(options.ca_cert).is_file():
        raise UsageError(f"there is no certificate {options.ca_cert}")
    user, password = (options.user, options.password) if options.user else _BROKER_LOGIN
    return ClusterAccess(
        zookeeper=ZooKeeperAccess(
            servers=split_servers([options.zookeeper]) or (DEFAULT_ZOOKEEPER,),
            user=options.user if options.password else "",
            password=options.password,
            ca_cert=options.ca_cert,
            open_nodes=flag(options.open_nodes),
        ),
        broker=BrokerAccess(
            servers=tuple(parse_server(server) for server in split_servers([options.brokers])),
            user=user,
            password=password,
            vhost=options.vhost,
            ca_cert=options.ca_cert,
        ),
        store=store_access(options),
    )


def store_access(options: ConnectionOptions) -> StoreAccess:
    user, password = (options.user, options.password) if options.user else _STORE_LOGIN
    access = StoreAccess(user=user, password=password, ca_cert=Path(options.ca_cert) if options.ca_cert else None)
    return replace(access, known_hosts=Path(options.known_hosts)) if options.known_hosts else access


_LOOPBACK = ("127.0.0.1", "localhost", "::1")
_FILE_KEYS = ("ca_cert", "known_hosts")
"""Settings that name a file."""


def split_servers(values: Sequence[str]) -> tuple[str, ...]:
    """Splits addresses, given one by one or several in one string."""
    return tuple(part for value in values for part in re.split(r"[\s,]+", value) if part)


def read_server_file(path: Path) -> tuple[str, ...]:
    """Reads a file with one address per line, like upstream's `-l FILE`."""
    try:
        return split_servers([path.read_text("utf-8")])
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"cannot read the server list {path}: {error}") from error


def read_settings(path: Path, *sections: str) -> dict[str, str]:
    """Reads a TOML file, or upstream's ini file, of which the first existing section of `sections` counts.

    In TOML the values may be at the top level, or in a table named like the section in lower case. Files named in it
    are relative to its folder, so that the folder can be moved.
    """
    try:
        text = path.read_text("utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"cannot read the configuration {path}: {error}") from error
    try:
        if path.suffix.lower() == ".toml":
            values: Mapping[str, object] = tomllib.loads(text)
            table = next((values[name.lower()] for name in sections if name.lower() in values), values)
            plain = {key: _plain(value) for key, value in (table.items() if isinstance(table, dict) else ())}
            beside = {key: str(path.absolute().parent / plain[key]) for key in _FILE_KEYS if plain.get(key)}
            return plain | beside
        parser = ConfigParser(interpolation=None)
        parser.read_string(text, source=str(path))
    except (ConfigError, tomllib.TOMLDecodeError) as error:
        raise UsageError(f"the configuration {path} cannot be parsed: {error}") from error
    for name in sections:
        if parser.has_section(name):
            return dict(parser[name])
    raise UsageError(f"the configuration {path} has no section [{sections[0]}]")


def flag(text: str) -> bool:
    """Returns whether a yes-or-no setting, from the environment or a file, means yes."""
    return text.strip().lower() in {"1", "true", "yes", "on"}


def _plain(value: object) -> str:
    return " ".join(map(str, value)) if isinstance(value, list) else str(value)
