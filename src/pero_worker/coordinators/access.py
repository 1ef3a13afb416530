"""Where ZooKeeper is, without the client library, for programs that only start others."""

from __future__ import annotations

from dataclasses import dataclass, field

from pero_worker.errors import UsageError
from pero_worker.wire.servers import ZOOKEEPER_PORT, parse_server


@dataclass(frozen=True, slots=True, kw_only=True)
class ZooKeeperAccess:
    """Where ZooKeeper is and how to log in."""

    servers: tuple[str, ...] = ("127.0.0.1:2181",)
    """Servers as HOST or HOST:PORT; `/path` after the last one is a root that holds the whole cluster."""
    user: str = ""
    """User of the login; '' if none is needed."""
    password: str = field(default="", repr=False)
    """Password of the user."""
    ca_cert: str = ""
    """PEM file of the authority that signed the servers' certificates; '' for no TLS."""
    open_nodes: bool = False
    """Whether nodes created with a login are open to everyone all the same, as upstream's are."""
    session_timeout: float = 10.0
    """Seconds of silence after which ZooKeeper considers a client gone."""
    patience: float = 10.0
    """Seconds to wait for the first connection and for an answer."""

    @property
    def hosts(self) -> str:
        """The servers as kazoo wants them. Raises `UsageError` if there is none, or one that cannot exist."""
        joined = ",".join(self.servers)
        addresses, _, root = joined.partition("/")
        if "," in root:
            raise UsageError(f"{joined}: a root like /archive stands after the last server")
        servers = [str(parse_server(part).with_port(ZOOKEEPER_PORT)) for part in addresses.split(",") if part.strip()]
        if not servers:
            raise UsageError("name a ZooKeeper server: -z HOST[:PORT]")
        return ",".join(servers) + (f"/{root}" if root else "")
