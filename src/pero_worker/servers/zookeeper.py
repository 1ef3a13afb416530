"""A private ZooKeeper from Debian's package; loopback only."""

from __future__ import annotations

import signal
import socket
from dataclasses import dataclass, field
from pathlib import Path

from pero_worker.servers.daemon import Daemon, free_port
from pero_worker.servers.private import write_private

# These two jars of Netty are missing from the Class-Path of Debian's zookeeper.jar; TLS needs them.
_JARS = ":".join(
    f"/usr/share/java/{name}.jar" for name in ("zookeeper", "slf4j-simple", "netty-codec", "netty-resolver")
)

_LOGIN = (
    "authProvider.1=org.apache.zookeeper.server.auth.SASLAuthenticationProvider\n"
    "enforce.auth.enabled=true\n"
    "enforce.auth.schemes=sasl\n"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class ZooKeeperServer:
    """A ZooKeeper server with one node."""

    folder: Path
    """Folder for its data, configuration and log."""
    port: int
    """Port for clients."""
    tick: int = 2000
    """Length of a tick in milliseconds; sessions last 2 to 20 ticks."""
    extra: str = ""
    """Additional lines for zoo.cfg."""
    jvm: tuple[str, ...] = ()
    """Additional options for java."""
    user: str = ""
    """The user; if there is a password, nobody else is let in."""
    password: str = field(default="", repr=False)
    """The user's password; '': everybody is let in."""

    @classmethod
    def on_free_port(cls, folder: Path, port: int = 0, tick: int = 2000) -> ZooKeeperServer:
        return cls(folder=folder, port=free_port(port), tick=tick)

    @property
    def daemon(self) -> Daemon:
        return Daemon(name="zookeeper", folder=self.folder)

    def start(self) -> None:
        """Starts the server on whatever data `folder` already holds, and waits until it is ready."""
        (self.folder / "data").mkdir(parents=True, exist_ok=True)
        configuration = self.folder / "zoo.cfg"
        configuration.write_text(
            f"tickTime={self.tick}\n"
            f"dataDir={self.folder / 'data'}\n"
            f"clientPort={self.port}\n"
            "clientPortAddress=127.0.0.1\n"
            "maxClientCnxns=0\n"
            "admin.enableServer=false\n"
            "4lw.commands.whitelist=ruok,srvr\n"
            f"{_LOGIN if self.password else ''}{self.extra}\n"
        )
        java = ["java", "-Xmx256m", "-XX:+UseSerialGC", "-Dzookeeper.jmx.log4j.disable=true", *self.jvm]
        if self.password:
            users = self.folder / "jaas.conf"
            module = "org.apache.zookeeper.server.auth.DigestLoginModule"
            write_private(users, f'Server {{\n  {module} required\n  user_{self.user}="{self.password}";\n}};\n')
            java.append(f"-Djava.security.auth.login.config={users}")
        main = "org.apache.zookeeper.server.quorum.QuorumPeerMain"
        self.daemon.start([*java, "-cp", f"{self.folder}:{_JARS}", main, str(configuration)], {})
        self.daemon.wait_until(self._ready)

    def stop(self, signal_number: int = signal.SIGTERM) -> bool:
        return self.daemon.stop(signal_number)

    def _ready(self) -> bool:
        try:
            with socket.create_connection(("127.0.0.1", self.port), 0.5) as connection:
                # `ruok` is already answered before clients are served.
                connection.sendall(b"srvr")
                return connection.recv(100).startswith(b"Zookeeper version")
        except OSError:
            return False
