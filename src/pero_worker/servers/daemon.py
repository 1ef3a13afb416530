"""A server process that we start: in its own session, identified by a pid file, and ended by a signal."""

from __future__ import annotations

import json
import os
import random
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from pero_worker.errors import TransientError, UsageError

_POLL_SECONDS = 0.02
# Below the range from which the system assigns ports to outgoing connections.
_PORTS = range(20_000, 32_000)


@dataclass(frozen=True, slots=True, kw_only=True)
class Daemon:
    """A server that keeps running when its starter ends."""

    name: str
    """The server's name; the folder holds NAME.pid and NAME.log."""
    folder: Path
    """The folder for everything that the server writes."""

    @property
    def pid(self) -> int | None:
        """The process id, or None if the server is not running. An id that the system has since given to another
        program does not count."""
        try:
            pid, started = json.loads(self._pid_file.read_text())
        except (OSError, ValueError):
            return None
        return pid if _started(pid) == started else None

    @property
    def log(self) -> Path:
        return self.folder / f"{self.name}.log"

    def start(self, command: Sequence[str], environment: Mapping[str, str]) -> None:
        """Starts the server. Raises `UsageError` if the program is not installed."""
        self.folder.mkdir(parents=True, exist_ok=True)
        try:
            with self.log.open("ab") as log:
                process = subprocess.Popen(  # noqa: S603 - commands come from the modules beside this one
                    command,
                    cwd=self.folder,
                    env={**os.environ, **environment},
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    start_new_session=True,
                )
        except FileNotFoundError as error:
            raise UsageError(
                f"{command[0]} is not installed: run scripts/apt-install.sh rabbitmq-server zookeeper"
            ) from error
        _children[process.pid] = process
        self._pid_file.write_text(json.dumps([process.pid, _started(process.pid)]))

    def wait_until(self, ready: Callable[[], bool], timeout: float = 60.0) -> None:
        """Waits until the server is ready. Raises `TransientError`, with the end of the log, if the server ended or is
        not ready after `timeout` seconds."""
        deadline = time.monotonic() + timeout
        while not ready():
            if self.pid is None or time.monotonic() > deadline:
                what = "ended" if self.pid is None else f"is not ready after {timeout:.0f} s"
                tail = "\n".join(self.log.read_text("utf-8", "replace").splitlines()[-15:])
                raise TransientError(f"{self.name} {what}; its log {self.log} ends with:\n{tail}")
            time.sleep(_POLL_SECONDS)

    def stop(self, signal_number: int = signal.SIGTERM, timeout: float = 30.0) -> bool:
        """Ends the process, by SIGKILL after `timeout` seconds. Returns False if it was not running."""
        pid = self.pid
        if pid is None:
            self._pid_file.unlink(missing_ok=True)
            return False
        os.kill(pid, signal_number)
        if not self._gone(pid, timeout):
            os.kill(pid, signal.SIGKILL)
            self._gone(pid, timeout)
        self._pid_file.unlink(missing_ok=True)
        return True

    @property
    def _pid_file(self) -> Path:
        return self.folder / f"{self.name}.pid"

    def _gone(self, pid: int, timeout: float) -> bool:
        if child := _children.get(pid):
            try:
                child.wait(timeout)
            except subprocess.TimeoutExpired:
                return False
            del _children[pid]
            return True
        deadline = time.monotonic() + timeout
        while self.pid is not None and time.monotonic() < deadline:
            time.sleep(_POLL_SECONDS)
        return self.pid is None


# A process's own children must be waited for, or they stay as zombies.
_children: dict[int, subprocess.Popen[bytes]] = {}


def _started(pid: int) -> str | None:
    """Returns when the process began, in ticks since boot; None if it is gone or a zombie."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    return None if fields[0] == "Z" else fields[19]


def free_port(wished: int = 0, taken: Iterable[int] = (), host: str = "127.0.0.1") -> int:
    """Returns `wished` if nothing listens there, otherwise a free port."""
    avoided = set(taken)
    for port in (wished, *random.sample(_PORTS, 200)):
        if not port or port in avoided:
            continue
        with socket.socket() as probe:
            try:
                probe.bind((host, port))
            except OSError:
                continue
            return port
    raise TransientError(f"no free port between {_PORTS.start} and {_PORTS.stop} on {host}")


def answers(port: int, host: str = "127.0.0.1") -> bool:
    """Whether anything listens on `port`."""
    try:
        with socket.create_connection((host, port), 0.5):
            return True
    except OSError:
        return False
