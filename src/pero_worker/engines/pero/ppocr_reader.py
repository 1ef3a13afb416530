"""The recogniser of PP-OCR for lines that pero-ocr has cut out; to a stage it looks like one of pero-ocr's."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csc_matrix

from pero_worker.engines import ppocr
from pero_worker.engines.pero.words import Frames
from pero_worker.errors import StageError

Array = NDArray[Any]

_HEIGHT = 48
"""Height of the lines that the network takes, in pixels."""
_NARROWEST = 16
"""Minimum width of these lines, in pixels."""
_WIDEST = 4000
"""Maximum width of a crop that is read at once, in pixels; a wider one is read in pieces, because memory use grows
with the width."""
_PUNCTUATION = "‘’‚“”„†‡•…–—"
_LAST_LETTER = "ž"
"""Last letter wanted of the block Latin Extended-A; only ſ, which the network takes for an f, comes after it."""
_ELSE = ""
"""Stands for anything that is not Latin script: read as nothing, but not with certainty."""
_BLANK = "\u200b"
_ABOVE_ZERO = 20.0
"""Added to logarithms, because a matrix of logits stores no zeros."""
_LEAST = 1e-4
"""Characters less likely than this are not stored."""


class PpOcr:
    """As much of `pero_ocr.ocr_engine.PytorchEngineLineOCR` as `readers.LineReader` uses."""

    line_px_height = 40

    def __init__(self, session: Any, alphabet: Sequence[str]) -> None:
        """`session` is one of ONNX Runtime; `alphabet` says what its classes stand for, the first being the blank."""
        self.session = session
        plain = [unicodedata.normalize("NFKC", character) for character in alphabet]
        known = sorted({character for character in plain[1:] if _is_wanted(character)})
        self.characters = [*known, _ELSE, _BLANK]
        number = {character: column for column, character in enumerate(known)}
        columns = np.array([len(known) + 1, *(number.get(character, len(known)) for character in plain[1:])])
        self._order = np.argsort(columns, kind="stable")
        self._starts = np.searchsorted(columns[self._order], np.arange(len(self.characters)))

    @classmethod
    def load(cls, device: str) -> PpOcr:
        """Loads the weights.

        Raises `StageError` if rapidocr or ONNX Runtime is missing, or the weights are not those of the pinned release.
        """
        path = ppocr.model("Rec")
        try:
            import onnxruntime  # noqa: PLC0415 - it costs half a second
        except ImportError as error:
            raise StageError(f"ONNX Runtime is missing ({error}): pip install 'pero-worker[rapidocr]'") from error
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        options.log_severity_level = 4
        here = "CPUExecutionProvider"
        gpu = device != "cpu" and "CUDAExecutionProvider" in onnxruntime.get_available_providers()
        session = onnxruntime.InferenceSession(
            str(path), options, providers=["CUDAExecutionProvider", here] if gpu else [here]
        )
        characters = session.get_modelmeta().custom_metadata_map["character"].splitlines()
        return cls(session, [_BLANK, *characters, " "])

    def process_lines(self, crops: Sequence[Array]) -> tuple[list[str], list[Any], list[tuple[int, int]]]:
        """Returns texts, logits (frames of 4 pixels, characters), and the frames where each crop begins and ends."""
        matrices = [self._logits(crop) for crop in crops]
        return [self._text(matrix) for matrix in matrices], matrices, [(0, matrix.shape[0]) for matrix in matrices]

    def _logits(self, crop: Array) -> Any:
        pieces = [crop[:, start : start + _WIDEST] for start in range(0, max(1, crop.shape[1]), _WIDEST)]
        chances = np.concatenate([self._chances(piece) for piece in pieces])
        stored = np.where(chances > _LEAST, np.log(np.maximum(chances, _LEAST)) + _ABOVE_ZERO, 0)
        return csc_matrix(stored.astype(np.float32))

    def _chances(self, crop: Array) -> Array:
        """Returns how likely each character is in each frame of a crop (height, width, 3)."""
        width = max(_NARROWEST, round(crop.shape[1] * _HEIGHT / crop.shape[0]))
        pixels = cv2.resize(crop, (width, _HEIGHT), interpolation=cv2.INTER_LINEAR)
        given = (pixels.astype(np.float32) / 127.5 - 1).transpose(2, 0, 1)[np.newaxis]
        (found,) = self.session.run(None, {self.session.get_inputs()[0].name: given})
        summed = np.add.reduceat(found[0][:, self._order], self._starts, axis=1)
        # Words are located by frames of four pixels of a line forty pixels high. The network's frames are eight of its
        # own pixels wide, so each is used once or twice.
        wanted = max(1, round(crop.shape[1] / 4))
        return np.asarray(summed[np.minimum(np.arange(wanted) * len(summed) // wanted, len(summed) - 1)])

    def _text(self, matrix: Any) -> str:
        frames = Frames.of(matrix)
        starts, _ = frames.runs()
        return "".join(self.characters[label] for label in frames.best[starts] if label != frames.blank)


def _is_wanted(character: str) -> bool:
    return character == " " or (len(character) == 1 and ("!" <= character <= _LAST_LETTER or character in _PUNCTUATION))
