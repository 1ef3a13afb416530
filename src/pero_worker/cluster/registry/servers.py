"""The servers registered in ZooKeeper, where workers look up RabbitMQ and the model store."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence

from kazoo.client import KazooClient
from kazoo.exceptions import NodeExistsError, NoNodeError

from pero_worker.coordinators.session import wait_for
from pero_worker.errors import UsageError
from pero_worker.wire.servers import Server, parse_server
from pero_worker.wire.tree import TREE

logger = logging.getLogger(__name__)

MQ, MONITORING, FTP = "mq", "mq_monitoring", "ftp"
KINDS = (MQ, MONITORING, FTP)


def list_names(client: KazooClient, kind: str) -> tuple[str, ...]:
    """Returns the names exactly as registered."""
    path = TREE.servers(kind)
    try:
        return tuple(sorted(wait_for(client, lambda: client.get_children_async(path))))
    except NoNodeError:
        return ()


def list_servers(client: KazooClient, kind: str) -> tuple[Server, ...]:
    return parse_names(list_names(client, kind), kind)


def parse_names(names: Iterable[str], kind: str) -> tuple[Server, ...]:
    """Parses the names; invalid ones are logged and left out."""
    servers: list[Server] = []
    for name in sorted(names):
        try:
            servers.append(parse_server(name))
        except UsageError as error:
            logger.warning("a registered %s server is left out: %s", kind, error)
    return tuple(servers)


def add_servers(client: KazooClient, kind: str, names: Sequence[str]) -> None:
    """Registers servers. Raises `UsageError` and writes nothing if one of the names is invalid."""
    for server in [str(parse_server(name)) for name in names]:
        try:
            client.create(f"{TREE.servers(kind)}/{server}", b"", makepath=True)
        except NodeExistsError:
            logger.debug("%s is registered already", server)


def remove_servers(client: KazooClient, kind: str, names: Sequence[str]) -> tuple[str, ...]:
    """Unregisters the named servers, or all of them for `all`, and returns their names. Raises `UsageError` if one is
    not registered."""
    known = list_names(client, kind)
    doomed = known if list(names) == ["all"] else [str(parse_server(name)) for name in names]
    if missing := set(doomed) - set(known):
        raise UsageError(f"no {kind} server {', '.join(sorted(missing))}; registered: {', '.join(known) or 'none'}")
    for name in doomed:
        client.delete(f"{TREE.servers(kind)}/{name}")
    return tuple(doomed)


def set_servers(client: KazooClient, kind: str, names: Sequence[str]) -> None:
    """Registers `names` and nothing else."""
    wanted = [str(parse_server(name)) for name in names]
    add_servers(client, kind, wanted)
    for name in set(list_names(client, kind)) - set(wanted):
        client.delete(f"{TREE.servers(kind)}/{name}")
