"""What the command lines of the file servers have in common."""

from __future__ import annotations

import argparse
import errno
import logging
import os
import signal
import socket
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import NoReturn

from pero_worker.errors import ExitCode, PeroWorkerError, TransientError, UsageError

PASSWORD_VARIABLE = "PERO_WORKER_SERVER_PASSWORD"  # noqa: S105 - the name, not the password


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """The one user of a private server."""

    root: Path
    """The folder that the user sees as `/`."""
    user: str
    """The user's login name."""
    password: str
    """The user's password."""


def parser(program: str, description: str) -> argparse.ArgumentParser:
    """Returns a parser with the options of every file server. The password comes from the environment, where `ps` does
    not show it."""
    options = argparse.ArgumentParser(
        prog=f"python -m pero_worker.servers.{program}",
        description=description,
        epilog=f"The password is read from the environment variable {PASSWORD_VARIABLE}.",
    )
    options.add_argument("--host", default="127.0.0.1", help="address to listen on (default: this machine only)")
    options.add_argument("--port", type=int, default=0, help="0 (the default) takes any free port")
    options.add_argument("--root", type=Path, required=True, metavar="DIR", help="the folder that is served")
    options.add_argument("--user", required=True)
    return options


def account(given: argparse.Namespace) -> Account:
    """Returns the server's account. Raises `UsageError` if the environment holds no password or the root is not a
    folder."""
    password = os.environ.pop(PASSWORD_VARIABLE, "")
    if not password:
        raise UsageError(f"there is no password: set the environment variable {PASSWORD_VARIABLE}")
    if not given.root.is_dir():
        raise UsageError(f"--root {given.root} is not a folder: create it first")
    return Account(root=given.root.resolve(), user=given.user, password=password)


def listen(host: str, port: int) -> socket.socket:
    """Returns a listening socket. Raises `UsageError` if there is no such address or port, `TransientError` if it is in
    use."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family, backlog=100)
    except OverflowError as error:
        raise UsageError(f"cannot listen on {host} port {port}: {error}") from error
    except OSError as error:
        # create_server hides the kind of the error; only a port in use may become free.
        kind = TransientError if error.errno == errno.EADDRINUSE else UsageError
        raise kind(f"cannot listen on {host} port {port}: {error.strerror or error}") from error


def announce(listener: socket.socket) -> None:
    """Tells the program that started the server that it now accepts connections."""
    host, port, *_ = listener.getsockname()
    sys.stdout.write(f"listening on {f'[{host}]' if ':' in host else host}:{port}\n")
    sys.stdout.flush()


def run(serve: Callable[[], None]) -> NoReturn:
    """Serves until SIGINT or SIGTERM. A `PeroWorkerError` becomes one line on stderr and its exit status."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    signal.signal(signal.SIGTERM, _stop)
    try:
        serve()
    except PeroWorkerError as error:
        sys.stderr.write(f"pero-worker: {error}\n")
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        sys.exit(ExitCode.INTERRUPTED)
    sys.exit(ExitCode.OK)


def _stop(number: int, frame: FrameType | None) -> None:
    sys.exit(ExitCode.OK)
