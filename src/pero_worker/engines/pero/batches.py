"""Lines of any number of pages in batches, and what becomes of a batch that a device cannot take.

Each line is padded to a width that follows from its own page, and is read beside lines of that width, of whatever page:
what is read of it does not depend on the pages in hand, and the network meets a bounded set of shapes.
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
"""Of the widths of a page's lines that are padded alike, as pero-ocr has it."""
_STEP = 32
"""Pixels between two such widths."""
MARGIN = 32
"""Black pixels before a line, and as many behind it at least; networks are trained with them."""
_LEAST_LINES = 2
"""In a batch, if need be with an empty one: libraries multiply a single row in another way, and round otherwise."""
_IN_FLIGHT = 2
"""Batches: one that is computed, and one that is put together."""
MIN_PIXELS = 960
"""Of the widths of a batch's lines together: no device gains from smaller ones."""


class Forward(Protocol):
    def __call__(self, batch: Batch, /) -> Callable[[], Sequence[Any]]:
        """Begins to read a batch, one after the other; what it returns waits for the results, one a line. Both may
        raise `OutOfMemory`."""


class OutOfMemory(Exception):
    """The device has no memory for a batch of that size."""


def padded_widths(widths: Sequence[int], step: int = _STEP) -> list[int]:
    """In which widths the lines of a page are read, `step` pixels apart: as wide as the widest of those that pero-ocr
    would read together, the widest first: so text stays what it is there. (A quarter is padding then. Widths that fit
    each line leave a sixth, but more lines that are alone, and are no faster on a CPU.)"""
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
    """The lines of one height, each behind its margin; there may be an empty line behind them."""
    batch = np.zeros((max(_LEAST_LINES, len(crops)), crops[0].shape[0], width, 3), np.uint8)
    for row, crop in zip(batch, crops, strict=False):
        row[:, MARGIN : MARGIN + crop.shape[1]] = crop
    return batch


@dataclass(slots=True, kw_only=True, eq=False)
class _Line:
    crop: Crop
    width: int
    """Of its batch."""
    result: Any = None
    error: Exception | None = None
    done: bool = False


@dataclass(slots=True, kw_only=True, eq=False)
class ReadingDesk:
    """Reads lines; threads that have pages in hand share it, and their lines share batches.

    No line waits for others to come: whoever brings lines takes what waits, of the width that waits longest, and reads
    it. While one batch is on the device the next is put together by another thread; a third waits, and grows.
    """

    forward: Forward
    """Reads a batch. It is begun by one thread at a time."""
    max_pixels: int
    """Widths of a batch's lines together, without their margins; a line that is wider is read alone. Halved when the
    device's memory does not suffice."""
    step: int = _STEP
    """Pixels between two widths: the wider, the more lines of several pages are read at a time."""
    _changed: threading.Condition = field(default_factory=threading.Condition)
    _turn: threading.Lock = field(default_factory=threading.Lock)
    _room: threading.Semaphore = field(default_factory=lambda: threading.Semaphore(_IN_FLIGHT))
    _waiting: list[_Line] = field(default_factory=list)

    def read(self, crops: Sequence[Crop]) -> list[Any]:
        """The results of lines of one height, in their order. What `forward` raises of a line alone, or as an error of
        ours, is raised for its page."""
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
        """Waits until there is something to do, of whatever page; False: all of `mine` are read."""
        with self._changed:
            self._changed.wait_for(lambda: bool(self._waiting) or all(line.done for line in mine))
            return not all(line.done for line in mine)

    def _read_next(self) -> None:
        batch: Sequence[_Line] = ()
        try:
            # What comes while another batch is begun may still join this one.
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
        """Lines of the width that waits longest."""
        with self._changed:
            if not self._waiting:
                return ()
            width = self._waiting[0].width
            fitting = [line for line in self._waiting if line.width == width][: self._most(width)]
            taken = set(map(id, fitting))
            self._waiting = [line for line in self._waiting if id(line) not in taken]
            return fitting

    def _most(self, width: int) -> int:
        """Lines of a padded width that are read together: as many as pero-ocr would, so that none is left over."""
        return max(1, self.max_pixels // max(1, width - 2 * MARGIN))

    def _begun(self, batch: Sequence[_Line]) -> Callable[[], Sequence[Any]] | None:
        """None: it went wrong, and all is said and done."""
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
        """What goes wrong is noted on the lines that it concerns: found by halving, which also serves a device that has
        no memory for so many."""
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
