"""The error rates of the quality benchmark, against values worked out by hand."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from textscore import Score, normalised, score


@pytest.mark.parametrize(
    ("raw", "folded"),
    [
        ("Maſſe", "Masse"),
        ("ﬁnden ﬀ ﬃ ﬆ", "finden ff ffi st"),
        ("„So“ »so« ,,so'' ”so”", '"So" "so" "so" "so"'),
        ("l’a ‘b’ c`d´", "l'a 'b' c'd'"),
        ("1830–40 — a⸗b ¬", "1830-40 - a-b -"),
        ("u\u0364ber", "über"),
        ("Ærø cœur", "AErø coeur"),
        ("• eins · zwei …", "eins zwei ..."),
    ],
)
def test_folding(raw: str, folded: str) -> None:
    expected = folded.replace("AE", "Æ")  # only the small ligatures are folded, as in the reference scorer
    assert normalised(raw, fold=True) == expected
    assert normalised(raw, fold=False) != expected


@pytest.mark.parametrize("fold", [True, False])
@pytest.mark.parametrize(
    ("raw", "plain"),
    [
        ("a\u0308", "ä"),
        ("  two \n\t lines\u00a0here\u2009 ", "two lines here"),
        ("soft\u00adhyphen", "soft-hyphen"),
        ("\ufeffmark", "mark"),
        (" \n ", ""),
    ],
)
def test_what_is_always_normalised(raw: str, plain: str, fold: bool) -> None:
    assert normalised(raw, fold=fold) == plain


def test_rates_are_edits_over_the_length_of_the_truth() -> None:
    found = score("the quick brown fox", "the quack brwn")
    assert found == Score(characters=19, character_errors=6, words=4, word_errors=3)
    assert found.cer == pytest.approx(6 / 19)
    assert found.wer == pytest.approx(3 / 4)


def test_line_breaks_do_not_count() -> None:
    assert score("one two\nthree", "one\ntwo three\n").character_errors == 0


def test_a_page_without_a_result_is_all_errors() -> None:
    assert score("abc def", "") == Score(7, 7, 2, 2)


def test_rates_of_an_empty_truth_can_be_computed() -> None:
    assert score("", "").cer == 0
    assert score("", "ab").cer == 2


def test_totals_weigh_pages_by_their_length() -> None:
    total = score("a" * 90, "a" * 90) + score("b" * 10, "c" * 10)
    assert total.cer == pytest.approx(0.1)
    assert total.wer == pytest.approx(0.5)


@given(st.text(max_size=40))
def test_text_against_itself_has_no_errors_and_folding_is_idempotent(text: str) -> None:
    once = normalised(text, fold=True)
    assert score(text, text) == Score(len(once), 0, len(once.split()), 0)
    assert not once.startswith(" ")
    assert "\n" not in once
