"""A server process of ours: started in its own session, known by a pid file, ended by signal."""

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
# Below the range from which the system takes ports for outgoing connections.
_PORTS = range(20_000, 32_000)


@dataclass(frozen=True, slots=True, kw_only=True)
class Daemon:
    """A server that goes on when its starter ends."""

    name: str
    """NAME.pid and NAME.log lie in the folder."""
    folder: Path
    """Holds everything that the server writes."""

    @property
    def pid(self) -> int | None:
        """The process id, None when it does not run. A number that the system gave to another program is not ours."""
        try:
            pid, started = json.loads(self._pid_file.read_text())
        except (OSError, ValueError):
            return None
        return pid if _started(pid) == started else None

    @property
    def log(self) -> Path:
        return self.folder / f"{self.name}.log"

    def start(self, command: Sequence[str], environment: Mapping[str, str]) -> None:
        """UsageError: the program is not installed."""
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
        """TransientError: the server ended, or is not ready after `timeout` seconds; its last words are in the text."""
        deadline = time.monotonic() + timeout
        while not ready():
            if self.pid is None or time.monotonic() > deadline:
                what = "ended" if self.pid is None else f"is not ready after {timeout:.0f} s"
                tail = "\n".join(self.log.read_text("utf-8", "replace").splitlines()[-15:])
                raise TransientError(f"{self.name} {what}; its log {self.log} ends with:\n{tail}")
            time.sleep(_POLL_SECONDS)

    def stop(self, signal_number: int = signal.SIGTERM, timeout: float = 30.0) -> bool:
        """Ends the process, by SIGKILL after `timeout` seconds; False when it did not run."""
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


# What this process started itself must be waited for, or it stays as a zombie.
_children: dict[int, subprocess.Popen[bytes]] = {}


def _started(pid: int) -> str | None:
    """When the process began, in ticks since boot; None for one that is gone or a zombie."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    return None if fields[0] == "Z" else fields[19]


def free_port(wished: int = 0, taken: Iterable[int] = (), host: str = "127.0.0.1") -> int:
    """`wished` when nobody listens there, else a free port."""
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
    """Whether somebody listens on `port`."""
    try:
        with socket.create_connection((host, port), 0.5):
            return True
    except OSError:
        return False
