"""Our progress as fsspec knows it."""

from __future__ import annotations

from fsspec.callbacks import Callback

from pero_worker.stores.transports import Progress


class Meter(Callback):  # type: ignore[misc]
    """Reports sizes; what `progress` raises ends the transfer."""

    def __init__(self, progress: Progress) -> None:
        super().__init__()
        self._progress = progress

    def set_size(self, size: int | None) -> None:
        self._progress(size or 0)

    def relative_update(self, inc: int = 1) -> None:
        self.value += inc
        self._progress(self.value)
