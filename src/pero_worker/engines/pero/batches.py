"""Reads lines from any number of pages in batches, and copes with batches that a device cannot take.

Each line is padded to a width that depends on its own page only, and is read together with lines of that width from
any page. So its text does not depend on what other pages are in hand, and the network sees a bounded set of shapes.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from pero_worker.errors import PeroWorkerError

Crop = NDArray[np.uint8]
"""A picture of a line, (height, width, 3)."""
Batch = NDArray[np.uint8]
"""Lines of one width, (lines, height, width, 3)."""

USUAL_PIXELS = 3840
"""Total width of a page's lines that are padded alike, in pixels, as in pero-ocr."""
_STEP = 32
"""Pixels between one padded width and the next."""
MARGIN = 32
"""Black pixels before a line, and at least as many after it; networks are trained with them."""
_LEAST_LINES = 2
"""Minimum number of lines in a batch, with an empty one if need be: libraries multiply and round a single row
differently."""
_IN_FLIGHT = 2
"""Batches in flight: one that is being computed and one that is being put together."""
MIN_PIXELS = 960
"""Lowest limit on the total width of a batch's lines, in pixels: no device gains from smaller batches."""


class Forward(Protocol):
    def __call__(self, batch: Batch, /) -> Callable[[], Sequence[Any]]:
        """Begins to read a batch, one call at a time. The function that it returns waits for the results, one per line.
        Both may raise `OutOfMemory`."""


class OutOfMemory(Exception):
    """The device has no memory for a batch of this size."""


def padded_widths(widths: Sequence[int], step: int = _STEP) -> list[int]:
    """Returns the widths in which the lines of a page are read; possible widths are `step` pixels apart.

    Each line is as wide as the widest of those that pero-ocr, which takes the widest first, would read together with
    it, so that its text is the same as there. A quarter is padding then. Widths that fit each line would leave a sixth,
    but more lines would be on their own, and it would be no faster on a CPU.
    """
    padded = [0] * len(widths)
    order = sorted(range(len(widths)), key=lambda place: -widths[place])
    while order:
        widest = _up(widths[order[0]], _STEP)
        together = max(1, USUAL_PIXELS // widest)
        for place in order[:together]:
            padded[place] = _up(widest + 2 * MARGIN, step)
        order = order[together:]
    return padded


def _up(pixels: int, step: int) -> int:
    return -(-pixels // step) * step


def as_batch(crops: Sequence[Crop], width: int) -> Batch:
    """Puts lines of one height into a batch, each after its margin; an empty line may follow them."""
    batch = np.zeros((max(_LEAST_LINES, len(crops)), crops[0].shape[0], width, 3), np.uint8)
    for row, crop in zip(batch, crops, strict=False):
        row[:, MARGIN : MARGIN + crop.shape[1]] = crop
    return batch


@dataclass(slots=True, kw_only=True, eq=False)
class _Line:
    crop: Crop
    width: int
    """Width of its batch, in pixels."""
    result: Any = None
    error: Exception | None = None
    done: bool = False


@dataclass(slots=True, kw_only=True, eq=False)
class ReadingDesk:
    """Reads lines for the threads that have pages in hand; they share the desk, and their lines share batches.

    No line waits for others to arrive: a thread that brings lines takes whatever lines have the width that has waited
    longest, and reads them. While one batch is on the device, another thread puts the next one together; a third waits,
    and grows.
    """

    forward: Forward
    """Reads a batch. Only one thread at a time begins one."""
    max_pixels: int
    """Maximum total width of a batch's lines in pixels, without their margins; a wider line is read alone. Halved when
    the device runs out of memory."""
    step: int = _STEP
    """Pixels between one padded width and the next: the larger, the more lines of several pages are read together."""
    _changed: threading.Condition = field(default_factory=threading.Condition)
    _turn: threading.Lock = field(default_factory=threading.Lock)
    _room: threading.Semaphore = field(default_factory=lambda: threading.Semaphore(_IN_FLIGHT))
    _waiting: list[_Line] = field(default_factory=list)

    def read(self, crops: Sequence[Crop]) -> list[Any]:
        """Returns the results of lines of one height, in their order.

        Raises what `forward` raised for one of the lines on its own, or as a `PeroWorkerError` for its batch.
        """
        widths = padded_widths([crop.shape[1] for crop in crops], self.step)
        mine = [_Line(crop=crop, width=width) for crop, width in zip(crops, widths, strict=True)]
        with self._changed:
            self._waiting += mine
            self._changed.notify_all()
        while self._anything_for(mine):
            with self._room:
                self._read_next()
        for line in mine:
            if line.error is not None:
                raise line.error
        return [line.result for line in mine]

    def _anything_for(self, mine: Sequence[_Line]) -> bool:
        """Waits until there is something to do for any page; returns False once all of `mine` have been read."""
        with self._changed:
            self._changed.wait_for(lambda: bool(self._waiting) or all(line.done for line in mine))
            return not all(line.done for line in mine)

    def _read_next(self) -> None:
        batch: Sequence[_Line] = ()
        try:
            # Lines that arrive while another batch is being started may still join this one.
            with self._turn:
                batch = self._take()
                results = self._begun(batch) if batch else None
            if results is not None:
                self._finish(batch, results)
        finally:
            with self._changed:
                for line in batch:
                    line.done = True
                self._changed.notify_all()

    def _take(self) -> Sequence[_Line]:
        """Takes lines of the width that has waited longest."""
        with self._changed:
            if not self._waiting:
                return ()
            width = self._waiting[0].width
            fitting = [line for line in self._waiting if line.width == width][: self._most(width)]
            taken = set(map(id, fitting))
            self._waiting = [line for line in self._waiting if id(line) not in taken]
            return fitting

    def _most(self, width: int) -> int:
        """Returns how many lines of a padded width are read together: as many as in pero-ocr, so that none is left."""
        return max(1, self.max_pixels // max(1, width - 2 * MARGIN))

    def _begun(self, batch: Sequence[_Line]) -> Callable[[], Sequence[Any]] | None:
        """Begins to read a batch; returns None if that failed, after dealing with the failure."""
        try:
            return self.forward(as_batch([line.crop for line in batch], batch[0].width))
        except Exception as error:
            self._part(batch, error)
            return None

    def _finish(self, batch: Sequence[_Line], results: Callable[[], Sequence[Any]]) -> None:
        try:
            for line, result in zip(batch, results(), strict=False):
                line.result = result
        except Exception as error:
            with self._turn:
                self._part(batch, error)

    def _part(self, batch: Sequence[_Line], error: Exception) -> None:
        """Notes an error on the lines that cause it. They are found by halving the batch, which also helps a device
        that has no memory for so many lines."""
        if isinstance(error, PeroWorkerError) or len(batch) == 1:
            for line in batch:
                line.error = error
            return
        half = (len(batch) + 1) // 2
        if isinstance(error, OutOfMemory):
            self.max_pixels = max(MIN_PIXELS, min(self.max_pixels, half * (batch[0].width - 2 * MARGIN)))
        for part in (batch[:half], batch[half:]):
            try:
                results = self.forward(as_batch([line.crop for line in part], part[0].width))
                for line, result in zip(part, results(), strict=False):
                    line.result = result
            except Exception as failure:
                self._part(part, failure)
