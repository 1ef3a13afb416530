"""Where RabbitMQ is. Does not import the client library, for programs that only start others."""

from __future__ import annotations

from dataclasses import dataclass, field

from pero_worker.wire.servers import Server

NO_SERVER = "register RabbitMQ with: pero-worker servers add mq HOST[:PORT]"


@dataclass(frozen=True, slots=True, kw_only=True)
class BrokerAccess:
    """Where RabbitMQ is and how to log in."""

    servers: tuple[Server, ...]
    """Servers of the cluster, tried in random order."""
    user: str = "guest"
    """User to log in as."""
    password: str = field(default="guest", repr=False)
    """Password of the user."""
    vhost: str = ""
    """Virtual host; '' = the first of upstream's two that this user may access."""
    ca_cert: str = ""
    """PEM file of the authority that signed the servers' certificates; '' = no TLS."""
    heartbeat: int = 60
    """Heartbeat interval in seconds; a shorter one that the server asks for takes precedence."""
    patience: float = 60.0
    """Seconds that a call waits for an answer."""
    reconnection: float = 3.0
    """Seconds that a call waits for a lost connection to return before it fails."""
    max_pause: float = 2.0
    """Maximum number of seconds between two attempts to connect."""
