from __future__ import annotations

import numpy as np
import pytest

from pero_worker.engines.pero.ink import Ink, percentiles, snapped
from pero_worker.engines.pero.words import Frames, Rails, words_of
from pero_worker.page import Word

CHARACTERS = ["a", "b", "c", " ", "\u200b"]
BLANK = len(CHARACTERS) - 1
RAILS = Rails(top=np.array([[0.0, 10], [400, 10]]), bottom=np.array([[0.0, 50], [400, 50]]))


class Dense:
    """Has toarray like a sparse matrix."""

    def __init__(self, array: np.ndarray) -> None:
        self.array = array

    @property
    def shape(self) -> tuple[int, ...]:
        return self.array.shape

    def toarray(self) -> np.ndarray:
        return self.array.copy()


def frames_of(labels: list[int], probability: float = 0.9) -> Frames:
    others = (1 - probability) / (len(CHARACTERS) - 1)
    logits = np.full((len(labels), len(CHARACTERS)), np.log(others), np.float32)
    logits[np.arange(len(labels)), labels] = np.log(probability)
    return Frames.of(Dense(logits))


def spelled(text: str, every: int = 4, length: int = 100) -> list[int]:
    labels = [BLANK] * length
    for number, character in enumerate(text):
        labels[10 + every * number] = CHARACTERS.index(character)
    return labels


def words(text: str, labels: list[int]) -> tuple[Word, ...]:
    return words_of(text, frames_of(labels), CHARACTERS, (0, 100), RAILS, (400, 300), 400)


def test_confidence_is_that_of_the_worst_run() -> None:
    logits = np.log(np.array([[0.9, 0.1], [0.6, 0.4], [0.3, 0.7], [0.2, 0.8]], np.float32))
    assert Frames.of(Dense(logits)).least_sure() == pytest.approx(0.8, abs=1e-5)
    assert Frames.of(Dense(np.zeros((0, 3), np.float32))).least_sure() == 1.0


def test_confidence_equals_pero_ocr() -> None:
    pytest.importorskip("pero_ocr")
    from scipy.sparse import csc_matrix  # noqa: PLC0415

    from pero_worker.engines.pero import compat  # noqa: PLC0415

    parser = compat.import_pero().PageParser
    generator = np.random.default_rng(0)
    from pero_ocr.core.layout import TextLine  # noqa: PLC0415

    for _ in range(20):
        dense = generator.normal(0, 4, (60, 5)).astype(np.float32)
        dense[generator.random(dense.shape) < 0.3] = 0
        line = TextLine(id="l", logits=csc_matrix(dense))
        expected = parser.compute_line_confidence(line)
        assert Frames.of(line.logits).least_sure() == pytest.approx(expected, abs=1e-5)


def test_words_of_the_greedy_path_are_ordered_and_apart() -> None:
    found = words("ab ca  b", spelled("ab ca  b"))
    assert [word.text for word in found] == ["ab", "ca", "b"]
    for word in found:
        (left, top), (right, _), (right_below, bottom), (left_below, _) = word.polygon
        assert 0 <= left < right <= 400
        assert (left, right) == (left_below, right_below)
        assert (top, bottom) == (10, 50)
        assert word.confidence == pytest.approx(0.9, abs=1e-5)
    assert found[0].polygon[1][0] <= found[1].polygon[0][0]
    assert found[1].polygon[1][0] <= found[2].polygon[0][0]


def test_the_boxes_hug_the_frames() -> None:
    first, second = words("ab c", spelled("ab c"))
    assert first.polygon[0][0] == pytest.approx(4 * 8.1)
    assert first.polygon[1][0] == pytest.approx(4 * 16.5)
    assert second.polygon[0][0] == pytest.approx(4 * 20.5)


def test_a_changed_text_is_aligned() -> None:
    labels = spelled("ab ca")
    found = words("ab cb", labels)
    greedy = words("ab ca", labels)
    assert [word.text for word in found] == ["ab", "cb"]
    assert found[0].polygon == greedy[0].polygon
    assert found[1].confidence < 0.6


def test_a_changed_text_of_many_letters_is_aligned() -> None:
    frames = frames_of(spelled("ab ca " * 15, length=400))
    found = words_of(("ab cb " * 15).strip(), frames, CHARACTERS, (0, 400), RAILS, (400, 300), 1600)
    assert len(found) == 30
    assert all(word.confidence is not None for word in found)


def test_alignment_needs_a_blank_between_equal_characters() -> None:
    frames = frames_of([0, BLANK, 0], 0.6)
    found = words_of("a a", frames_of([0, 3, 0]), CHARACTERS, (0, 3), RAILS, (400, 300), 12)
    assert len(found) == 2
    assert words_of("aaa", frames, CHARACTERS, (0, 3), RAILS, (400, 300), 12)[0].confidence is None


@pytest.mark.parametrize("text", ["ab xyz", "a" * 99 + " " + "b" * 99])
def test_a_text_that_the_network_cannot_spell_is_split_evenly(text: str) -> None:
    found = words(text, spelled("ab"))
    assert [word.text for word in found] == text.split()
    assert found[0].confidence is None
    assert found[0].polygon[1][0] < found[1].polygon[1][0]


def test_no_text_no_words() -> None:
    assert words("", [BLANK] * 100) == ()
    assert words("   ", spelled("   ")) == ()


def test_boxes_stay_on_the_page() -> None:
    rails = Rails(top=np.array([[-50.0, -9], [900, -9]]), bottom=np.array([[-50.0, 500], [900, 500]]))
    (word,) = words_of("abc", frames_of(spelled("abc", 30)), CHARACTERS, (0, 100), rails, (400, 300), 400)
    assert all(0 <= x <= 400 and 0 <= y <= 300 for x, y in word.polygon)


def crop_of(*inked: tuple[int, int], width: int = 200, height: int = 40) -> np.ndarray:
    """A line with ink between pairs of columns."""
    crop = np.full((height, width, 3), 230, np.uint8)
    for start, end in inked:
        crop[10:30, start:end] = 30
    return crop


def test_edges_move_to_the_ink_that_the_letters_stand_in() -> None:
    ink = Ink.of(crop_of((20, 50), (52, 80), (95, 140), (143, 180)))
    assert ink is not None
    edges = np.array([[26.0, 70.0], [88.0, 171.0]])
    assert snapped(edges, [(30.0, 70.0), (105.0, 170.0)], 15.0, ink).tolist() == [[20, 80], [95, 180]]


def test_edges_without_a_blank_beside_them_stay() -> None:
    edges = np.array([[26.0, 70.0], [88.0, 171.0]])
    letters = [(30.0, 65.0), (95.0, 160.0)]
    underlined = Ink.of(crop_of((0, 200)))
    narrow = Ink.of(crop_of((0, 80), (82, 200)))
    assert underlined is not None and narrow is not None
    for ink in (underlined, narrow):
        assert snapped(edges, letters, 15.0, ink).tolist() == edges.tolist()


def test_a_letter_that_is_told_beyond_its_ink_keeps_its_edges() -> None:
    ink = Ink.of(crop_of((20, 80)))
    assert ink is not None
    edges = np.array([[20.0, 80.0], [120.0, 121.0]])
    assert snapped(edges, [(30.0, 70.0), (120.0, 121.0)], 15.0, ink)[1].tolist() == [120, 121]


@pytest.mark.parametrize("crop", [crop_of(), np.zeros((40, 50, 3), np.uint8), np.zeros((1, 4, 3), np.uint8)])
def test_paper_without_ink_moves_no_edge(crop: np.ndarray) -> None:
    assert Ink.of(crop) is None


@pytest.mark.parametrize("size", [1, 2, 3, 40, 1001])
@pytest.mark.parametrize("levels", [1, 3, 256])
def test_percentiles_of_bytes_are_those_of_numpy(size: int, levels: int) -> None:
    grey = np.random.default_rng(size).integers(0, levels, (size, 3), dtype=np.uint8)
    expected = np.percentile(grey, [0, 2, 50, 75, 100])
    assert percentiles(grey, (0, 2, 50, 75, 100)) == pytest.approx(expected, abs=1e-9)


def test_boxes_of_words_follow_their_line_and_end_with_the_page() -> None:
    rails = Rails(top=np.array([[0.0, 10], [100, 30], [200, 10]]), bottom=np.array([[0.0, 50], [100, 70], [200, 50]]))
    first, second = rails.boxes(np.array([[0.0, 0.5], [0.25, 1.5]]), 150, 60)
    assert first == ((0, 10), (100, 30), (100, 60), (0, 50))
    assert second == ((50, 20), (150, 10), (150, 50), (50, 60))
