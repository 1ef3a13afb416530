"""A few threads for tasks that may take a while. They end with the process, whatever they are waiting for."""

from __future__ import annotations

import logging
import queue
import threading
from collections.abc import Callable

logger = logging.getLogger(__name__)


class Helpers:
    """Runs tasks in threads, which are started only when there is something to do."""

    def __init__(self, name: str, threads: int) -> None:
        self._name = name
        self._most = threads
        self._tasks: queue.SimpleQueue[Callable[[], object]] = queue.SimpleQueue()
        self._changed = threading.Condition(threading.Lock())
        self._unfinished = 0
        self._started = 0

    def do(self, task: Callable[[], object]) -> None:
        """Has `task` run in a thread, soon."""
        with self._changed:
            self._unfinished += 1
            more = self._started < min(self._most, self._unfinished)
            self._started += more
        self._tasks.put(task)
        if more:
            threading.Thread(target=self._work, name=self._name, daemon=True).start()

    def wait(self, seconds: float) -> bool:
        """Waits until all tasks are done; returns whether they were within `seconds`."""
        with self._changed:
            return self._changed.wait_for(lambda: not self._unfinished, seconds)

    def _work(self) -> None:
        while True:
            task = self._tasks.get()
            try:
                task()
            except Exception:  # a failed task must not stop the next
                logger.exception("%s", self._name)
            with self._changed:
                self._unfinished -= 1
                if not self._unfinished:
                    self._changed.notify_all()
