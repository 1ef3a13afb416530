"""RabbitMQ, ZooKeeper and FTP together on this machine, for `pero-worker up` and `down`."""

from __future__ import annotations

import fcntl
import json
import shutil
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import platformdirs

from pero_worker.errors import OutputError, UsageError
from pero_worker.servers.daemon import Daemon, answers, free_port
from pero_worker.servers.rabbitmq import RabbitServer
from pero_worker.servers.zookeeper import ZooKeeperServer

STORE_LOGIN = "pero"
"""User and password of the FTP server, which listens on loopback only: what upstream's workers try by themselves."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Addresses:
    zookeeper: str
    rabbitmq: str
    management: str
    ftp: str
    ftp_root: Path


class LocalServers:
    """The servers of the folder `folder`, on the usual ports where they are free."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder.absolute()
        self._state = self._folder / "cluster.json"

    def start(self) -> Addresses:
        """Starts what does not run. UsageError: a server is not installed; TransientError: one does not come up;
        OutputError: there is no place for the lock."""
        if find_spec("pyftpdlib") is None:
            raise UsageError("the FTP server for models is not installed: pip install 'pero-worker[servers]'")
        # Pages and models lie in it.
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        with _alone():
            return self._start()

    def _start(self) -> Addresses:
        ports = self._ports()
        amqp, management, distribution, epmd = ports["rabbitmq"]
        rabbit = RabbitServer(
            folder=self._folder / "rabbitmq", port=amqp, management=management, distribution=distribution, epmd=epmd
        )
        zookeeper = ZooKeeperServer(folder=self._folder / "zookeeper", port=ports["zookeeper"][0])
        if rabbit.daemon.pid is None:
            rabbit.start()
        if zookeeper.daemon.pid is None:
            zookeeper.start()
        self._start_ftp(ports["ftp"][0])
        return Addresses(
            zookeeper=f"127.0.0.1:{zookeeper.port}",
            rabbitmq=f"127.0.0.1:{rabbit.port}",
            management=f"127.0.0.1:{rabbit.management}",
            ftp=f"127.0.0.1:{ports['ftp'][0]}",
            ftp_root=self._ftp_root,
        )

    def stop(self, *, wipe: bool) -> tuple[str, ...]:
        """Ends the servers, which keep their data unless `wipe`; the names of those that ran."""
        if not self._state.exists():
            raise UsageError(f"no servers were started in {self._folder}: see pero-worker up")
        stopped = [
            name
            for name, daemon in self._daemons().items()
            # Nobody needs an orderly end of what is thrown away.
            if daemon.stop(signal.SIGKILL if wipe else signal.SIGTERM)
        ]
        if wipe:
            for name in {daemon.folder for daemon in self._daemons().values()}:
                shutil.rmtree(name, ignore_errors=True)
            self._state.unlink()
            with suppress(OSError):  # somebody else's files lie there, too
                self._folder.rmdir()
        return tuple(stopped)

    @property
    def _ftp_root(self) -> Path:
        return self._folder / "ftp" / "root"

    def _daemons(self) -> dict[str, Daemon]:
        return {
            "rabbitmq": Daemon(name="rabbitmq", folder=self._folder / "rabbitmq"),
            "epmd": Daemon(name="epmd", folder=self._folder / "rabbitmq"),
            "zookeeper": Daemon(name="zookeeper", folder=self._folder / "zookeeper"),
            "ftp": Daemon(name="ftp", folder=self._folder / "ftp"),
        }

    def _ports(self) -> dict[str, list[int]]:
        """The same at every start: clients and ZooKeeper remember them."""
        if self._state.exists():
            ports: dict[str, list[int]] = json.loads(self._state.read_text())
            return ports
        taken: list[int] = []
        for wished in (5672, 15672, 0, 0, 2181, 2121):
            taken.append(free_port(wished, taken))
        ports = {"rabbitmq": taken[:4], "zookeeper": taken[4:5], "ftp": taken[5:]}
        self._state.write_text(json.dumps(ports))
        return ports

    def _start_ftp(self, port: int) -> None:
        self._ftp_root.mkdir(parents=True, exist_ok=True)
        daemon = self._daemons()["ftp"]
        if daemon.pid is None:
            options = ["--host", "127.0.0.1", "--port", str(port), "--root", str(self._ftp_root), "--user", STORE_LOGIN]
            command = [sys.executable, "-m", "pero_worker.servers.ftp", *options]
            daemon.start(command, {"PERO_WORKER_SERVER_PASSWORD": STORE_LOGIN})
            daemon.wait_until(lambda: answers(port))


@contextmanager
def _alone() -> Iterator[None]:
    """Two clusters of one user that start at the same moment would find the same ports free."""
    path = platformdirs.user_state_path("pero-worker") / "up.lock"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        lock = path.open("a")
    except OSError as error:
        raise OutputError(f"cannot open {path}: {error.strerror}") from error
    with lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
