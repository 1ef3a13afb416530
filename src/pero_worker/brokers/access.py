"""Where RabbitMQ is; without the library that speaks to it, for programs that only start others."""

from __future__ import annotations

from dataclasses import dataclass, field

from pero_worker.wire.servers import Server

NO_SERVER = "register RabbitMQ with: pero-worker servers add mq HOST[:PORT]"


@dataclass(frozen=True, slots=True, kw_only=True)
class BrokerAccess:
    """Where RabbitMQ is and how to log in."""

    servers: tuple[Server, ...]
    """Tried in turn."""
    user: str = "guest"
    """Name of the login."""
    password: str = field(default="guest", repr=False)
    """Its password."""
    vhost: str = ""
    """'' = the first of upstream's two that this user may enter."""
    ca_cert: str = ""
    """PEM file of the authority that signed the servers' certificates; '' = no TLS."""
    heartbeat: int = 60
    """Seconds; a server that wants to hear of its clients more often is obeyed."""
    patience: float = 60.0
    """Seconds a call waits for an answer."""
    reconnection: float = 3.0
    """Seconds a call waits for a lost connection to return before it fails."""
    max_pause: float = 2.0
    """Seconds between two attempts to connect, at most."""
