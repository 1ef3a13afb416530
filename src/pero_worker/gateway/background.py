"""What a gateway does beside its requests: one thread that takes step after step until it is told to stop."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable

from pero_worker.errors import OutputError, TransientError

logger = logging.getLogger(__name__)


class Background:
    """Survives whatever a step meets: a server that is away is told as a warning, a bug with its traceback."""

    def __init__(
        self, name: str, step: Callable[[], bool], stopping: threading.Event, *, pause: float, patience: float = 2.0
    ) -> None:
        """`step` returns whether there is more to do at once; else the next one waits for `pause` seconds, or for
        `stopping`. `patience`: seconds that `stop` waits for the step in hand."""
        self._name = name
        self._step = step
        self._stopping = stopping
        self._pause = pause
        self._patience = patience
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """The caller has told the gateway to stop."""
        if self._thread.is_alive():
            self._thread.join(self._patience)

    def _run(self) -> None:
        while not self._stopping.is_set():
            try:
                busy = self._step()
            except (TransientError, OutputError) as error:
                logger.warning("%s: waiting: %s", self._name, error)
                busy = False
            except Exception:
                logger.exception("%s: a bug", self._name)
                busy = False
            if not busy:
                self._stopping.wait(self._pause)
