"""Whether the payload store answers, checked only now and then, however often it is asked."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace

from pero_worker.errors import StageError, TransientError
from pero_worker.stores.location import StoreAccess
from pero_worker.stores.objects import ObjectStore

_FRESH_SECONDS = 5.0


class StoreWatch:
    """Checks the payload store; one check serves all callers for a few seconds."""

    def __init__(self, access: StoreAccess, patience: float, clock: Callable[[], float] = time.monotonic) -> None:
        """`patience` is how long the store may take to answer, in seconds."""
        self._access = replace(access, timeout=patience)
        self._clock = clock
        self._store: ObjectStore | None = None
        self._looked = float("-inf")
        self._trouble = ""

    def trouble(self, url: str) -> str:
        """Returns why the store at `url` cannot be used; '' if it can."""
        if self._store is None or self._store.url != url:
            self.close()
        if self._clock() - self._looked >= _FRESH_SECONDS:
            self._trouble = self._look(url)
            self._looked = self._clock()
        return self._trouble

    def close(self) -> None:
        if self._store is not None:
            self._store.close()
        self._store, self._looked = None, float("-inf")

    def _look(self, url: str) -> str:
        try:
            self._store = self._store or ObjectStore(url, self._access)
            self._store.check()
        except (StageError, TransientError) as error:
            return str(error)
        return ""
