"""Lines in batches: of any pages, on devices that run out of memory, fail or go away (simulated)."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pero_worker.engines.pero.batches import MARGIN, USUAL_PIXELS, Batch, OutOfMemory, ReadingDesk, padded_widths
from pero_worker.errors import DeviceError

WIDTHS = st.lists(st.integers(1, 5000), max_size=30)


class Device:
    """Reads a line as its first pixel's value, and keeps the shapes it was shown; `memory`: pixels it has room for."""

    def __init__(self, memory: int = 10**9) -> None:
        self.memory = memory
        self.shapes: list[tuple[int, int]] = []
        self.busy = threading.Lock()

    def __call__(self, batch: Batch) -> Callable[[], Sequence[int]]:
        assert self.busy.acquire(blocking=False), "two threads begin a batch at a time"
        try:
            lines, _, width, _ = batch.shape
            self.shapes.append((lines, width))
            if lines * width > self.memory:
                raise OutOfMemory(f"{lines} x {width}")
            return lambda: [int(line[0, MARGIN, 0]) for line in batch]
        finally:
            self.busy.release()


def crops(widths: Sequence[int]) -> list[np.ndarray]:
    return [np.full((4, width, 3), 1 + place % 200, np.uint8) for place, width in enumerate(widths)]


def desk(device: Callable[[Batch], Callable[[], Sequence[int]]], pixels: int = 4000) -> ReadingDesk:
    return ReadingDesk(forward=device, max_pixels=pixels)


@given(WIDTHS, st.sampled_from([32, 128]))
def test_each_line_is_read_once_in_the_width_that_follows_from_its_page(widths: list[int], step: int) -> None:
    device = Device()
    lines = crops(widths)
    reading = ReadingDesk(forward=device, max_pixels=4000, step=step)
    assert reading.read(lines) == [int(line[0, 0, 0]) for line in lines]
    padded = padded_widths(widths, step)
    assert {width for _, width in device.shapes} == set(padded)
    for number, width in device.shapes:
        assert number * (width - 2 * MARGIN) <= 4000 or number == 2, "one line, and an empty one beside it"
    assert all(width + 2 * MARGIN <= wider and wider % step == 0 for width, wider in zip(widths, padded, strict=True))


def test_lines_are_padded_as_pero_ocr_pads_them() -> None:
    assert padded_widths([]) == []
    # 3840 // 1152 = 3 lines go with the widest, the next is read with what is narrower still.
    assert padded_widths([40, 1150, 1100, 700, 1150, 690]) == [768, 1216, 1216, 768, 1216, 768]
    assert padded_widths([5000, 10]) == [5088, 96]


def test_lines_that_pero_ocr_reads_together_leave_none_over() -> None:
    """Five of 768 pixels are 3,840; with their margins they are more."""
    device = Device()
    ReadingDesk(forward=device, max_pixels=USUAL_PIXELS).read(crops([768] * 5))
    assert device.shapes == [(5, 832)]


@given(WIDTHS, st.integers(600, 20_000))
def test_a_batch_that_does_not_fit_is_halved_and_read_all_the_same(widths: list[int], memory: int) -> None:
    # An empty line is read beside a single one.
    lines = crops([min(width, memory // 2 - 100) for width in widths])
    device = Device(memory)
    reading = desk(device, pixels=50_000)
    assert reading.read(lines) == [int(line[0, 0, 0]) for line in lines]


def test_what_did_not_fit_is_not_tried_again() -> None:
    device = Device(memory=3000)
    reading = desk(device, pixels=50_000)
    lines = crops([400] * 27)
    reading.read(lines)
    assert device.shapes[0] == (27, 480)
    device.shapes.clear()
    assert reading.read(lines) == [int(line[0, 0, 0]) for line in lines]
    assert all(number * width <= 3000 for number, width in device.shapes)


def test_a_line_that_does_not_fit_alone_says_so() -> None:
    with pytest.raises(OutOfMemory, match="2 x 1088"):
        desk(Device(memory=1000)).read(crops([1024]))


def test_a_device_that_is_gone_fails_the_pages_that_it_had() -> None:
    def gone(_batch: Batch) -> Callable[[], Sequence[int]]:
        raise DeviceError("the GPU failed: CUDA error: unspecified launch failure")

    with pytest.raises(DeviceError, match="launch failure"):
        desk(gone).read(crops([100] * 8))


def test_a_device_may_go_while_results_are_waited_for() -> None:
    def later(_batch: Batch) -> Callable[[], Sequence[int]]:
        def results() -> Sequence[int]:
            raise DeviceError("the GPU failed")

        return results

    with pytest.raises(DeviceError):
        desk(later).read(crops([100]))


def test_lines_of_several_pages_share_batches_and_only_the_page_at_fault_fails() -> None:
    begun, others_wait = threading.Event(), threading.Event()
    device = Device()
    sizes = []

    def forward(batch: Batch) -> Callable[[], Sequence[int]]:
        sizes.append(len(batch))
        if not begun.is_set():
            begun.set()
            assert others_wait.wait(30)
        if (batch[:, 0, MARGIN, 0] == 250).any():
            raise ValueError("such a line cannot be read")
        return device(batch)

    reading = desk(forward, pixels=100_000)
    good = crops([300] * 4)
    with ThreadPoolExecutor(4) as pool:
        first = pool.submit(reading.read, good)
        assert begun.wait(30)
        bad = pool.submit(reading.read, [np.full((4, 300, 3), 250, np.uint8)])
        more = [pool.submit(reading.read, good) for _ in range(2)]
        while len(reading._waiting) < 9:
            others_wait.wait(0.01)
        others_wait.set()
        assert [one.result(30) for one in (first, *more)] == [[1, 2, 3, 4]] * 3
        with pytest.raises(ValueError, match="cannot be read"):
            bad.result(30)
    assert max(sizes) == 9, "a batch of the lines of three pages"


@given(st.lists(WIDTHS, min_size=2, max_size=6))
def test_threads_get_the_lines_they_brought(pages: list[list[int]]) -> None:
    reading = desk(Device(memory=9000), pixels=20_000)
    brought = [[line for line in crops(widths) if line.shape[1] < 4000] for widths in pages]
    with ThreadPoolExecutor(len(pages)) as pool:
        found = list(pool.map(reading.read, brought))
    assert found == [[int(line[0, 0, 0]) for line in lines] for lines in brought]
