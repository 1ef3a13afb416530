"""Makes calls that a bad file may crash, in a separate process: a crash then costs the file and not the run."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from multiprocessing import get_context
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from tempfile import TemporaryFile
from typing import Any, ParamSpec, TypeVar

from pero_worker.errors import ExitCode, PageError, PeroWorkerError
from pero_worker.processes import Lifetime, OnSignal, without_main
from pero_worker.text import one_line

_TRIES = 2
_JOIN_SECONDS = 1.0
_STDERR = 2
_MAX_SAID_BYTES = 2000
P = ParamSpec("P")
T = TypeVar("T")


class ProcessApart:
    """A separate process that makes one call at a time; it starts with the first call, and again after it has died."""

    def __init__(self, *, time_limit: float | None = 600.0) -> None:
        """`time_limit`: seconds that a call may take; None for no limit."""
        self._time_limit = time_limit
        self._lock = threading.Lock()
        self._process: BaseProcess | None = None
        self._connection: Connection | None = None
        self._closed = False

    def call(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Calls a module-level `function` with arguments that can be pickled, and raises again what it raises of ours.

        Raises `PageError` if the call killed its process twice or took too long.
        """
        with self._lock:
            for _ in range(_TRIES):
                try:
                    succeeded, result = self._ask((function, args, kwargs))
                except (EOFError, OSError):
                    status = self._end()
                    continue
                if not succeeded:
                    raise result
                return result  # type: ignore[no-any-return]
        raise PageError(f"the file makes the program that opens it end ({_told(status)})", permanent=True)

    def close(self) -> None:
        """Ends the process, even in the middle of another thread's call, which then fails."""
        self._closed = True
        if self._process is not None and self._process.is_alive():
            self._process.kill()

    def _ask(self, work: object) -> tuple[bool, Any]:
        connection = self._started()
        connection.send(work)
        if not connection.poll(self._time_limit):
            self._end()
            raise PageError(f"opening the file took longer than {self._time_limit:g} s", permanent=True)
        succeeded, result = connection.recv()
        return succeeded, result

    def _started(self) -> Connection:
        if self._closed:
            raise PageError("the run has ended")
        if self._process is None or self._connection is None:
            context = get_context("spawn")
            self._connection, theirs = context.Pipe()
            # A daemon: it ends with this process.
            self._process = context.Process(target=_serve, args=(theirs,), name="apart", daemon=True)
            with without_main():
                self._process.start()
            theirs.close()
        return self._connection

    def _end(self) -> int:
        """Ends the process and returns its exit status."""
        process, connection = self._process, self._connection
        self._process = self._connection = None
        if connection is not None:
            connection.close()
        if process is None:
            return 0
        process.join(_JOIN_SECONDS)
        if process.is_alive():
            process.kill()
            process.join()
        return process.exitcode or 0


def _serve(connection: Connection) -> None:
    Lifetime(grace=0.0, status=ExitCode.BUG, on_signal=OnSignal.LEAVE_TO_PARENT, with_parent=True).begin()
    while True:
        try:
            function, args, kwargs = connection.recv()
        except (EOFError, OSError):
            return
        said: list[str] = []
        try:
            with _messages_of_libraries(said):
                answer: tuple[bool, object] = (True, function(*args, **kwargs))
        except PeroWorkerError as error:
            answer = (False, _with_words(error, said))
        except MemoryError:
            answer = (False, PageError("the file needs more memory than there is", permanent=True))
        except Exception as error:  # libraries raise all kinds of errors
            text = f"the file cannot be opened: {type(error).__name__}: {error}"
            answer = (False, PageError(_with(text, said), permanent=True))
        connection.send(answer)


@contextmanager
def _messages_of_libraries(said: list[str]) -> Iterator[None]:
    """Adds to `said` what C libraries meanwhile write to standard error, which is the user's terminal: this process has
    one thread and nothing else to say."""
    with TemporaryFile() as caught, os.fdopen(os.dup(_STDERR), "wb") as terminal:
        os.dup2(caught.fileno(), _STDERR)
        try:
            yield
        finally:
            os.dup2(terminal.fileno(), _STDERR)
            caught.seek(0)
            said += caught.read(_MAX_SAID_BYTES).decode("utf-8", "replace").splitlines()


def _with_words(error: PeroWorkerError, said: Sequence[str]) -> PeroWorkerError:
    if isinstance(error, PageError) and type(error) is PageError:
        return PageError(_with(str(error), said), permanent=error.permanent)
    return error


def _with(text: str, said: Sequence[str]) -> str:
    """Returns a reason with the first line that a library wrote before it."""
    first = next((one_line(line).strip() for line in said if line.strip()), "")
    return f"{text} ({first})" if first and first not in text else text


def _told(status: int) -> str:
    return f"signal {-status}" if status < 0 else f"exit status {status}"
