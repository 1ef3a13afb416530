"""Drawn pages of each kind, as boxes: which box is read when, and what it is."""

from __future__ import annotations

from itertools import pairwise

import cv2
import numpy as np

from pero_worker.engines.boxes import Box
from pero_worker.engines.paragraphs import blocks_of
from pero_worker.engines.quads import Piece, Span, parted
from pero_worker.engines.reading_order import reading_order
from pero_worker.engines.rules import PrintedRule, rules_in
from pero_worker.page import Image

HEIGHT, PITCH = 30, 40
WORDS = "some words of text"


class Drawn:
    """A page that is written line by line."""

    def __init__(self) -> None:
        self.boxes: list[Box] = []
        self.texts: list[str] = []
        self.rules: list[Box] = []

    def line(self, left: float, top: float, right: float, text: str = WORDS, height: float = HEIGHT) -> int:
        self.boxes.append(Box(left=left, top=top, right=right, bottom=top + height))
        self.texts.append(text)
        return len(self.boxes) - 1

    def lines(self, left: float, right: float, top: float, number: int, text: str = WORDS) -> list[int]:
        return [self.line(left, top + PITCH * place, right, text) for place in range(number)]

    def rule(self, left: float, top: float, right: float, bottom: float) -> None:
        self.rules.append(Box(left=left, top=top, right=right, bottom=bottom))

    def blocks(self) -> list[tuple[str, list[int]]]:
        return [(block.kind, block.lines) for block in blocks_of(self.boxes, self.texts, self.rules)]

    def order(self) -> list[int]:
        return [i for _, lines in self.blocks() for i in lines]


def test_nothing_is_nothing() -> None:
    assert Drawn().blocks() == []


def test_an_indent_begins_a_paragraph_and_a_blank_does() -> None:
    page = Drawn()
    first = page.lines(100, 900, 0, 4)
    second = [page.line(140, 160, 900), *page.lines(100, 900, 200, 3)]
    third = page.lines(100, 900, 400, 4)
    assert page.blocks() == [("paragraph", first), ("paragraph", second), ("paragraph", third)]


def test_a_paragraph_begins_after_a_short_line_of_justified_text() -> None:
    page = Drawn()
    first = [*page.lines(100, 900, 0, 4), page.line(100, 160, 400)]
    second = page.lines(100, 900, 200, 5)
    assert page.blocks() == [("paragraph", first), ("paragraph", second)]


def test_entries_of_a_list_whose_first_line_hangs_out() -> None:
    page = Drawn()
    entries = [
        [page.line(100, 120 * i, 900), *(page.line(150, 120 * i + 40 * j, 890) for j in (1, 2))] for i in range(4)
    ]
    assert page.blocks() == [("paragraph", entry) for entry in entries]


def test_running_head_page_number_and_catch_word() -> None:
    page = Drawn()
    catch = page.line(820, 700, 900, "Wort")
    body = page.lines(100, 900, 100, 14)
    head, number = page.line(300, 0, 700, "DE REBUS"), page.line(840, 2, 890, "- 17 -")
    assert page.blocks() == [
        ("header", [head]),
        ("page-number", [number]),
        ("paragraph", body),
        ("catch-word", [catch]),
    ]


def test_a_running_head_near_the_text_that_goes_on_below_it() -> None:
    page = Drawn()
    head = page.line(350, 0, 650, "EPISTOLA")
    body = page.lines(100, 900, 40, 10, "and so on")
    assert page.blocks() == [("header", [head]), ("paragraph", body)]


def test_a_mark_for_the_binder_beside_a_catch_word() -> None:
    for mark in ("B 3", "* 4", "Aa ij", "5"):
        page = Drawn()
        body = page.lines(100, 900, 0, 10)
        signature, catch = page.line(480, 420, 530, mark), page.line(800, 420, 895, "Wort-")
        kinds = [("paragraph", body), ("signature-mark", [signature]), ("catch-word", [catch])]
        assert page.blocks() == kinds, mark


def test_a_page_number_at_the_foot() -> None:
    page = Drawn()
    body, number = page.lines(100, 900, 0, 8), page.line(480, 360, 520, "xvii")
    assert page.blocks() == [("paragraph", body), ("page-number", [number])]


def test_a_centred_heading_between_paragraphs() -> None:
    page = Drawn()
    above, heading, below = page.lines(100, 900, 0, 5), page.line(350, 220, 650), page.lines(100, 900, 280, 5)
    assert page.blocks() == [("paragraph", above), ("heading", [heading]), ("paragraph", below)]


def test_a_large_heading() -> None:
    page = Drawn()
    heading, body = page.line(100, 0, 700, "Large", height=60), page.lines(100, 900, 80, 6)
    assert page.blocks() == [("heading", [heading]), ("paragraph", body)]


def test_marginalia_do_not_come_between_the_lines() -> None:
    page = Drawn()
    body = page.lines(200, 900, 0, 12)
    left = [page.line(40, 80 + 40 * i, 170, "note") for i in range(2)]
    right = [page.line(930, 200 + 40 * i, 1060, "other") for i in range(3)]
    assert page.blocks() == [("paragraph", body), ("marginalia", left), ("marginalia", right)]


def test_marginalia_beside_a_margin_that_leans() -> None:
    page = Drawn()
    body = [page.line(300 - 2 * row, PITCH * row, 900) for row in range(20)]
    early = [page.line(120, PITCH * row - 5, 300 - 2 * row) for row in (2, 3)]
    late = [page.line(60, PITCH * row - 5, 300 - 2 * row) for row in (15, 16, 17)]
    assert page.blocks() == [("paragraph", body), ("marginalia", early), ("marginalia", late)]


def test_short_lines_of_columns_are_no_marginalia() -> None:
    page = Drawn()
    for column in range(4):
        for row in range(12):
            start = 140 if row % 3 == 2 and column == 3 else 0
            page.line(220 * column + start, PITCH * row + 20 * (column % 2), 220 * column + 200)
    assert not [kind for kind, _ in page.blocks() if kind == "marginalia"]


def test_numbers_of_lines_stay_with_their_lines() -> None:
    page = Drawn()
    body = page.lines(200, 900, 0, 10)
    number = page.line(930, 160, 960, "5")
    assert page.order() == [*body[:5], number, *body[5:]]


def test_footnotes_under_a_rule() -> None:
    page = Drawn()
    body = page.lines(100, 900, 0, 10)
    page.rule(100, 407, 350, 409)
    notes = [page.line(100, 420 + 30 * i, 900, f"{i + 1}) see there", height=22) for i in range(3)]
    kinds = page.blocks()
    assert kinds[0] == ("paragraph", body)
    assert {kind for kind, _ in kinds[1:]} == {"footnote"}
    assert [i for _, lines in kinds[1:] for i in lines] == notes


def test_a_table_is_read_by_rows() -> None:
    page = Drawn()
    above = page.lines(100, 900, 0, 4)
    rows = [[page.line(x, 240 + 40 * i, x + 90, "12") for x in (100, 400, 700)] for i in range(5)]
    assert page.blocks() == [("paragraph", above), ("table", [i for row in rows for i in row])]


def test_a_table_of_words_is_no_columns_and_has_no_margins() -> None:
    page = Drawn()
    cells = ((80, 270, "Item"), (420, 500, "weight"), (640, 700, "price"), (900, 990, "total"))
    rows = [[page.line(left, 50 * row, right, text) for left, right, text in cells] for row in range(12)]
    assert page.blocks() == [("table", [i for row in rows for i in row])]


def test_columns_whose_lines_reach_over_the_gutter() -> None:
    page = Drawn()
    left, right = page.lines(100, 512, 0, 8), page.lines(508, 900, 0, 8)
    assert page.order() == left + right


def test_columns_of_lines_in_many_pieces() -> None:
    page = Drawn()
    pieces: dict[int, list[int]] = {0: [], 500: []}
    for row in range(8):
        for start in (0, 500):
            cuts = [start, start + 90 + 17 * row, start + 240 + 45 * (row % 4), start + 470]
            pieces[start] += [page.line(a + 4, PITCH * row, b - 4) for a, b in pairwise(cuts)]
    assert [i for rows in reading_order(page.boxes) for row in rows for i in row] == pieces[0] + pieces[500]


def test_a_feuilleton_under_a_rule_across_the_page() -> None:
    page = Drawn()
    columns = [page.lines(300 * i, 300 * i + 280, 0, 6) for i in range(3)]
    page.rule(0, 243, 880, 246)
    below = [page.lines(300 * i, 300 * i + 280, 256, 6) for i in range(3)]
    assert page.order() == [i for column in (*columns, *below) for i in column]


def test_a_title_page_in_very_large_type() -> None:
    page = Drawn()
    tops = ((0, 200, 800, 120), (180, 350, 650, 40), (300, 100, 900, 160), (560, 400, 600, 30), (900, 300, 700, 30))
    lines = [page.line(left, top, right, "Title", height) for top, left, right, height in tops]
    assert page.order() == lines


def test_small_print_beside_the_title_of_a_newspaper_is_read_apart() -> None:
    page = Drawn()
    date = [page.line(left, 0, left + 120) for left in (0, 440, 880)]
    left = [page.line(10, 60 + 24 * row, 110, height=20) for row in range(6)]
    title = page.line(150, 60, 850, "Colonie-Zeitung", height=140)
    right = [page.line(890, 66 + 24 * row, 990, height=20) for row in range(5)]
    editor = page.line(300, 220, 700, height=20)
    columns = [page.lines(0, 480, 280, 8), page.lines(520, 1000, 280, 8)]
    assert page.order() == [*date, *left, title, *right, editor, *columns[0], *columns[1]]


def test_columns_beside_a_headline_over_two_of_them_stay_whole() -> None:
    page = Drawn()
    headline = page.line(0, 0, 640, "Headline", height=100)
    columns = [page.lines(0, 300, 120, 8), page.lines(340, 640, 120, 8), page.lines(680, 980, 0, 11)]
    assert page.order() == [headline, *(i for column in columns for i in column)]


def test_every_line_comes_once_whatever_the_boxes() -> None:
    random = np.random.default_rng(7)
    for _ in range(40):
        page = Drawn()
        for x, y, width, height in random.integers((0, 0, 1, 1), (900, 900, 400, 90), (30, 4)).tolist():
            page.line(x, y, x + width, "x", height)
        page.rule(0, 400, 900, 402)
        assert sorted(page.order()) == list(range(30))


def drawn_page() -> Image:
    image = np.full((1200, 900, 3), 235, np.uint8)
    for top in range(80, 1100, 40):
        for left in (60, 480):
            cv2.putText(image, "mmnnoo eeaa mmnnoo", (left, top), cv2.FONT_HERSHEY_SIMPLEX, 1.1, (20, 20, 20), 2)
    return image


def test_letters_are_no_rules() -> None:
    assert rules_in(drawn_page(), 30) == []


def test_upright_and_level_rules_are_found_where_they_are() -> None:
    image = drawn_page()
    cv2.line(image, (452, 60), (458, 1100), (30, 30, 30), 2)
    cv2.line(image, (40, 1140), (860, 1146), (30, 30, 30), 3)
    upright, level = rules_in(image, 30)
    assert upright.is_upright
    assert upright.stands_free
    assert abs(upright.across(580) - 455) < 4
    assert not level.is_upright
    assert abs(level.start[0] - 40) < 8
    assert abs(level.end[0] - 860) < 8


def test_a_streak_through_letters_does_not_stand_free() -> None:
    image = drawn_page()
    cv2.line(image, (250, 0), (250, 1200), (30, 30, 30), 2)
    assert [rule.stands_free for rule in rules_in(image, 30) if rule.is_upright] == [False]


def test_a_line_across_a_gutter_is_parted_between_its_words() -> None:
    corners = np.array([(100.0, 100.0), (900.0, 100.0), (900.0, 140.0), (100.0, 140.0)])
    spans = (
        Span(text="left", start=0.0, end=0.4, confidence=0.9),
        Span(text="column", start=0.42, end=0.49, confidence=0.9),
        Span(text="right", start=0.53, end=1.0, confidence=0.8),
    )
    rule = PrintedRule(start=(508.0, 20.0), end=(508.0, 900.0))
    left, right = parted(Piece(corners=corners, text="left column right", confidence=0.9, spans=spans), [rule])
    assert (left.text, right.text) == ("left column", "right")
    assert left.corners.max(axis=0)[0] == right.corners.min(axis=0)[0] == 508
    assert parted(left, [rule]) == [left]
    streak = PrintedRule(start=rule.start, end=rule.end, stands_free=False)
    assert len(parted(Piece(corners=corners, text="left column right", confidence=0.9, spans=spans), [streak])) == 1
