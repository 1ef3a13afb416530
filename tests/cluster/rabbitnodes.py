"""A RabbitMQ cluster of several nodes on this machine, such as libraries run on several machines."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pero_worker.servers.daemon import Daemon, free_port
from pero_worker.servers.rabbitmq import RabbitServer


@contextmanager
def rabbit_nodes(folder: Path, count: int) -> Iterator[list[RabbitServer]]:
    """Starts the first node alone; the others join it."""
    epmd = free_port(0)
    taken = [epmd]
    nodes: list[RabbitServer] = []
    try:
        for number in range(count):
            ports = [free_port(0, taken)]
            for _ in range(2):
                ports.append(free_port(0, [*taken, *ports]))
            taken += ports
            peer = (
                "cluster_formation.peer_discovery_backend = classic_config\n"
                f"cluster_formation.classic_config.nodes.1 = {nodes[0].node}\n"
                if nodes
                else ""
            )
            node = RabbitServer(
                folder=folder / f"node{number}",
                port=ports[0],
                management=ports[1],
                distribution=ports[2],
                epmd=epmd,
                extra=peer,
            )
            share_cookie(node)
            nodes.append(node)
            node.start()
        yield nodes
    finally:
        for node in nodes:
            node.daemon.stop(signal.SIGKILL)
        for node in nodes:
            Daemon(name="epmd", folder=node.folder).stop(signal.SIGKILL)


def share_cookie(node: RabbitServer) -> None:
    """Gives all nodes the same cookie, without which they do not talk to each other."""
    cookie = node.folder / "home" / ".erlang.cookie"
    cookie.parent.mkdir(parents=True)
    cookie.write_text("PEROWORKERTESTS")
    cookie.chmod(0o400)
