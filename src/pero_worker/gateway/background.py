"""Work that a gateway does besides answering requests: a thread repeats a step until it is told to stop."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable

from pero_worker.errors import OutputError, TransientError

logger = logging.getLogger(__name__)


class Background:
    """Survives whatever happens in a step: an unreachable server is logged as a warning, a bug with its traceback."""

    def __init__(
        self, name: str, step: Callable[[], bool], stopping: threading.Event, *, pause: float, patience: float = 2.0
    ) -> None:
        """`step` returns whether there is more to do at once; if not, the next step waits for `pause` seconds or for
        `stopping`. `patience`: seconds that `stop` waits for the current step."""
        self._name = name
        self._step = step
        self._stopping = stopping
        self._pause = pause
        self._patience = patience
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Waits for the current step to end; the caller has already set `stopping`."""
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
