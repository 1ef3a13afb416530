"""Confidences that are measured, and the choice among readers of a line."""

from __future__ import annotations

from configparser import ConfigParser
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pero_worker.engines.pero.calibration import Calibration
from pero_worker.engines.pero.readers import LineReader, read, unsure_of
from pero_worker.page import Line, Page, Region

LETTERS = [*"abcdefghijklmnopqrstuvwxyzſ ", "\u200b"]
BLANK = len(LETTERS) - 1


def test_a_probability_becomes_the_share_of_right_letters_measured_at_it() -> None:
    calibration = Calibration.of("0:0 0.6:0.2 1:0.9")
    assert [calibration(p) for p in (0, 0.3, 0.6, 0.8, 1)] == pytest.approx([0, 0.1, 0.2, 0.55, 0.9])
    assert Calibration()(0.37) == 0.37
    narrow = Calibration.of("0.4:0.1 0.5:0.2")
    assert (narrow(0.0), narrow(1.0)) == (0.1, 0.2)


@given(st.lists(st.floats(0, 1), min_size=2, max_size=2))
def test_who_is_surer_stays_surer(pair: list[float]) -> None:
    low, high = sorted(pair)
    calibration = Calibration.of("0.2:0.1 0.5:0.4 0.9:0.4 1:1")
    assert 0 <= calibration(low) <= calibration(high) <= 1


@pytest.mark.parametrize(
    "text", ["0.5", "0.5:x 1:1", "0.5:0.1", "0.5:0.5 0.5:0.6", "0:0.5 1:0.4", "0:0 2:1", "nan:0 1:1", "0:0 " * 100]
)
def test_points_that_mean_nothing_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"numbers|points|between|rise"):
        Calibration.of(text)


def test_the_page_is_as_sure_as_its_letters_not_its_lines() -> None:
    def line(text: str, confidence: float | None) -> Line:
        return Line(id="l", baseline=((0, 0), (9, 0)), polygon=(), heights=None, text=text, confidence=confidence)

    page = Page(
        name="p",
        width=9,
        height=9,
        regions=(Region(id="r", polygon=(), lines=(line("x" * 90, 1.0), line("y" * 10, 0.5), line("z", None))),),
    )
    assert page.confidence() == pytest.approx(0.95)
    assert Page(name="p", width=9, height=9).confidence() is None
    assert (
        Page(name="p", width=9, height=9, regions=(Region(id="r", polygon=(), lines=(line("", 0.2),)),)).confidence()
        is None
    )


class Sparse:
    """The part of scipy's matrices that is used."""

    def __init__(self, array: np.ndarray) -> None:
        self.array = array
        self.shape = array.shape

    def toarray(self) -> np.ndarray:
        return self.array.copy()


class Recogniser:
    """Spells `text` for every crop with one probability for all letters, and keeps the crops it was shown."""

    def __init__(self, text: str, probability: float, height: int = 40) -> None:
        self.text, self.probability, self.line_px_height = text, probability, height
        self.characters = LETTERS
        self.seen: list[tuple[int, ...]] = []

    def process_lines(self, crops: list[np.ndarray]) -> tuple[list[Any], list[Any], list[Any]]:
        self.seen += [crop.shape for crop in crops]
        labels = [label for letter in self.text for label in (LETTERS.index(letter), BLANK)]
        rest = (1 - self.probability) / (len(LETTERS) - 1)
        logits = np.full((len(labels), len(LETTERS)), np.log(rest), np.float32)
        logits[np.arange(len(labels)), labels] = np.log(self.probability)
        return [self.text] * len(crops), [Sparse(logits) for _ in crops], [(0, len(labels)) for _ in crops]


def crops(number: int, width: int = 800) -> list[np.ndarray]:
    return [np.full((40, width, 3), 255, np.uint8) for _ in range(number)]


def reader(
    text: str, probability: float, *, height: int = 40, unsure: float | None = None, points: str = ""
) -> LineReader:
    calibration = Calibration.of(points) if points else Calibration()
    return LineReader(Recogniser(text, probability, height), calibration, unsure)


def test_unsure_lines_are_read_again_and_the_surer_reading_stays() -> None:
    surer = reader("second", 0.8, unsure=0.75)
    assert [reading.text for reading in read([reader("first", 0.7), surer], crops(3))] == ["second"] * 3
    assert [reading.text for reading in read([reader("first", 0.76), surer], crops(3))] == ["first"] * 3
    # What counts is what the probabilities are worth, not what they are.
    modest = reader("second", 0.99, points="0:0 1:0.5")
    assert [reading.text for reading in read([reader("first", 0.7), modest], crops(2))] == ["first"] * 2


def test_readers_that_see_different_things_are_both_less_sure() -> None:
    (alone,) = read([reader("word", 0.9)], crops(1))
    for second, least in (("word", 1.0), ("work", 0.97), ("zzzz", 0.89)):
        (both,) = read([reader("word", 0.9), reader(second, 0.7)], crops(1))
        assert both.text == "word"
        assert least <= both.confidence / alone.confidence <= least + 0.011


def test_a_reader_without_a_limit_reads_every_line_at_its_own_height() -> None:
    first, second = reader("first", 0.9), reader("second", 0.95, height=32)
    found = read([first, second], crops(3))
    assert [reading.text for reading in found] == ["second"] * 3
    assert set(first.recogniser.seen) == {(40, 800, 3)} and set(second.recogniser.seen) == {(32, 640, 3)}
    assert {reading.width for reading in found} == {640}


def test_a_reader_is_not_asked_about_a_page_in_letters_that_it_does_not_know() -> None:
    # What is hardly legible says nothing about the letters on a page.
    cases = (("auſ", 0.75, False), ("auſ", 0.65, True), ("aus", 0.75, True), ("ſ" + "a" * 400, 0.75, True))
    for text, probability, asked in cases:
        modern = reader("surer", 0.99)
        modern.recogniser.characters = [letter for letter in LETTERS if letter != "ſ"]
        found = read([reader(text, probability), modern], crops(2))
        assert [reading.text for reading in found] == (["surer"] * 2 if asked else [text] * 2)


def test_no_lines_and_lines_of_any_width_are_read() -> None:
    readers = [reader("first", 0.7), reader("second", 0.8, unsure=0.75)]
    assert read(readers, []) == []
    odd = [*crops(1, 1), *crops(1, 8000), *crops(2, 300)]
    found = read(readers, odd)
    assert [reading.width for reading in found] == [1, 8000, 300, 300]


def test_when_a_reader_is_asked() -> None:
    config = ConfigParser()
    config.read_dict({"READER_2": {"OCR_JSON": "a"}, "READER_4": {"OCR_JSON": "b", "UNSURE": "0.9"}})
    assert unsure_of(config["READER_2"]) is None and unsure_of(config["READER_4"]) == 0.9
