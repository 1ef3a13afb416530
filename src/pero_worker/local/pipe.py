"""Gives a worker process access, by calls over a pipe, to the broker and coordinator in its parent process.

Both ends are processes of one program run by one user, so the pickles in the pipe do not come from outside.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence
from multiprocessing.connection import Connection
from typing import Any

from pero_worker.coordinators.memory import MemoryCoordinator
from pero_worker.coordinators.null import NoReports
from pero_worker.errors import PeroWorkerError
from pero_worker.ports import Broker
from pero_worker.stage import Stage
from pero_worker.work import Assignment, Delivery, WorkerStatus

logger = logging.getLogger(__name__)
_BROKER_CALLS = frozenset({"get", "publish", "hand_on", "ack", "give_back", "set_aside"})
_COORDINATOR_CALLS = frozenset({"stage", "assignment", "report"})


def serve(connection: Connection, broker: Broker, coordinator: MemoryCoordinator) -> threading.Thread:
    """Answers one worker process's calls from a thread of its own, until the pipe closes."""

    def answer() -> None:
        try:
            while True:
                name, arguments = connection.recv()
                target = broker if name in _BROKER_CALLS else coordinator
                try:
                    result = (True, getattr(target, name)(*arguments))
                except PeroWorkerError as error:
                    result = (False, error)
                connection.send(result)
        except (EOFError, OSError):
            return
        except Exception:
            logger.exception("the calls of a worker process cannot be answered any more")
        finally:
            # The process must not wait for an answer that never comes: it ends and is replaced.
            connection.close()

    thread = threading.Thread(target=answer, name="pipe", daemon=True)
    thread.start()
    return thread


class _Remote:
    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def _call(self, name: str, *arguments: object) -> Any:
        if name not in _BROKER_CALLS | _COORDINATOR_CALLS:
            raise AttributeError(name)
        try:
            self._connection.send((name, arguments))
            succeeded, result = self._connection.recv()
        except (EOFError, OSError):
            raise SystemExit("the parent process is gone") from None
        if not succeeded:
            raise result
        return result


class RemoteBroker(_Remote):
    """`ports.Broker` in a worker process."""

    def get(self, queues: Sequence[str], consumer: str, timeout: float) -> Delivery | None:
        delivery: Delivery | None = self._call("get", tuple(queues), consumer, timeout)
        return delivery

    def publish(self, queue: str, body: bytes, priority: int = 0) -> None:
        self._call("publish", queue, body, priority)

    def hand_on(self, delivery: Delivery, queue: str, body: bytes, priority: int = 0) -> None:
        self._call("hand_on", delivery, queue, body, priority)

    def hand_on_soon(
        self,
        delivery: Delivery,
        queue: str,
        body: bytes,
        priority: int,
        done: Callable[[PeroWorkerError | None], None],
    ) -> None:
        self.hand_on(delivery, queue, body, priority)
        done(None)

    def ack(self, delivery: Delivery) -> None:
        self._call("ack", delivery)

    def give_back(self, delivery: Delivery) -> None:
        self._call("give_back", delivery)

    def set_aside(self, delivery: Delivery, reason: str) -> None:
        self._call("set_aside", delivery, reason)


class RemoteCoordinator(_Remote, NoReports):
    """`ports.Assignments` in a worker process, and the status part of `ports.Reports`."""

    def stage(self, name: str) -> Stage:
        stage: Stage = self._call("stage", name)
        return stage

    def assignment(self, worker: str) -> Assignment:
        assignment: Assignment = self._call("assignment", worker)
        return assignment

    def report(self, worker: str, status: WorkerStatus, message: str = "") -> None:
        self._call("report", worker, status, message)
