"""The recogniser of PP-OCR among pero-ocr's: what is made of its network's output, with a stand-in for the network."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

pytest.importorskip("scipy")

from pero_worker.engines.pero.calibration import Calibration
from pero_worker.engines.pero.ppocr_reader import PpOcr
from pero_worker.engines.pero.readers import LineReader

ALPHABET = ["", "a", "b", "Ｂ", "中", "文", "ſ", " "]  # the blank first, as the network has it


class Network:
    """Gives each frame of eight pixels the class whose turn it is, and notes what it was shown."""

    def __init__(self, classes: list[int], chance: float = 0.9) -> None:
        self.classes, self.chance = classes, chance
        self.shown: list[tuple[int, ...]] = []

    def get_inputs(self) -> list[Any]:
        return [SimpleNamespace(name="x")]

    def run(self, _outputs: None, given: dict[str, Any]) -> list[Any]:
        pixels = given["x"]
        self.shown.append(pixels.shape)
        assert pixels.dtype == np.float32 and -1 <= pixels.min() <= pixels.max() <= 1
        frames = -(-pixels.shape[3] // 8)
        chances = np.full((1, frames, len(ALPHABET)), (1 - self.chance) / (len(ALPHABET) - 1), np.float32)
        for frame in range(frames):
            chances[0, frame, self.classes[frame % len(self.classes)]] = self.chance
        return [chances]


def crop(width: int, height: int = 40) -> np.ndarray:
    return np.full((height, width, 3), 255, np.uint8)


def test_classes_become_letters_and_frames_of_four_pixels() -> None:
    network = Network([1, 0, 2, 0, 7, 0])
    reader = PpOcr(network, ALPHABET)
    (text,), (logits,), (span,) = reader.process_lines([crop(40)])
    assert network.shown == [(1, 3, 48, 48)]
    assert text == "ab "
    assert span == (0, 10) and logits.shape == (10, len(reader.characters))
    assert reader.characters[-1] == "\u200b" and "ſ" not in reader.characters


def test_a_letter_of_another_script_is_no_letter_and_not_sure() -> None:
    reading = LineReader(PpOcr(Network([1, 0, 4, 0]), ALPHABET), Calibration()).read([crop(27)])[0]
    assert reading.text == "a"
    wide = LineReader(PpOcr(Network([3]), ALPHABET), Calibration()).read([crop(27)])[0]
    assert wide.text == "b".upper()


def test_a_very_wide_line_is_read_in_pieces() -> None:
    network = Network([1, 0])
    (text,), (logits,), _ = PpOcr(network, ALPHABET).process_lines([crop(9000)])
    assert [shape[3] for shape in network.shown] == [4800, 4800, 1200]
    assert len(text) == 675 and logits.shape[0] == 2250


@pytest.mark.parametrize("width", [1, 2, 3])
def test_a_line_of_hardly_any_width_is_no_error(width: int) -> None:
    texts, logits, spans = PpOcr(Network([0]), ALPHABET).process_lines([crop(width)])
    assert texts == [""] and len(logits) == len(spans) == 1
