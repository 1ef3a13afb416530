"""Pages on their way to the workforce: pictures on other machines are fetched ahead, a few at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor

from pero_worker.errors import PageError
from pero_worker.jobs.plan import PageTask

Bring = Callable[[PageTask], PageTask]
"""Returns the task with its picture on this machine. Raises `PageError` if it cannot be fetched."""
_AHEAD = 8
"""Most pages that are being fetched or waiting to be handed in."""
_THREADS = 4


class Supply:
    """Hands out tasks that can be done now: those of this machine at once, others once their picture has arrived."""

    def __init__(self, tasks: Iterator[PageTask], bring: Bring, bring_layout: Bring | None = None) -> None:
        """`bring_layout` is None if lines on other machines are not fetched."""
        self._tasks = tasks
        self._bring = bring
        self._bring_layout = bring_layout
        self._threads = ThreadPoolExecutor(_THREADS, "pictures")
        self._coming: dict[Future[PageTask], PageTask] = {}
        self._more = True

    @property
    def pending(self) -> bool:
        """Whether there is more to come."""
        return self._more or bool(self._coming)

    def take(self) -> tuple[PageTask, PageError | None] | None:
        """Returns a task and why it cannot be done, if so; None if there is no task at the moment."""
        while self._more and len(self._coming) < _AHEAD:
            task = next(self._tasks, None)
            if task is None:
                self._more = False
            elif not task.is_remote and not (self._bring_layout and task.is_layout_remote):
                return task, None
            else:
                self._coming[self._threads.submit(self._fetch, task)] = task
        for future in [future for future in self._coming if future.done()][:1]:
            asked = self._coming.pop(future)
            try:
                return future.result(), None
            except PageError as error:
                return asked, error
        return None

    def _fetch(self, task: PageTask) -> PageTask:
        task = self._bring(task)
        return self._bring_layout(task) if self._bring_layout else task

    def close(self) -> None:
        """Ends the supply; what is being fetched is still completed, for the next run."""
        self._threads.shutdown(wait=False, cancel_futures=True)
