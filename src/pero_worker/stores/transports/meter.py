"""Adapts our progress listeners to fsspec's callbacks."""

from __future__ import annotations

from fsspec.callbacks import Callback

from pero_worker.stores.transports import ProgressListener


class Meter(Callback):  # type: ignore[misc]
    """Reports sizes; what `on_progress` raises ends the transfer."""

    def __init__(self, on_progress: ProgressListener) -> None:
        super().__init__()
        self._on_progress = on_progress

    def set_size(self, size: int | None) -> None:
        self._on_progress(size or 0)

    def relative_update(self, inc: int = 1) -> None:
        self.value += inc
        self._on_progress(self.value)
