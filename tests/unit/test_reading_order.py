"""Reading order of boxes, as a reader would go through the page."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pero_worker.engines.boxes import Box, rows_of
from pero_worker.engines.columns import Purse, longest_run
from pero_worker.engines.reading_order import reading_order

HEIGHT = 30.0


def box(left: float, top: float, right: float, height: float = HEIGHT) -> Box:
    return Box(left=left, top=top, right=right, bottom=top + height)


def column(left: float, right: float, rows: int, top: float = 0.0, pitch: float = 40.0) -> list[Box]:
    return [box(left, top + pitch * row, right) for row in range(rows)]


def groups(boxes: list[Box]) -> list[list[int]]:
    return [[index for row in rows for index in row] for rows in reading_order(boxes)]


def order(boxes: list[Box]) -> list[int]:
    return [index for group in groups(boxes) for index in group]


def test_no_boxes_no_groups() -> None:
    assert reading_order([]) == []


def test_one_column_is_one_group_from_top_to_bottom() -> None:
    boxes = column(100, 900, 6)
    assert groups(boxes[::-1]) == [[5, 4, 3, 2, 1, 0]]


def test_two_columns_are_read_one_after_the_other() -> None:
    left, right = column(100, 480, 5), column(520, 900, 5, top=4)
    assert groups(left + right) == [[0, 1, 2, 3, 4], [5, 6, 7, 8, 9]]


def test_three_columns() -> None:
    boxes = column(0, 300, 5) + column(340, 640, 5) + column(680, 980, 5)
    assert order(boxes) == list(range(15))


def test_columns_above_and_below_a_heading_are_read_apart() -> None:
    above = column(100, 480, 4) + column(520, 900, 4)
    below = column(100, 480, 4, top=240) + column(520, 900, 4, top=240)
    assert order([*below, *above, box(100, 180, 900)]) == [*range(8, 16), 16, *range(8)]


def test_a_column_that_is_itself_two_columns() -> None:
    boxes = column(0, 980, 5) + column(1040, 1500, 5) + column(1540, 2000, 5)
    assert order(boxes) == list(range(15))


def test_a_title_across_comes_first_and_a_footer_last() -> None:
    title, footer = box(100, 0, 900), box(100, 400, 900)
    left, right = column(100, 480, 5, top=80), column(520, 900, 5, top=80)
    assert groups([footer, *right, *left, title]) == [[11], [6, 7, 8, 9, 10], [1, 2, 3, 4, 5], [0]]


def test_three_rows_are_not_columns() -> None:
    left, right = column(100, 480, 3), column(520, 900, 3)
    assert groups(left + right) == [[0, 3, 1, 4, 2, 5]]


def test_prices_stay_in_their_rows() -> None:
    names, prices = column(100, 700, 8), column(850, 920, 8)
    assert groups(names + prices) == [[i for row in range(8) for i in (row, row + 8)]]


def test_columns_of_unequal_length() -> None:
    left, right = column(100, 480, 9), column(520, 900, 5)
    assert order(left + right) == list(range(14))


def test_a_row_that_is_curved_stays_one_row() -> None:
    pieces = [box(100 + 220 * i, 10 * i, 300 + 220 * i) for i in range(3)]
    below = [box(100 + 220 * i, 60 + 10 * i, 300 + 220 * i) for i in range(3)]
    assert order([*below, *pieces]) == [3, 4, 5, 0, 1, 2]


def test_lines_that_overlap_as_those_of_a_skewed_page_do_are_not_a_row() -> None:
    boxes = [box(100, 40 * row, 900, height=90) for row in range(6)]
    assert order(boxes) == list(range(6))


def test_a_paragraph_number_in_the_margin_goes_before_its_line() -> None:
    lines = column(200, 900, 6)
    assert order([*lines, box(100, 82, 130)]) == [0, 1, 6, 2, 3, 4, 5]


def test_columns_with_rows_a_little_apart() -> None:
    left, right = column(100, 480, 6), column(520, 900, 6, top=10)
    assert order(left + right) == list(range(12))


SIDE = st.integers(0, 400)


@given(st.lists(st.tuples(SIDE, SIDE, st.integers(1, 300), st.integers(1, 60)), max_size=25))
def test_every_box_is_read_once(rectangles: list[tuple[int, int, int, int]]) -> None:
    boxes = [Box(left=x, top=y, right=x + width, bottom=y + height) for x, y, width, height in rectangles]
    assert sorted(order(boxes)) == list(range(len(boxes)))
    assert all(groups(boxes))


@pytest.mark.parametrize("shift", [15, 20])
def test_columns_half_a_line_apart(shift: int) -> None:
    left, right = column(100, 480, 6), column(520, 900, 6, top=shift)
    assert order(left + right) == list(range(12))


def test_two_rows_of_four_pieces_are_rows() -> None:
    above = [box(100 + 220 * i, 0, 300 + 220 * i) for i in range(4)]
    below = [box(100 + 220 * i, 60, 300 + 220 * i) for i in range(4)]
    assert reading_order([*below, *above]) == [[[4, 5, 6, 7], [0, 1, 2, 3]]]


def test_a_heading_below_columns_belongs_to_what_follows() -> None:
    left, right = column(100, 480, 5), column(520, 900, 5)
    heading, text = box(100, 280, 300), box(100, 315, 900)
    assert order([*left, *right, heading, text]) == list(range(12))


def test_a_page_of_thousands_of_lines_has_its_columns() -> None:
    boxes = [
        box(450 * place, 12 * row + place, 450 * place + (200 if row % 4 == 3 else 400) + row % 7, 11)
        for place in range(6)
        for row in range(400)
    ]
    assert order(boxes) == list(range(2400))


def test_boxes_are_looked_at_so_often_and_no_more() -> None:
    boxes = column(100, 480, 5) + column(520, 900, 5, top=4)
    rows = rows_of(boxes, range(len(boxes)))
    assert longest_run(boxes, rows, Purse()) == (0, 5, 500)
    assert longest_run(boxes, rows, Purse(boxes=9)) is None
