"""Notes in the margin that run on into the text, on drawn pages of words that are black boxes."""

from __future__ import annotations

from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

pytest.importorskip("pero_ocr")

from pero_worker.engines.pero import compat

compat.import_pero()

from pero_worker.engines.pero.margins import part_notes  # noqa: E402

HEIGHT, PITCH = 30, 40
WORD, SPACE = 52, 12


class Drawn:
    """A page under way: text is drawn as boxes, and lines lie where the layout would find them."""

    def __init__(self) -> None:
        self.image = np.full((1000, 1000, 3), 230, np.uint8)
        self.lines: list[Any] = []

    def words(self, row: int, left: int, right: int) -> None:
        base = 100 + PITCH * row
        for x in range(left, right - 10, WORD + SPACE):
            self.image[base - 18 : base, x : min(right, x + WORD)] = 40

    def line(self, row: int, left: int, right: int) -> None:
        base, over = 100 + PITCH * row, 0.15 * HEIGHT
        baseline = np.array([(left - over, base), (right + over, base)], float)
        polygon = np.array([(left, base - 22), (right, base - 22), (right, base + 8), (left, base + 8)], float)
        self.lines.append(SimpleNamespace(id=f"l{row}", baseline=baseline, heights=[22.0, 8.0], polygon=polygon))

    def text(self, row: int, left: int, right: int) -> None:
        self.words(row, left, right)
        self.line(row, left, right)

    def parted(self) -> list[tuple[int, int]]:
        region = SimpleNamespace(lines=self.lines)
        part_notes(SimpleNamespace(regions=[region], lines_iterator=lambda: iter(self.lines)), self.image)
        return [(round(line.baseline[0][0]), round(line.baseline[-1][0])) for line in region.lines]


def page_with_notes(noted: Sequence[int], *, gap: int, right: bool = False) -> Drawn:
    drawn = Drawn()
    for row in range(14):
        drawn.words(row, 300, 800)
        if row not in noted:
            drawn.line(row, 300, 800)
        elif right:
            drawn.words(row, 800 + gap, 930)
            drawn.line(row, 300, 930)
        else:
            drawn.words(row, 150, 300 - gap)
            drawn.line(row, 150, 800)
    return drawn


@pytest.mark.parametrize("right", [False, True])
@pytest.mark.parametrize("noted", [(5, 6), (0, 1, 2, 3), (11, 12, 13)])
def test_a_note_is_parted_from_the_text(noted: tuple[int, ...], *, right: bool) -> None:
    found = page_with_notes(noted, gap=14, right=right).parted()
    assert len(found) == 14 + len(noted)
    short = [(left, end) for left, end in found if end - left < 300]
    assert len(short) == len(noted)
    for left, end in short:
        assert (left > 800 and end > 920) if right else (left < 150 and end < 300)
    text = [(left, end) for left, end in found if end - left > 300]
    assert all(abs(left - 296) < 10 and abs(end - 804) < 10 for left, end in text)


def test_a_line_alone_or_without_a_blank_is_no_note() -> None:
    assert len(page_with_notes((6,), gap=14).parted()) == 14
    assert len(page_with_notes((5, 6, 7), gap=2).parted()) == 14
    assert len(page_with_notes((5, 6), gap=8).parted()) == 14


def test_lines_before_a_quotation_that_is_set_in_stay_whole() -> None:
    drawn = Drawn()
    for row in range(14):
        inset = 5 <= row < 10
        # Words that begin here and there: some where the quotation does.
        drawn.words(row, 300 if inset else 150 + 13 * (row % 4), 800)
        drawn.line(row, 300 if inset else 150, 800)
    assert len(drawn.parted()) == 14


def test_columns_without_a_rule_are_parted_where_lines_run_over_both() -> None:
    drawn = Drawn()
    for row in range(12):
        drawn.words(row, 100, 480)
        drawn.words(row, 500, 900)
        if row in {4, 5, 6}:
            drawn.line(row, 100, 900)
        else:
            drawn.line(row, 100, 480)
            drawn.line(row, 500, 900)
    found = drawn.parted()
    assert len(found) == 24 and max(end - left for left, end in found) < 420


def test_few_lines_and_none_are_left_alone() -> None:
    drawn = Drawn()
    assert drawn.parted() == []
    drawn.text(0, 100, 900)
    assert len(drawn.parted()) == 1


def test_lines_beyond_the_picture_are_survived() -> None:
    drawn = page_with_notes((5, 6, 7), gap=14)
    drawn.image = drawn.image[:150]
    assert len(drawn.parted()) == 14
    drawn = page_with_notes((5, 6, 7), gap=14)
    drawn.image = drawn.image[:, :200]
    assert len(drawn.parted()) == 14
