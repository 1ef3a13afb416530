"""Where ZooKeeper is; without the library that speaks to it, for programs that only start others."""

from __future__ import annotations

from dataclasses import dataclass, field

from pero_worker.errors import UsageError
from pero_worker.wire.servers import ZOOKEEPER_PORT, parse_server


@dataclass(frozen=True, slots=True, kw_only=True)
class ZooKeeperAccess:
    """Where ZooKeeper is and how to log in."""

    servers: tuple[str, ...] = ("127.0.0.1:2181",)
    """As HOST, HOST:PORT; `/path` after the last one is a root that the whole cluster lies in."""
    user: str = ""
    """Name of the login; '': none is needed."""
    password: str = field(default="", repr=False)
    """Its password."""
    ca_cert: str = ""
    """PEM file of the authority that signed the servers' certificates; '' = no TLS."""
    open_nodes: bool = False
    """Nodes made with a login are open to everybody all the same, as upstream's are."""
    session_timeout: float = 10.0
    """Seconds after which ZooKeeper takes a client that is silent for gone."""
    patience: float = 10.0
    """Seconds to wait for the first connection, and for an answer."""

    @property
    def hosts(self) -> str:
        """As kazoo wants them. UsageError: no server, or none that can be."""
        joined = ",".join(self.servers)
        addresses, _, root = joined.partition("/")
        if "," in root:
            raise UsageError(f"{joined}: a root like /archive stands after the last server")
        servers = [str(parse_server(part).with_port(ZOOKEEPER_PORT)) for part in addresses.split(",") if part.strip()]
        if not servers:
            raise UsageError("name a ZooKeeper server: -z HOST[:PORT]")
        return ",".join(servers) + (f"/{root}" if root else "")
