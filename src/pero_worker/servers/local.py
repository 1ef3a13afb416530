"""RabbitMQ, ZooKeeper and FTP together on this machine, for `pero-worker up` and `down`."""

from __future__ import annotations

import fcntl
import json
import secrets
import shutil
import signal
import sys
import threading
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path

import platformdirs

from pero_worker.errors import OutputError, UsageError
from pero_worker.servers.daemon import Daemon, answers, free_port
from pero_worker.servers.own import CLIENT_FILE
from pero_worker.servers.private import write_private
from pero_worker.servers.rabbitmq import RabbitServer
from pero_worker.servers.zookeeper import ZooKeeperServer

USER = "pero"
"""Name of the only login. Its password is generated, because everybody on the machine can reach the ports."""


@contextmanager
def ended_by_signal() -> Iterator[None]:
    """Makes SIGTERM end the block as Ctrl-C does, so that it can clean up what it started."""
    if threading.current_thread() is not threading.main_thread():
        yield  # Only the main thread receives signals.
        return

    def end(_number: int, _frame: object) -> None:
        raise SystemExit(128 + signal.SIGTERM)

    before = signal.signal(signal.SIGTERM, end)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


@dataclass(frozen=True, slots=True, kw_only=True)
class Addresses:
    """Where the servers are, as HOST:PORT, and how to log in."""

    zookeeper: str
    """ZooKeeper's address."""
    rabbitmq: str
    """Address of RabbitMQ's AMQP port."""
    management: str
    """Address of RabbitMQ's web interface."""
    ftp: str
    """Address of the model store."""
    ftp_root: Path
    """The folder that the model store serves."""
    user: str
    """The user of all servers."""
    password: str = field(repr=False)
    """The user's password."""
    client_file: Path
    """The configuration file for clients, including the login."""


class LocalServers:
    """The servers of the folder `folder`, on the usual ports if those are free."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder.absolute()
        self._state = self._folder / "cluster.json"

    def start(self) -> Addresses:
        """Starts the servers that are not running.

        Raises `UsageError` if a server is not installed, `TransientError` if one does not come up, and `OutputError` if
        the lock file cannot be created.
        """
        if find_spec("pyftpdlib") is None:
            raise UsageError("the FTP server for models is not installed: pip install 'pero-worker[servers]'")
        # Private, as it holds pages and models.
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        with _alone(), ended_by_signal():
            before = [name for name, daemon in self._daemons().items() if daemon.pid is not None]
            try:
                return self._start()
            except BaseException:
                # Do not leave servers behind that were started but cannot be used.
                for name, daemon in self._daemons().items():
                    if name not in before:
                        daemon.stop(signal.SIGTERM)
                raise

    def _start(self) -> Addresses:
        ports = self._ports()
        password = self._password(ports["zookeeper"][0])
        amqp, management, distribution, epmd = ports["rabbitmq"]
        rabbit = RabbitServer(
            folder=self._folder / "rabbitmq",
            port=amqp,
            management=management,
            distribution=distribution,
            epmd=epmd,
            user=USER,
            password=password,
        )
        zookeeper = ZooKeeperServer(
            folder=self._folder / "zookeeper", port=ports["zookeeper"][0], user=USER, password=password
        )
        if rabbit.daemon.pid is None:
            rabbit.start()
        if zookeeper.daemon.pid is None:
            zookeeper.start()
        self._start_ftp(ports["ftp"][0], password)
        return Addresses(
            zookeeper=f"127.0.0.1:{zookeeper.port}",
            rabbitmq=f"127.0.0.1:{rabbit.port}",
            management=f"127.0.0.1:{rabbit.management}",
            ftp=f"127.0.0.1:{ports['ftp'][0]}",
            ftp_root=self._ftp_root,
            client_file=self._client_file,
            user=USER,
            password=password,
        )

    def stop(self, *, wipe: bool) -> tuple[str, ...]:
        """Stops the servers, which keep their data unless `wipe`. Returns the names of those that were running."""
        if not self._state.exists():
            raise UsageError(f"no servers were started in {self._folder}: see pero-worker up")
        stopped = [
            name
            for name, daemon in self._daemons().items()
            # What is to be deleted need not be stopped cleanly.
            if daemon.stop(signal.SIGKILL if wipe else signal.SIGTERM)
        ]
        if wipe:
            for name in {daemon.folder for daemon in self._daemons().values()}:
                shutil.rmtree(name, ignore_errors=True)
            self._client_file.unlink(missing_ok=True)
            self._state.unlink()
            with suppress(OSError):  # the folder holds other files, too
                self._folder.rmdir()
        return tuple(stopped)

    @property
    def _client_file(self) -> Path:
        return self._folder / CLIENT_FILE

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
        """Returns the ports, the same at every start: clients and ZooKeeper remember them."""
        if self._state.exists():
            ports: dict[str, list[int]] = json.loads(self._state.read_text())
            return ports
        taken: list[int] = []
        for wished in (5672, 15672, 0, 0, 2181, 2121):
            taken.append(free_port(wished, taken))
        ports = {"rabbitmq": taken[:4], "zookeeper": taken[4:5], "ftp": taken[5:]}
        self._state.write_text(json.dumps(ports))
        return ports

    def _password(self, zookeeper_port: int) -> str:
        """Returns the password, the same at every start. Servers of an earlier version that run without one are
        stopped, so that they are started again with it."""
        with suppress(OSError, ValueError, KeyError):
            return str(tomllib.loads(self._client_file.read_text("utf-8"))["password"])
        for daemon in self._daemons().values():
            daemon.stop()
        password = secrets.token_hex(16)
        write_private(
            self._client_file,
            "# Written by pero-worker up. Your own commands find it by themselves; others: --config-file client.toml\n"
            f'zookeeper_servers = "127.0.0.1:{zookeeper_port}"\n'
            f'username = "{USER}"\n'
            f'password = "{password}"\n',
        )
        return password

    def _start_ftp(self, port: int, password: str) -> None:
        self._ftp_root.mkdir(parents=True, exist_ok=True)
        daemon = self._daemons()["ftp"]
        if daemon.pid is None:
            options = ["--host", "127.0.0.1", "--port", str(port), "--root", str(self._ftp_root), "--user", USER]
            command = [sys.executable, "-m", "pero_worker.servers.ftp", *options]
            daemon.start(command, {"PERO_WORKER_SERVER_PASSWORD": password})
            daemon.wait_until(lambda: answers(port))


@contextmanager
def _alone() -> Iterator[None]:
    """Holds a lock: two clusters of one user that start at the same moment would find the same ports free."""
    path = platformdirs.user_state_path("pero-worker") / "up.lock"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        lock = path.open("a")
    except OSError as error:
        raise OutputError(f"cannot open {path}: {error.strerror}") from error
    with lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
