"""The log daemon: moves lines from RabbitMQ's log queue into files, which it rotates and eventually deletes."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import IO

from pero_worker.brokers.rabbitmq import RabbitBroker
from pero_worker.errors import OutputError, TransientError
from pero_worker.ports import Clock
from pero_worker.text import one_line

logger = logging.getLogger(__name__)

_PREFIX, _SUFFIX = "pero_", ".log"
_PAUSE_SECONDS = 2.0
_CONSUMER = "log"


class LogFolder:
    """A folder of `pero_<time>.log` files, of which the newest is written to. Other files in it are left alone.

    The first line that comes `rotation_minutes` after a file was created starts a new one (0 = never). The latest
    `files_kept` files are kept (0 = all).
    """

    def __init__(self, folder: Path, rotation_minutes: float, files_kept: int, clock: Clock) -> None:
        self._folder = folder
        self._rotation = rotation_minutes * 60
        self._kept = files_kept
        self._clock = clock
        self._file: IO[bytes] | None = None
        self._begun = 0.0

    def make(self) -> None:
        """Creates the folder. Raises `OutputError` if that fails."""
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise OutputError(f"cannot write log lines to {self._folder}: {error.strerror or error}") from error

    def write(self, line: str) -> None:
        """Hands the line to the operating system before it returns. Raises `OutputError` if it cannot be written."""
        try:
            file = self._current()
            file.write(line.encode("utf-8", "backslashreplace") + b"\n")
            file.flush()
        except OSError as error:
            raise OutputError(f"cannot write log lines to {self._folder}: {error.strerror or error}") from error

    def close(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None

    def _current(self) -> IO[bytes]:
        now = self._clock.monotonic()
        if self._file is not None and (not self._rotation or now - self._begun < self._rotation):
            return self._file
        self.close()
        self.make()
        moment = self._clock.now().astimezone(UTC)
        path = self._folder / f"{_PREFIX}{moment.isoformat(timespec='microseconds')}{_SUFFIX}"
        self._file = path.open("ab")
        self._begun = now
        if self._kept:
            for old in log_files(self._folder)[: -self._kept]:
                # If the clock was set back, the file just created may be the oldest by name.
                if old != path:
                    old.unlink(missing_ok=True)
        return self._file


def log_files(folder: Path) -> list[Path]:
    """Returns the daemon's files in `folder`, the oldest first."""
    try:
        found = [(moment, path) for path in folder.iterdir() if (moment := _begun(path)) is not None]
    except FileNotFoundError:
        return []
    return [path for _, path in sorted(found)]


def _begun(path: Path) -> datetime | None:
    name = path.name
    if not (name.startswith(_PREFIX) and name.endswith(_SUFFIX)):
        return None
    try:
        moment = datetime.fromisoformat(name[len(_PREFIX) : -len(_SUFFIX)])
    except ValueError:
        return None
    if not path.is_file():
        return None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def run_log_daemon(
    broker: RabbitBroker,
    folder: Path,
    rotation_minutes: float,
    files_kept: int,
    stopped: threading.Event,
    queue: str,
    clock: Clock,
) -> None:
    """Writes incoming lines until `stopped`; creates the queue if it is missing. Raises `OutputError` if the folder
    cannot be used."""
    files = LogFolder(folder, rotation_minutes, files_kept, clock)
    # So that the folder can be followed before the first line comes.
    files.make()
    try:
        empty_queue(broker, queue, files.write, stopped)
    finally:
        files.close()


def empty_queue(broker: RabbitBroker, queue: str, write: Callable[[str], None], stopped: threading.Event) -> None:
    """Passes every line to `write`, and acknowledges it once that has returned."""
    reason = ""
    while not stopped.is_set():
        try:
            broker.declare(queue)
            while not stopped.is_set():
                delivery = broker.get([queue], _CONSUMER, 1.0)
                if delivery is not None:
                    write(one_line(delivery.body.decode("utf-8", "backslashreplace").rstrip("\r\n")))
                    broker.ack(delivery)
                    reason = ""
        except TransientError as error:
            if str(error) != reason:
                reason = str(error)
                logger.warning("waiting: %s", reason)
            stopped.wait(_PAUSE_SECONDS)
